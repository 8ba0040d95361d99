"""The LangChain retriever returns what `recall` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_memory import SealMemory

pytest.importorskip("langchain_core", reason="langchain-core is not installed: pip install seal-memory[langchain]")


def test_the_retriever_returns_the_best_matches_with_their_provenance(tmp_path: Path) -> None:
    """Text, id, source and session of an interaction arrive in the document."""
    from seal_memory_langchain import SealMemoryRetriever

    with SealMemory.open(tmp_path) as memory:
        seen = memory.observe(
            ["Elspeth Corran leads the port office.", "The cat is called Bilgewater."], session="monday", source="log"
        )
        found = SealMemoryRetriever(memory=memory, k=1).invoke("Who leads the port office?")
    assert [d.page_content for d in found] == ["Elspeth Corran leads the port office."]
    assert found[0].id == seen[0].id
    assert found[0].metadata["session"] == "monday"
    assert found[0].metadata["source"] == "log"


def test_the_retriever_honours_k(tmp_path: Path) -> None:
    """No more than k documents come back."""
    from seal_memory_langchain import SealMemoryRetriever

    with SealMemory.open(tmp_path) as memory:
        memory.observe([f"The boat number {n} lies at the quay." for n in range(5)])
        assert len(SealMemoryRetriever(memory=memory, k=3).invoke("Which boat lies at the quay?")) == 3
