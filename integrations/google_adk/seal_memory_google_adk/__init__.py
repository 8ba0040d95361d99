"""Google ADK: a memory service.

Maps types only. Not here: ADK's session services, which keep the conversations.
"""

from __future__ import annotations

from seal_memory_google_adk.service import SealMemoryService

__all__ = ["SealMemoryService"]
