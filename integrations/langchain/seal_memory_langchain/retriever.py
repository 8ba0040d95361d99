"""`SealMemoryRetriever`: `recall` behind LangChain's retriever interface, sync and async."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, SkipValidation

from seal_memory.errors import InputError
from seal_memory_langchain.errors import langchain_errors
from seal_memory_langchain.remote import Memory


class SealMemoryRetriever(BaseRetriever):
    """The `k` interactions that match a query best; each document's metadata says where it came from.

    `memory`: a `SealMemory`, or a `RemoteMemory`. `invoke(query, k=3)` changes `k` for one call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    memory: SkipValidation[Memory] = Field(exclude=True)
    k: int = 5

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **more: Any
    ) -> list[Document]:
        with langchain_errors():
            if unknown := [name for name, value in more.items() if value is not None]:
                raise InputError(f"The option {unknown[0]!r} is not supported by this retriever; leave it out.")
            hits = self.memory.recall(query, limit=self.k if k is None else k)
        return [
            Document(
                id=hit.interaction.id,
                page_content=hit.interaction.text,
                metadata={
                    "role": hit.interaction.role.value,
                    "source": hit.interaction.source,
                    "session": hit.interaction.session,
                    "title": hit.interaction.title,
                    "time": hit.interaction.time,
                    "score": hit.score,
                },
            )
            for hit in hits
        ]
