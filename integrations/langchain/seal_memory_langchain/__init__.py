"""LangChain: a chat model that remembers, memory for any agent, a retriever, and tools.

Maps types only; each name is imported when first used. Not here: learning (`SealMemory`) and serving (the server).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seal_memory_langchain.chat_model import ChatSealMemory
    from seal_memory_langchain.middleware import SealMemoryMiddleware
    from seal_memory_langchain.remote import RemoteMemory
    from seal_memory_langchain.retriever import SealMemoryRetriever
    from seal_memory_langchain.tools import memory_tools

_HOME = {
    "ChatSealMemory": "chat_model",
    "RemoteMemory": "remote",
    "SealMemoryMiddleware": "middleware",
    "SealMemoryRetriever": "retriever",
    "memory_tools": "tools",
}

__all__ = ["ChatSealMemory", "RemoteMemory", "SealMemoryMiddleware", "SealMemoryRetriever", "memory_tools"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"seal_memory_langchain.{_HOME[name]}"), name)
    raise AttributeError(f"module 'seal_memory_langchain' has no attribute {name!r}")
