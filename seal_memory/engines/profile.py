"""Model profile: what one model is and how it is trained, found from its own files.

`inspect` looks at a loaded model, `read` at a folder, without weights. A model whose structure the engine would compute
wrongly is refused by name when it is loaded (`require_supported`). `suited` gives the defaults that were measured at a
model's size, where the user has set none. Not here: loading (`models`), chat templates (`chat_format`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from seal_memory.config import LLAMA_LINEAR, Settings
from seal_memory.engines.encoding import Encoder, load_encoder
from seal_memory.engines.fingerprints import weight_shapes
from seal_memory.engines.head import logit_transform, output_head
from seal_memory.errors import ModelUnavailableError

if TYPE_CHECKING:
    from seal_memory.engines.models import ModelFiles

__all__ = ["TESTED", "ModelProfile", "Trained", "inspect", "read", "require_supported", "suited"]

Trained = Literal["real weights", "random weights only"]

# By `model_type`: what the conformance suite covers (tests/models/test_conformance.py), and the weights tried.
TESTED: dict[str, Trained] = {
    "llama": "real weights",
    "qwen2": "real weights",
    "qwen3": "random weights only",
    "gemma2": "random weights only",
    "gemma3_text": "random weights only",
    "mistral": "random weights only",
    "phi3": "random weights only",
    "granite": "random weights only",
    "olmo2": "random weights only",
    "smollm3": "random weights only",
}

LARGE = 300_000_000  # parameters; measured at 0.135 and 0.5 thousand million
_LARGE_DEFAULTS = {"learning.rank": 4, "learning.alpha": 16.0, "learning.learning_rate": 1e-3}
_BLOCKS = "model.layers."
_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})  # of experts: not adapted
_PROBE_TOKENS = 4
_PROBE_TOLERANCE = 0.02  # of the largest logit: two passes in 16 bits round differently


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model. `linear_layers`: names of the blocks' linear layers. `window`: of its sliding attention, or None.

    `logit_scale`, `logit_cap`: what the model does to the output of its head.
    """

    architecture: str
    model_type: str
    parameters: int
    linear_layers: tuple[str, ...]
    tied_head: bool
    window: int | None
    logit_scale: float
    logit_cap: float | None
    encoder: Encoder

    @property
    def tested(self) -> str:
        """What this architecture was tested with: one of `Trained`, or "not tested"."""
        return TESTED.get(self.model_type, "not tested")

    @property
    def learning(self) -> dict[str, Any]:
        """Settings of `learning` by dotted name that differ from the package's defaults for this model."""
        found: dict[str, Any] = dict(_LARGE_DEFAULTS) if self.parameters >= LARGE else {}
        if set(self.linear_layers) != set(LLAMA_LINEAR):
            found["learning.target_modules"] = self.linear_layers
        return found

    def facts(self) -> dict[str, Any]:
        """The profile for people, in order."""
        chat, encoder = self.encoder.format, self.encoder
        ends = encoder.tokenizer.convert_ids_to_tokens(sorted(encoder.stop_ids))
        logits = [f"scale {self.logit_scale:g}"] if self.logit_scale != 1.0 else []
        logits += [f"soft cap {self.logit_cap:g}"] if self.logit_cap is not None else []
        learning = Settings.defaults().changed(**self.learning).learning
        return {
            "architecture": self.architecture,
            "tested": self.tested,
            "parameters": self.parameters,
            "context": encoder.max_length,
            "sliding_window": self.window,
            "chat_template": "its own" if chat.own else "none: the plain one",
            "system_role": chat.system_role,
            "thinking": {"none": "none", "switch": "switched off", "opened": "closed at once"}[chat.thinking],
            "end_tokens": ", ".join(ends),
            "linear_layers": ", ".join(self.linear_layers),
            "logits": ", ".join(logits) or "plain",
            "tied_head": self.tied_head,
            "suggested": f"rank {learning.rank}, alpha {learning.alpha:g}, learning rate {learning.learning_rate:g}",
        }


def inspect(model: Any, encoder: Encoder) -> ModelProfile:
    """The profile of a model, loaded or without weights. Raises nothing: see `require_supported`."""
    config = model.config
    scale, cap = logit_transform(config)
    return ModelProfile(
        type(model).__name__,
        str(config.model_type),
        sum(p.numel() for p in model.parameters()),
        _linear_layers(model),
        bool(getattr(config, "tie_word_embeddings", False)),
        _window(config),
        scale,
        cap,
        encoder,
    )


def read(files: ModelFiles) -> ModelProfile:
    """The profile of a model on disk, without its weights. Raises `ModelUnavailableError` as loading would."""
    from transformers import AutoConfig, AutoModelForCausalLM

    weight_shapes(files.folder)  # the files are whole
    encoder = load_encoder(files)
    try:
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise ModelUnavailableError(f"model {files.name!r} cannot be read from {files.folder}: {error}") from error
    require_supported(model, encoder.tokenizer, files.name)
    return inspect(model, encoder)


def suited(settings: Settings, profile: ModelProfile) -> Settings:
    """The settings with the model's own defaults where the user has set none; rank and alpha count as one."""
    given = settings.learning.model_fields_set
    pair = {"rank", "alpha"}
    taken = given | pair if given & pair else given
    missing = {k: v for k, v in profile.learning.items() if k.removeprefix("learning.") not in taken}
    return settings.changed(**missing) if missing else settings


def require_supported(model: Any, tokenizer: Any, name: str) -> None:
    """Raise `ModelUnavailableError`, with the reason, for a model that would be computed or trained wrongly."""
    reason = _structure(model) or _head_differs(model)
    if reason is None and len(tokenizer) > model.config.vocab_size:
        reason = f"its tokenizer has {len(tokenizer)} tokens, more than the {model.config.vocab_size} it embeds"
    if reason is not None:
        raise ModelUnavailableError(
            f"model {name!r} ({type(model).__name__}) is not supported: {reason}. Take a text model of one of these "
            f"types: {', '.join(sorted(TESTED))}"
        )


def _structure(model: Any) -> str | None:
    """The reason why the engine cannot run the model, or None."""
    modules = dict(model.named_modules())
    if any(type(m).__name__ == "Conv1D" for m in modules.values()):
        return "its layers are transformers' Conv1D, not linear ones"
    if model.config.get_text_config() is not model.config:
        return "it takes more than text"
    if getattr(model.config, "is_encoder_decoder", False):
        return "it is no decoder"
    missing = [part for part in ("model", "model.layers", "lm_head") if part not in modules]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    if not _linear_layers(model):
        return "its blocks have no linear layers that can take an adapter"
    return _special_layers(model.config)


def _special_layers(config: Any) -> str | None:
    """The reason why rows cannot be padded together: layers with a state in place of keys and values."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    others = sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer})
    return f"its layers keep {', '.join(others)} instead of keys and values" if others else None


def _head_differs(model: Any) -> str | None:
    """Probe, for types that were not tested: are the logits those of the hidden states under `output_head`?"""
    weight = next(model.parameters())
    if model.config.model_type in TESTED or weight.is_meta:
        return None
    ids = torch.arange(_PROBE_TOKENS, device=weight.device)[None] % model.config.vocab_size
    with torch.inference_mode():
        wanted = model(input_ids=ids, use_cache=False).logits[0].float()
        hidden = model.get_submodule("model")(input_ids=ids, use_cache=False).last_hidden_state[0]
        found = output_head(model).logits(hidden)
    gap = float((wanted - found).abs().max())
    if gap <= _PROBE_TOLERANCE * float(wanted.abs().max()) and not math.isnan(gap):
        return None
    return f"its logits are not those of its head (largest difference {gap:.3g})"


def _linear_layers(model: Any) -> tuple[str, ...]:
    names = [n for n, m in model.named_modules() if type(m) is nn.Linear and n.startswith(_BLOCKS)]
    found = dict.fromkeys(n.removesuffix(".base").rpartition(".")[2] for n in names)
    return tuple(n for n in found if n not in _ROUTERS)


def _window(config: Any) -> int | None:
    from transformers import DynamicCache

    windows = [layer.sliding_window for layer in DynamicCache(config=config).layers if hasattr(layer, "sliding_window")]
    return min(windows) if windows else None
