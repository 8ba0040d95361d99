"""Conversion of records to JSON values, for `--json` and the server. Pure functions.

Not here: the records' meaning, reading JSON.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["fields_of", "jsonable"]


def fields_of(record: Any) -> dict[str, Any]:
    """A record's fields by name, one level deep."""
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def jsonable(value: Any) -> Any:
    """Convert records, enums, paths and tuples to JSON values; a number that is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return jsonable(fields_of(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Iterable):
        return [jsonable(one) for one in value]
    return value
