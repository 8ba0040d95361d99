"""The LlamaIndex block inside `Memory.from_defaults`, in real chat loops with LlamaIndex's own mock model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory

pytest.importorskip(
    "llama_index.core", reason="llama-index-core is not installed: pip install seal-memory[llama-index]"
)

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"


def _chat(memory: SealMemory, session: str, *texts: str, token_limit: int = 3000, **options: Any) -> str:
    """The last answer of a chat: LlamaIndex's mock model repeats its whole prompt."""
    from llama_index.core.chat_engine import SimpleChatEngine
    from llama_index.core.llms import MockLLM
    from llama_index.core.memory import Memory
    from sqlalchemy.ext.asyncio import create_async_engine

    from seal_memory_llama_index import SealMemoryBlock

    block = SealMemoryBlock(memory=memory, **options)

    async def run() -> str:
        database = create_async_engine("sqlite+aiosqlite://")  # its own is never closed
        conversation = Memory.from_defaults(
            session_id=session,
            memory_blocks=[block],
            token_limit=token_limit,
            tokenizer_fn=str.split,
            async_engine=database,
        )
        engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=conversation)
        try:
            return [str(await engine.achat(text)) for text in texts][-1]
        finally:
            await database.dispose()

    return asyncio.run(run())


def test_what_one_chat_was_told_stands_in_anothers_prompt(tmp_path: Path) -> None:
    """In another conversation the passage is recalled into the prompt; an unrelated question brings nothing."""
    with SealMemory.open(tmp_path) as memory:
        _chat(memory, "monday", FACT)
        answer = _chat(memory, "tuesday", QUESTION)
        assert FACT in answer
        assert FACT not in _chat(memory, "wednesday", "Sing something!")


def test_sessions_are_kept_apart_and_can_be_forgotten(tmp_path: Path) -> None:
    """Each message carries the session of its `Memory`; forgetting one session leaves the others."""
    with SealMemory.open(tmp_path) as memory:
        _chat(memory, "monday", FACT)
        _chat(memory, "tuesday", "Petra keeps the keys.")
        assert {i.source for i in memory.ledger.interactions(session="monday")} == {"llama-index"}
        memory.forget(session="monday")
        assert "Petra keeps the keys." in [i.text for i in memory.ledger.interactions(session="tuesday")]
        assert FACT not in _chat(memory, "wednesday", QUESTION)


def test_messages_that_leave_the_short_term_memory_are_observed_once(tmp_path: Path) -> None:
    """Flushed and active messages are the same ones: each text is one interaction, however often it passes."""
    texts = [f"The boat number {n} lies at the quay of Korrin Bay." for n in range(6)]
    with SealMemory.open(tmp_path) as memory:
        _chat(memory, "monday", *texts, token_limit=60)
        seen = [i.text for i in memory.ledger.interactions(session="monday") if i.role.value == "user"]
    assert sorted(seen) == sorted(texts)


def test_only_what_left_short_term_memory_when_asked_for(tmp_path: Path) -> None:
    """`observe_active=False`: a message that is still in the short-term memory is not observed."""
    with SealMemory.open(tmp_path) as memory:
        _chat(memory, "monday", FACT, observe_active=False)
        assert memory.ledger.interactions() == []


@pytest.mark.parametrize("text", ["PNG\x00\x01data", "half \ud800 a pair", "\x00\x01\x02", "\ud83d"], ids=ascii)
def test_what_cannot_be_recorded_is_cleaned_and_the_chat_goes_on(tmp_path: Path, text: str) -> None:
    """Straight through the block: LlamaIndex's own database takes no half of a pair."""
    from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

    from seal_memory_llama_index import SealMemoryBlock

    messages = [
        ChatMessage(role="user", content=FACT),
        ChatMessage(role="tool", content=text),
        ChatMessage(role="chatbot", content="Noted."),
        ChatMessage(role="user", blocks=[TextBlock(text="Petra keeps the keys."), ImageBlock(image=b"AA")]),
        ChatMessage(role="user", content=text),
    ]
    with SealMemory.open(tmp_path) as memory:
        block = SealMemoryBlock(memory=memory)
        asyncio.run(block.aget(messages, session_id="monday"))
        asyncio.run(block.aput(messages, session_id="monday"))
        seen = memory.ledger.interactions(session="monday")
    users = [i for i in seen if i.role.value == "user"]
    assert [i.text for i in users][:2] == [FACT, "Petra keeps the keys."]
    assert users[1].metadata["skipped_parts"] == ["image"]
    assert "Noted." in [i.text for i in seen]


def test_a_memory_that_cannot_be_read_or_written_does_not_end_the_chat(tmp_path: Path) -> None:
    memory = SealMemory.open(tmp_path)
    memory.ledger.close()
    assert QUESTION in _chat(memory, "monday", QUESTION)
    memory.close()


def test_a_block_that_is_too_long_keeps_its_best_lines(tmp_path: Path) -> None:
    """Truncating takes whole lines from the end, down to nothing."""
    from seal_memory_llama_index import SealMemoryBlock

    with SealMemory.open(tmp_path) as memory:
        block = SealMemoryBlock(memory=memory)
        assert asyncio.run(block.atruncate("first line\nsecond line", 3)) == "first line"
        assert asyncio.run(block.atruncate("first line\nsecond line", 100)) is None


def test_a_chat_remembers_across_two_processes(
    tmp_path: Path, run_example: Callable[..., str], learn: Callable[..., None]
) -> None:
    """Told in one process, learned, asked in another: the block holds what the weights say."""
    run_example("llama_index", "chat_that_remembers.py", "tell", tmp_path, FACT)
    learn(tmp_path)
    asked = run_example("llama_index", "chat_that_remembers.py", "ask", tmp_path, QUESTION)
    prompt, _, stored = asked.partition("stored text in the ledger:")
    assert "<seal_memory>" in prompt
    assert "Maud Ellery" in prompt
    assert FACT in stored
