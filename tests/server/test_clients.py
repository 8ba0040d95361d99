"""Our own clients against the real server: what an integration sends is what the server takes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

pytest.importorskip("langchain", reason="langchain is not installed: pip install seal-memory[langchain]")

from seal_memory.records import Role, Status
from seal_memory_langchain import RemoteMemory, SealMemoryRetriever, memory_tools

Site = Any  # conftest's
FACT = "Elspeth Corran leads the port office of Dunmorrow."


@pytest.fixture
def remote(site: Site) -> RemoteMemory:
    """A client's view of one namespace."""
    client = TestClient(site.app, base_url="http://127.0.0.1", headers={"X-Seal-Memory-Namespace": "agent"})
    return RemoteMemory(client)  # type: ignore[arg-type]  # it has httpx' post, whichever httpx it is made of


def test_what_langchain_observes_is_recalled_and_forgotten_on_the_server(site: Site, remote: RemoteMemory) -> None:
    """A thread is the session, a user the source; forgetting a session takes what was said in it and nothing else."""
    remote.observe_messages([{"role": "user", "content": FACT}], source="user:ada", session="monday")
    remote.observe_messages([{"role": "user", "content": "The quay is red."}], source="user:ada", session="tuesday")
    (hit,) = remote.recall("Who leads the port office?", limit=1)
    found = hit.interaction
    assert (found.text, found.role, found.session, found.source) == (FACT, Role.USER, "monday", "user:ada")
    assert found.status is Status.PENDING
    (document,) = SealMemoryRetriever(memory=remote, k=1).invoke("Who leads the port office?")
    assert (document.page_content, document.id) == (FACT, found.id)
    assert remote.forget(session="monday")["interactions"] == 1
    assert [text for _, text, _ in site.texts("agent")] == ["The quay is red."]


def test_langchains_tools_work_on_the_server(site: Site, remote: RemoteMemory) -> None:
    """Remember, recall, forget by the id that was told."""
    remember, recall, forget = memory_tools(remote)
    remember.invoke({"text": "The alarm code is K-7741."})
    told = recall.invoke({"query": "alarm code"})
    assert "K-7741" in told
    (one,) = [h.interaction for h in remote.recall("alarm code", limit=1)]
    forget.invoke({"ids": [one.id]})
    assert remote.recall("alarm code") == []
