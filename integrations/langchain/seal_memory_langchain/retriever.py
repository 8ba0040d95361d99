"""`SealMemoryRetriever`: `SealMemory.recall` behind LangChain's retriever interface."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from seal_memory import SealMemory


class SealMemoryRetriever(BaseRetriever):
    """The `k` interactions that match a query best; each document's metadata says where it came from."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    memory: SealMemory = Field(exclude=True)
    k: int = 5

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **_: Any
    ) -> list[Document]:
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
            for hit in self.memory.recall(query, limit=self.k)
        ]
