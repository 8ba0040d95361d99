"""Output head: logits from hidden states, as the model itself makes them from its `lm_head`.

Some architectures scale the logits (Granite, Cohere) or cap them softly (Gemma): `cap * tanh(logits / cap)`. Whoever
computes logits of chosen positions only must do the same, and multiply a gradient by the slope. Not here: scales of
embeddings, residuals and attention, which are inside the model's own layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["OutputHead", "logit_transform", "output_head"]


@dataclass(frozen=True, slots=True)
class OutputHead:
    """`lm_head` with the scale and the soft cap that the model applies to its logits."""

    linear: nn.Module
    scale: float = 1.0
    cap: float | None = None

    @property
    def weight(self) -> Tensor:
        """The head's matrix (vocab, D); the embedding's own where they are tied."""
        return self.linear.get_parameter("weight")

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits (N, vocab) of hidden states (N, D); the caller may overwrite them."""
        logits: Tensor = self.linear(hidden).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else (logits / self.cap).tanh().mul(self.cap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """Derivative of the logits with respect to the output of `lm_head`, elementwise; 1.0 for most models."""
        if self.cap is None:
            return self.scale
        return (logits / self.cap).square_().neg_().add_(1.0).mul_(self.scale)


def output_head(model: nn.Module) -> OutputHead:
    """The output head of a causal language model of transformers."""
    scale, cap = logit_transform(getattr(model, "config", None))
    return OutputHead(model.get_submodule("lm_head"), scale, cap)


def logit_transform(config: Any) -> tuple[float, float | None]:
    """Scale and soft cap of the logits, from the model's configuration."""
    divisor = getattr(config, "logits_scaling", None) or 1.0
    factor = getattr(config, "logit_scale", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    return float(factor) / float(divisor), float(cap) if cap else None
