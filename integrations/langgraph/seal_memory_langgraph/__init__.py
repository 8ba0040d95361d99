"""LangGraph: a long-term store whose items are also learned. Not here: checkpoints, and learning itself."""

from __future__ import annotations

from seal_memory_langgraph.store import SealMemoryStore

__all__ = ["SealMemoryStore"]
