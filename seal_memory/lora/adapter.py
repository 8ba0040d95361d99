"""LoRA adapter in memory: named (A, B) pairs over one flat fp32 buffer.

Covers creation, the flat views that make optimizer steps and checks cheap, and the state dict.
Not here: layers that apply adapters (`stack`), files (`peft_files`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """LoRA geometry (Hu et al., arXiv 2106.09685). The update is scaled by `alpha / rank`."""

    rank: int
    alpha: float
    target_modules: tuple[str, ...]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class LoraAdapter:
    """Matrices A (rank, d_in) and B (d_out, rank) of every adapted linear layer.

    All pairs are views of `flat`, one fp32 vector, so that an optimizer step, a finite check or a checksum is one
    pass over one tensor.
    """

    def __init__(self, config: LoraConfig, shapes: Mapping[str, tuple[int, int]], device: torch.device) -> None:
        self.config = config
        self.shapes = dict(shapes)  # module name -> (d_out, d_in)
        size = sum(config.rank * (d_out + d_in) for d_out, d_in in self.shapes.values())
        self.flat = torch.zeros(size, dtype=torch.float32, device=device)
        self.pairs = self._views(self.flat)

    def _views(self, flat: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        pairs, offset, rank = {}, 0, self.config.rank
        for name, (d_out, d_in) in self.shapes.items():
            a = flat[offset : offset + rank * d_in].view(rank, d_in)
            offset += rank * d_in
            b = flat[offset : offset + d_out * rank].view(d_out, rank)
            offset += d_out * rank
            pairs[name] = (a, b)
        return pairs

    @classmethod
    def create(
        cls, config: LoraConfig, shapes: Mapping[str, tuple[int, int]], *, seed: int, device: torch.device
    ) -> LoraAdapter:
        """New adapter: A is uniform (PEFT's Kaiming with a = sqrt(5)), B is zero, so that it starts as the base."""
        adapter = cls(config, shapes, device)
        rng = torch.Generator().manual_seed(seed)
        for a, _ in adapter.pairs.values():
            bound = 1 / math.sqrt(a.shape[1])
            a.copy_(torch.empty(a.shape).uniform_(-bound, bound, generator=rng))
        return adapter

    def begin_training(self) -> Tensor:
        """Make every matrix a leaf whose `.grad` is a view of one flat buffer; returns that buffer."""
        grad = torch.zeros_like(self.flat)
        for (a, b), (grad_a, grad_b) in zip(self.pairs.values(), self._views(grad).values(), strict=True):
            for leaf, view in ((a, grad_a), (b, grad_b)):
                leaf.requires_grad_(True)
                leaf.grad = view
        return grad

    def end_training(self) -> None:
        """Drop gradients and freeze."""
        for pair in self.pairs.values():
            for leaf in pair:
                leaf.grad = None
                leaf.requires_grad_(False)

    def state_dict(self) -> dict[str, Tensor]:
        """`{"<module>.lora_A": (rank, d_in), "<module>.lora_B": (d_out, rank)}`, detached."""
        state = {}
        for name, (a, b) in self.pairs.items():
            state[f"{name}.lora_A"], state[f"{name}.lora_B"] = a.detach(), b.detach()
        return state

    def scale_update(self, factor: float) -> None:
        """Multiply the update `B A` by `factor`, in place."""
        for _, b in self.pairs.values():
            b.detach().mul_(factor)

    def is_finite(self) -> bool:
        return bool(torch.isfinite(self.flat).all())
