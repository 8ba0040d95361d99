"""Stacked LoRA: linear layers that apply several adapters in one batch, one adapter per row.

`StackedLora` wraps the linears of a frozen model once. Inside `with stack.rows(...)`, the rows of the batch are grouped
by adapter and every group gets its own update, in inference and in training (K candidates at once, where
arXiv 2506.10943's inner loop trains them one by one). Outside, the model is the untouched base, bit for bit.

Each update is added to the base's own output in place, one group after another, which is faster than autograd's own
graph; one `baddbmm` over all groups gained nothing more (docs/lab-log/speed.md, rows 44 to 46). A pass without
gradients stays out of autograd, and a single row is multiplied as a vector.

Not here: training (`learning`), files (`peft_files`), choosing adapters (`routing`), thread safety: one batch at a
time per model, under the caller's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seal_memory.errors import SettingsError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig


@dataclass(slots=True)
class _RowGroups:
    """Groups of the running batch: the next `counts[i]` rows use `adapters[i]`."""

    adapters: list[LoraAdapter | None]  # None: the base
    counts: list[int]


@dataclass(slots=True)
class _BatchSlot:
    """Row groups of the running batch, shared by all adapted layers of one model; None: the base."""

    active: _RowGroups | None = None


class StackedLinear(nn.Module):
    """A frozen linear plus, per group of rows, `scale * (x A^T) B^T`."""

    def __init__(self, name: str, base: nn.Linear, slot: _BatchSlot) -> None:
        super().__init__()
        self.base = base
        self._name = name
        self.slot = slot

    def forward(self, x: Tensor) -> Tensor:  # (B, T, d_in) -> (B, T, d_out)
        active = self.slot.active
        groups = [] if active is None else self._groups(active)
        if active is None or all(g is None for g in groups):
            y: Tensor = self.base(x)
            return y
        counts = active.counts if len(groups) > 1 else [len(x)]
        if not torch.is_grad_enabled():
            return _forward_without_grad(x, self.base, groups, counts)
        # autograd needs one input that requires a gradient; the first layers' x does not
        leaf = next((g.a for g in groups if g is not None and g.a.requires_grad), None)
        adapted: Tensor = _AdaptedLinear.apply(x, leaf, self.base, groups, counts)  # type: ignore[no-untyped-call]
        return adapted

    def _groups(self, active: _RowGroups) -> list[_LayerUpdate | None]:
        return [self._update(a) for a in active.adapters]

    def _update(self, adapter: LoraAdapter | None) -> _LayerUpdate | None:
        pair = None if adapter is None else adapter.pairs.get(self._name)
        return None if adapter is None or pair is None else _LayerUpdate(*pair, adapter.config.scale)


@dataclass(frozen=True, slots=True)
class _LayerUpdate:
    """One adapter's update of one layer: A (rank, d_in), B (d_out, rank)."""

    a: Tensor
    b: Tensor
    scale: float


def _forward_without_grad(x: Tensor, base: nn.Linear, groups: list[_LayerUpdate | None], counts: list[int]) -> Tensor:
    """Adapted linear without gradients; x (B, T, d_in) -> (B, T, d_out)."""
    x = x.contiguous()
    y: Tensor = base(x)
    for rows, out, update in zip(_group_views(x, counts), _group_views(y, counts), groups, strict=True):
        if update is None:
            continue
        a, b = update.a.to(x.dtype), update.b.to(x.dtype)
        if len(rows) == 1:
            out[0].addmv_(b, torch.mv(a, rows[0]), alpha=update.scale)
        else:
            out.addmm_(rows @ a.t(), b.t(), alpha=update.scale)
    return y


class _AdaptedLinear(torch.autograd.Function):
    """Adapted linear as one autograd function.

    It saves x and the small `x A^T`, computes no gradient of the frozen weight, and adds the adapters' gradients
    directly to the float32 `.grad` set by `LoraAdapter.begin_training` (so `torch.autograd.grad` with respect to A
    or B returns nothing).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _leaf: Tensor | None, base: nn.Linear, groups: list[_LayerUpdate | None], counts: list[int]
    ) -> Tensor:
        x = x.contiguous()
        y: Tensor = base(x)
        inner = []  # (rows x T, rank) each
        for rows, out, update in zip(_group_views(x, counts), _group_views(y, counts), groups, strict=True):
            if update is not None:
                h = rows @ update.a.to(x.dtype).t()
                out.addmm_(h, update.b.to(x.dtype).t(), alpha=update.scale)
                inner.append(h)
        ctx.save_for_backward(x, *inner)
        ctx.weight, ctx.groups, ctx.counts = base.weight, groups, counts
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x, *inner = ctx.saved_tensors
        dy = dy.contiguous()
        dx = dy @ ctx.weight if ctx.needs_input_grad[0] else None
        parts: Sequence[Tensor | None] = [None] * len(ctx.groups) if dx is None else _group_views(dx, ctx.counts)
        at = iter(inner)
        cuts = zip(_group_views(x, ctx.counts), _group_views(dy, ctx.counts), parts, ctx.groups, strict=True)
        for rows, d_out, d_rows, update in cuts:
            if update is not None:
                _add_gradients(update, rows, next(at), d_out, d_rows)
        return dx, None, None, None, None


def _add_gradients(update: _LayerUpdate, x: Tensor, h: Tensor, dy: Tensor, dx: Tensor | None) -> None:
    """Backward pass of one group, added in place; x (N, d_in), h (N, rank), dy (N, d_out), dx (N, d_in)."""
    dh = torch.mm(dy, update.b.to(dy.dtype)).mul_(update.scale)
    if dx is not None:
        dx.addmm_(dh, update.a.to(dy.dtype))
    _add_product(update.a, dh.t(), x, 1.0)
    _add_product(update.b, dy.t(), h, update.scale)


def _add_product(leaf: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """Add `scale * left @ right` to the leaf's gradient, which is float32 for any dtype of the base."""
    if leaf.grad is None:  # an adapter in inference, in a batch with one in training
        return
    if left.dtype == leaf.grad.dtype:
        leaf.grad.addmm_(left, right, alpha=scale)
    else:
        leaf.grad.add_(left @ right, alpha=scale)


def _group_views(x: Tensor, counts: list[int]) -> list[Tensor]:
    """Split a contiguous (B, T, D) into one (rows x T, D) view per group."""
    if len(counts) == 1:
        return [x.view(-1, x.shape[-1])]
    return [part.view(-1, x.shape[-1]) for part in torch.split(x, counts)]


class StackedLora:
    """All wrapped linears of one model; outside `rows` the model is the base.

    A model that is wrapped already keeps its layers: two stacks share them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._layers = {n: m for n, m in model.named_modules() if isinstance(m, StackedLinear)}
        if self._layers:
            self._slot = next(iter(self._layers.values())).slot
            return
        self._slot = _BatchSlot()
        names = [n for n, m in model.named_modules() if type(m) is nn.Linear and "lm_head" not in n]
        for name in names:
            parent_name, _, child = name.rpartition(".")
            parent = model.get_submodule(parent_name)
            layer = StackedLinear(name, getattr(parent, child), self._slot)
            setattr(parent, child, layer)
            self._layers[name] = layer

    def shapes(self, target_modules: Sequence[str]) -> dict[str, tuple[int, int]]:
        """{module name: (d_out, d_in)} of every linear whose last name part is in `target_modules`.

        Raises `SettingsError` when a target names no linear layer of this model.
        """
        known = {n.rpartition(".")[2] for n in self._layers}
        missing = [t for t in target_modules if t not in known]
        if missing or not target_modules:
            raise SettingsError(
                f"target_modules {list(target_modules)!r}: {missing or 'nothing'} not among this model's "
                f"linear layers; choose from {sorted(known)}."
            )
        return {
            name: (layer.base.out_features, layer.base.in_features)
            for name, layer in self._layers.items()
            if name.rpartition(".")[2] in target_modules
        }

    def create(self, config: LoraConfig, *, seed: int) -> LoraAdapter:
        """New adapter for this model, on its device."""
        device = next(self.model.parameters()).device
        return LoraAdapter.create(config, self.shapes(config.target_modules), seed=seed, device=device)

    def base_state_dict(self) -> dict[str, Tensor]:
        """Weights of the base model under their original names, without the wrappers."""
        wrapped = {f"{name}.base.{kind}": f"{name}.{kind}" for name in self._layers for kind in ("weight", "bias")}
        return {wrapped.get(name, name): tensor for name, tensor in self.model.state_dict().items()}

    @contextmanager
    def rows(self, row_adapters: Sequence[LoraAdapter | None]) -> Iterator[None]:
        """Apply `row_adapters[i]` to row i of batches run inside the block; None: the base."""
        previous = self._slot.active
        self._slot.active = group_rows(row_adapters)
        try:
            yield
        finally:
            self._slot.active = previous


def group_rows(row_adapters: Sequence[LoraAdapter | None]) -> _RowGroups | None:
    """Group neighbouring rows of one adapter; None when every row uses the base."""
    if all(a is None for a in row_adapters):
        return None
    adapters: list[LoraAdapter | None] = []
    counts: list[int] = []
    for adapter in row_adapters:
        if adapters and adapters[-1] is adapter:
            counts[-1] += 1
        else:
            adapters.append(adapter)
            counts.append(1)
    return _RowGroups(adapters, counts)
