"""seal-memory: a memory that lives in the model's weights.

The public surface; everything is imported when first used, so that `import seal_memory` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seal_memory.answering.answerer import Answer, Mode
    from seal_memory.config import Settings
    from seal_memory.engines.base import Decoding
    from seal_memory.errors import SealMemoryError
    from seal_memory.memory import SealMemory
    from seal_memory.pool import MemoryPool
    from seal_memory.routing.router import Route, Router

__version__ = "0.2.0"

_HOME = {
    "Answer": "answering.answerer",
    "Decoding": "engines.base",
    "MemoryPool": "pool",
    "Mode": "answering.answerer",
    "Route": "routing.router",
    "Router": "routing.router",
    "SealMemory": "memory",
    "SealMemoryError": "errors",
    "Settings": "config",
}

__all__ = [
    "Answer",
    "Decoding",
    "MemoryPool",
    "Mode",
    "Route",
    "Router",
    "SealMemory",
    "SealMemoryError",
    "Settings",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"seal_memory.{_HOME[name]}"), name)
    raise AttributeError(f"module 'seal_memory' has no attribute {name!r}")
