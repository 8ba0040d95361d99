"""Mixes of adapters under one id: `mix:0.7500*a-1+0.2500*a-2` is three quarters of one and a quarter of the other.

The id says all there is to know, so a mix can stand wherever an adapter's id can, is made when it is asked for, and is
stored nowhere: forgetting an adapter need not look for mixes. Not here: applying one (`lora.stack`), choosing the
weights (`routing.router`). No torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from seal_memory.errors import AdapterError, InputError

__all__ = ["mix_id", "parts_of"]

_MARK = "mix:"
_PLACES = 4  # decimals of a weight


def mix_id(parts: Sequence[tuple[str, float]]) -> str:
    """The id of the weighted sum of adapters; one adapter with weight 1 keeps its own.

    Raises `InputError` where there is nothing to mix, a weight is not above 0, or a part is a mix itself.
    """
    if not parts:
        raise InputError("There is no adapter to mix; expected at least one.")
    for adapter_id, weight in parts:
        if not 10**-_PLACES <= weight < 100:
            raise InputError(f"The weight of {adapter_id!r} is {weight!r}; expected 0.0001 or more, under 100.")
        if adapter_id.startswith(_MARK) or "+" in adapter_id:
            raise InputError(f"{adapter_id!r} cannot be part of a mix; expected one adapter's own id.")
    if len(parts) == 1 and round(parts[0][1], _PLACES) == 1.0:
        return parts[0][0]
    return _MARK + "+".join(f"{weight:.{_PLACES}f}*{adapter_id}" for adapter_id, weight in parts)


def parts_of(adapter_id: str) -> tuple[tuple[str, float], ...]:
    """The adapters behind an id, each with its weight; of what is no mix itself, with weight 1.

    Raises `AdapterError` for the id of a mix that `mix_id` did not make.
    """
    if not adapter_id.startswith(_MARK):
        return ((adapter_id, 1.0),)
    found = []
    for part in adapter_id.removeprefix(_MARK).split("+"):
        weight, star, own = part.partition("*")
        try:
            found.append((own, float(weight)))
        except ValueError:
            star = ""
        if not star or not own:
            raise AdapterError(f"{adapter_id!r} is no mix of adapters; expected mix:WEIGHT*ID+WEIGHT*ID.")
    return tuple(found)
