"""pydantic-ai: a capability that observes runs and gives the agent tools to remember, recall and forget.

Maps types only. Not here: message history (pydantic-ai's own `conversation_store`).
"""

from __future__ import annotations

from seal_memory_pydantic_ai.capability import SealMemoryCapability, memory_toolset

__all__ = ["SealMemoryCapability", "memory_toolset"]
