"""Settings: every number and choice a user may turn, validated once and frozen.

Precedence: explicit keyword (the command line) > environment `SEAL_MEMORY_<NAME>` > the file
`<memory folder>/settings.toml` > default. Unknown names are refused everywhere, with the nearest known one.

Not here: which memory folder, model or namespace to open (arguments of `SealMemory.open`), and what a single
self-edit chose for its own training (`records.Hyperparameters`; the defaults come from here).

This module imports pydantic, so it is imported only when settings are needed, never by `import seal_memory`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from seal_memory.errors import SettingsError
from seal_memory.records import Role

__all__ = ["ENV_PREFIX", "LLAMA_LINEAR", "SETTINGS_FILE", "Settings"]

ENV_PREFIX = "SEAL_MEMORY_"
SETTINGS_FILE = "settings.toml"
LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# Variables with our prefix that are not settings: other rooms read them, so they are not typing errors.
_FOREIGN_VARIABLES = frozenset(ENV_PREFIX + name for name in ("ENGINE_KEY", "FOLDER", "MCP_KEY", "MODEL", "NAMESPACE"))
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


class Settings(BaseSettings):
    """All settings of one memory. Make them with `Settings.load`; plain `Settings(...)` reads no file.

    Raises `SettingsError` for a value out of range, of the wrong type, or an unknown name.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    # self-edits and training
    candidates: int = Field(
        1, ge=1, le=64, description="self-edits tried per episode; with one, the whole quiz judges it"
    )
    rank: int = Field(16, ge=1, le=512, description="rank of every LoRA adapter")
    alpha: float = Field(32.0, gt=0, le=4096, description="lora_alpha; the update is scaled by alpha / rank")
    learning_rate: float = Field(2e-3, gt=0, le=1.0, description="AdamW's peak learning rate")
    epochs: int = Field(8, ge=1, le=1000, description="passes over the questions about what was said")
    document_epochs: int = Field(4, ge=1, le=1000, description="passes over the questions about a document")
    passes: int = Field(8, ge=0, le=1000, description="times a document itself is read, beside the questions")
    least_steps: int = Field(36, ge=1, le=1 << 20, description="a short text's epochs and passes grow to these steps")
    target_modules: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        LLAMA_LINEAR, min_length=1, description="names of the linear layers that get an adapter"
    )
    rows_per_statement: float = Field(2.5, gt=0, le=1000, description="training rows drawn per statement and epoch")
    batch_rows: int = Field(2, ge=1, le=4096, description="rows of one adapter per optimizer step")
    stack_size: int = Field(16, ge=1, le=1024, description="adapters trained at once")
    token_budget: int = Field(512, ge=64, le=1 << 24, description="padded tokens per micro-batch")
    episode_max_tokens: int = Field(120, ge=32, le=1 << 20, description="text of one episode at most")
    learn_roles: Annotated[tuple[Role, ...], NoDecode, BeforeValidator(_split)] = Field(
        (Role.USER, Role.DOCUMENT, Role.TOOL), description="whose words are learned; others are only recorded"
    )
    quarantine_roles: Annotated[tuple[Role, ...], NoDecode, BeforeValidator(_split)] = Field(
        (Role.USER, Role.ASSISTANT, Role.TOOL, Role.DOCUMENT),
        description="whose words wait for approval where they instruct the model; [] switches the filter off",
    )
    model_genres: bool = Field(True, description="let the model write items too (rewrite, qa, ...)")

    notes_per_statement: int = Field(1, ge=0, le=32, description="texts the model writes per statement")

    # quizzes and the publish gate
    quiz_per_statement: int = Field(3, ge=1, le=32, description="quiz questions tried per statement")
    held_out_share: float = Field(
        0.5, gt=0, lt=1, description="share of quiz items that judge, where the others choose between candidates"
    )
    finalists: int = Field(
        2, ge=1, le=64, description="candidates per episode that answer the quiz; the others only have it scored"
    )
    gate_min_gain: Share = Field(0.05, description="least rise of held-out recall that publishes a shard")
    gate_max_old_loss: Share = Field(0.02, description="most that audited recall of the old may fall")
    gate_max_perplexity_increase: float = Field(
        0.02, ge=0, le=10, description="most that perplexity on the fixed text may rise, as a share"
    )

    # the core, and sleep
    core_anchor: float = Field(
        1.0, ge=0, le=1000, description="weight of staying close to the base on its own text (KL); 0: not held"
    )
    sleep: Literal["off", "merge", "core", "both"] = Field(
        "off", description="what the background trainer does at rest: merge shards, build the core, both, or nothing"
    )
    sleep_after: int = Field(16, ge=1, le=1 << 30, description="newly published shards before another sleep")
    sleep_by: Literal["shards", "subjects"] = Field(
        "shards",
        description="what is put together: shards that are alike, or, out of all sessions, what is told of one name",
    )
    sleep_group: int = Field(4, ge=2, le=64, description="episodes that one merged shard holds at most")

    # the edit policy
    learn_arms: bool = Field(False, description="let rewards choose the arms of candidates; else they take turns")

    refine: Literal["off", "arms", "notes", "both"] = Field(
        "off", description="what the background trainer refines: arms, the note-writer, both, or nothing"
    )
    refine_after: int = Field(16, ge=1, le=1 << 30, description="newly published episodes before another refine round")
    refine_tokens: int = Field(
        400_000, ge=1, le=1 << 40, description="training tokens after which a refine round explores no further episode"
    )

    executor: Literal["local", "ray"] = Field(
        "local", description="where refine rounds evaluate candidate notes: this process, or Ray tasks (extra ray)"
    )
    ray_address: str | None = Field(None, description="of the Ray cluster to join; none: one on this machine")

    # answering
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="what answers: this process, or a vLLM server; training is always done here"
    )
    engine_url: str | None = Field(None, description="of the vLLM server, such as http://localhost:8000")
    engine_max_loras: int | None = Field(
        None, ge=3, le=1 << 16, description="the vLLM server's --max-loras; none: as its metrics tell"
    )
    engine_folder: str | None = Field(
        None, min_length=1, description="where the vLLM server sees the memory's folder; none: at the same place"
    )
    engine_timeout: float = Field(
        300.0, gt=0, le=86400, description="seconds without a byte after which a vLLM answer counts as lost"
    )
    router: Literal["words", "learned"] = Field(
        "words",
        description="how a question's shard is found: by words alone, or by words and MiniLM embeddings (a wheel to "
        "install), weighed by a judge that was fitted on questions",
    )
    router_threshold: Share = Field(
        0.35, description="share of a question's words below which the router abstains to core or base"
    )
    answer_max_tokens: int = Field(24, ge=1, le=4096, description="tokens of one answer at most")
    recitations: int = Field(
        6,
        ge=1,
        le=64,
        description="times an adapter recites an answer; what the question fits best is kept; 1: greedily",
    )
    recite_max_tokens: int = Field(32, ge=1, le=4096, description="tokens of a quiz answer at most")
    hybrid_threshold: Share = Field(0.5, description="below this confidence hybrid mode adds text")
    retrieval_passages: int = Field(3, ge=1, le=100, description="passages put in the prompt by retrieval")

    # the background trainer
    background_cpu_share: float = Field(
        1.0, gt=0, le=1, description="share of the time that the worker computes; it rests between training steps"
    )
    audit_interval: float = Field(3600.0, ge=1, le=1e9, description="seconds to a shard's first audit; then it doubles")
    audit_max_loss: Share = Field(0.25, description="most that a shard's audited recall may fall before it is rebuilt")

    # the machine and the store
    snapshots_kept: int = Field(
        0, ge=0, le=1 << 30, description="published versions that a rollback can reach; the files of older go; 0: all"
    )
    seed: int = Field(0, ge=0, lt=1 << 32, description="seed of everything random")
    device: str = Field("auto", min_length=1, description="auto, cpu, cuda, cuda:N or mps")
    dtype: str = Field("auto", min_length=1, description="of the frozen base: auto, float32, bfloat16 or float16")
    cache_dir: Path | None = Field(None, description="folder of converted models; none: the user's")

    def __init__(self, *, _origins: Mapping[str, str] | None = None, **values: Any) -> None:
        _refuse_unknown(values, _origins or {})
        _refuse_unknown_variables()
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_explain(error, _origins or {}, values)) from None

    @classmethod
    def load(cls, folder: Path | None = None, **explicit: Any) -> Settings:
        """Settings for the memory in `folder`; an explicit None means "not given".

        Raises `SettingsError` where a source holds an unknown name or a bad value, or where the file cannot
        be read or is not TOML.
        """
        path = folder / SETTINGS_FILE if folder is not None else None
        from_file = _read_file(path) if path is not None else {}
        origins = dict.fromkeys(from_file, str(path))
        _refuse_unknown(from_file, origins)
        given = {name: value for name, value in explicit.items() if value is not None}
        set_outside = _variables().keys()
        values = {name: value for name, value in from_file.items() if name not in set_outside} | given
        return cls(_origins={name: o for name, o in origins.items() if name not in given}, **values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords, then the environment; no .env file and no secrets folder."""
        return init_settings, env_settings

    @field_validator("target_modules", "learn_roles", "quarantine_roles")
    @classmethod
    def _no_doubles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each name at most once")
        return value

    @field_validator("engine_url")
    @classmethod
    def _address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("engine") == "vllm":
            raise ValueError("needed with engine=vllm: the server's address, such as http://localhost:8000")
        if value is not None and not re.match(r"https?://[^/\s]", value):
            raise ValueError("expected an address such as http://localhost:8000")
        return value

    @field_validator("cache_dir")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # what is no folder is for the ledger to complain about
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text: {error}. Mend or remove the file.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}. Expected lines such as: rank = 16") from error


def _variables() -> dict[str, str]:
    """Setting-like environment variables: setting name (lower case) to the variable's own name.

    Empty ones count as not set.
    """
    names = (name for name, value in os.environ.items() if value and name.upper().startswith(ENV_PREFIX))
    return {name[len(ENV_PREFIX) :].lower(): name for name in names}


def _refuse_unknown(names: Iterable[str], origins: Mapping[str, str]) -> None:
    for name in names:
        if name not in Settings.model_fields:
            where = f"{origins[name]}: " if name in origins else ""
            raise SettingsError(f"{where}unknown setting {name!r}{_nearest(name)}")


def _refuse_unknown_variables() -> None:
    for name, variable in _variables().items():
        upper = variable.upper()
        if upper in _FOREIGN_VARIABLES or upper.startswith(_FOREIGN_PREFIX):
            continue
        if name not in Settings.model_fields:
            hint = _nearest(name, shown=lambda known: ENV_PREFIX + known.upper())
            raise SettingsError(f"unknown environment variable {variable}{hint}")


def _nearest(name: str, shown: Callable[[str], str] = str) -> str:
    found = difflib.get_close_matches(name, Settings.model_fields, n=1)
    if found:
        return f"; did you mean {shown(found[0])}?"
    return "; known settings: " + ", ".join(shown(known) for known in Settings.model_fields)


def _explain(error: ValidationError, origins: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """Pydantic's problems as one sentence each: where, which setting, which value, what was expected."""
    sentences = []
    variables = _variables()
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        where = f"{origins[name]}: " if name in origins else ""
        if name not in values and name in variables:
            where = f"environment variable {variables[name]}: "
        field = Settings.model_fields.get(name)
        meaning = f" ({field.description})" if field is not None and field.description else ""
        expected = problem["msg"][0].lower() + problem["msg"][1:]
        sentences.append(f"{where}setting {name}{meaning} is {problem['input']!r}: {expected}")
    return "; ".join(sentences)
