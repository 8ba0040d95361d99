"""OpenAI Agents SDK: a session whose conversation is also remembered.

Maps types only. Not here: answering (point the agent's model at seal-memory's server, or call `ask`).
"""

from __future__ import annotations

from seal_memory_openai_agents.session import SealMemorySession

__all__ = ["SealMemorySession"]
