"""LlamaIndex: a memory block for `Memory.from_defaults`.

Maps types only. Not here: a chat store; the block keeps no history.
"""

from __future__ import annotations

from seal_memory_llama_index.block import SealMemoryBlock

__all__ = ["SealMemoryBlock"]
