"""LangChain: what a memory recalls, as a retriever.

Maps types and nothing else. Not here yet: the chat model, middleware and tools (issue 7).
"""

from __future__ import annotations

from seal_memory_langchain.retriever import SealMemoryRetriever

__all__ = ["SealMemoryRetriever"]
