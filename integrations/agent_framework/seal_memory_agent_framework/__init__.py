"""Microsoft Agent Framework: a context provider.

Maps types only. Not here: history (the framework's own `HistoryProvider`s).
"""

from __future__ import annotations

from seal_memory_agent_framework.provider import SealMemoryProvider

__all__ = ["SealMemoryProvider"]
