"""Linear layers that apply many LoRA adapters in one batch, each row its own.

`StackedLora` wraps the target linears of a frozen model once. Inside `with stack.rows(...)`, the
batch's rows are grouped by adapter and every group gets its own update, in training (K candidates
at once, arXiv 2506.10943's inner loop without its one-by-one) and in inference. Outside, the model
is the untouched base, bit for bit.

Not here: what is trained (`learning`), files (`peft_files`), choosing rows (`routing`), and threads: one
batch at a time per model, whoever runs it holds a lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seal_memory.errors import SettingsError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig


@dataclass(slots=True)
class _Active:
    """The groups of the batch that is running: `counts[i]` rows in a row use `adapters[i]`."""

    adapters: list[LoraAdapter | None]
    counts: list[int]


@dataclass(slots=True)
class _Slot:
    """What runs now; shared by all adapted layers of one model."""

    active: _Active | None = None


class StackedLinear(nn.Module):
    """A frozen linear plus, per group of rows, `scale * (x A^T) B^T`."""

    def __init__(self, name: str, base: nn.Linear, slot: _Slot) -> None:
        super().__init__()
        self.base = base
        self._name = name
        self.slot = slot

    def forward(self, x: Tensor) -> Tensor:  # (B, T, d_in) -> (B, T, d_out)
        y: Tensor = self.base(x)
        active = self.slot.active
        if active is None:
            return y
        if len(active.adapters) == 1:
            update = self._update(x, active.adapters[0])
            return y if update is None else y + update
        parts = []
        for rows, adapter in zip(torch.split(x, active.counts), active.adapters, strict=True):
            update = self._update(rows, adapter)
            parts.append(rows.new_zeros(*rows.shape[:-1], y.shape[-1]) if update is None else update)
        return y + torch.cat(parts)

    def _update(self, x: Tensor, adapter: LoraAdapter | None) -> Tensor | None:
        pair = adapter.pairs.get(self._name) if adapter is not None else None
        if adapter is None or pair is None:
            return None
        a, b = pair[0].to(x.dtype), pair[1].to(x.dtype)
        return nn.functional.linear(nn.functional.linear(x, a) * adapter.config.scale, b)


class StackedLora:
    """The adapted linears of one model; the model stays usable as the base.

    On a model that is adapted already, the layers that are there are used again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._layers = {n: m for n, m in model.named_modules() if isinstance(m, StackedLinear)}
        if self._layers:
            self._slot = next(iter(self._layers.values())).slot
            return
        self._slot = _Slot()
        names = [n for n, m in model.named_modules() if type(m) is nn.Linear and "lm_head" not in n]
        for name in names:
            parent_name, _, child = name.rpartition(".")
            parent = model.get_submodule(parent_name)
            layer = StackedLinear(name, getattr(parent, child), self._slot)
            setattr(parent, child, layer)
            self._layers[name] = layer

    def shapes(self, target_modules: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Module name -> (d_out, d_in) of every linear whose last name part is a target.

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
        """A fresh adapter for this model, on its device."""
        device = next(self.model.parameters()).device
        return LoraAdapter.create(config, self.shapes(config.target_modules), seed=seed, device=device)

    def base_state_dict(self) -> dict[str, Tensor]:
        """The base model's weights under their original names, as if nothing were wrapped."""
        wrapped = {f"{name}.base.{kind}": f"{name}.{kind}" for name in self._layers for kind in ("weight", "bias")}
        return {wrapped.get(name, name): tensor for name, tensor in self.model.state_dict().items()}

    @contextmanager
    def rows(self, row_adapters: Sequence[LoraAdapter | None]) -> Iterator[None]:
        """Run a batch whose row i uses `row_adapters[i]`; equal neighbours form one group."""
        previous = self._slot.active
        self._slot.active = group_rows(row_adapters)
        try:
            yield
        finally:
            self._slot.active = previous


def group_rows(row_adapters: Sequence[LoraAdapter | None]) -> _Active | None:
    """Neighbouring rows of one adapter as one group; None when every row is the base."""
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
    return _Active(adapters, counts)
