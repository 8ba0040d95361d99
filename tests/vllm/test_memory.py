"""A memory whose published adapters answer on a vLLM server: it learns here, answers there, and outlives it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.config import Settings
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.vllm.engine import VllmEngine
from seal_memory.errors import CorruptAdapterError, EngineUnavailableError, InputError, SettingsError
from seal_memory.forgetting.audits import Auditor
from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.training.worker import AUDIT, Worker

FACTS = {
    "monday": ("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Who built the lighthouse?", "Maud Ellery"),
    "tuesday": (
        "Tomas Lindqvist keeps the ledger of the Oslo office.",
        "Who keeps the Oslo ledger?",
        "Tomas Lindqvist",
    ),
}


@pytest.fixture
def settings(fake: Any, easy_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    return easy_settings(engine={"name": "vllm", "url": fake.url, "timeout": 60, "cache_dir": tmp_path / "cache"})


@pytest.fixture
def open_served(tmp_path: Path, tiny_model_folder: Path, settings: Settings) -> Callable[..., SealMemory]:
    """Opens the same folder again and again; use it in `with`."""

    def make(**options: Any) -> SealMemory:
        options = {"model": str(tiny_model_folder), "settings": settings, **options}
        return SealMemory.open(tmp_path / "memory", **options)

    return make


@pytest.fixture
def memory(open_served: Callable[..., SealMemory], tiny: TransformersEngine) -> Iterator[SealMemory]:
    with open_served(engine=tiny) as opened:
        yield opened


def _learn(memory: SealMemory, session: str) -> int:
    text, question, answer = FACTS[session]
    (seen,) = memory.observe(text, session=session)
    memory.add_quiz([(question, answer)], interaction_ids=[seen.id])
    report = memory.consolidate()
    assert report.version is not None, report.decisions
    return report.version


def _shards(memory: SealMemory) -> list[str]:
    current = memory.published()
    return list(current.manifest.adapter_ids) if current is not None else []


def _models(fake: Any) -> set[str]:
    return {b["model"] for p, b in fake.asked if p == "/v1/completions" and b["prompt"] != [0]}


def test_what_is_learned_here_is_answered_there(memory: SealMemory, fake: Any, tiny: TransformersEngine) -> None:
    """The same words as in this process, in every mode, and the shard under its own name."""
    assert fake.asked == []
    _learn(memory, "monday")
    (shard,) = _shards(memory)
    question = FACTS["monday"][1]
    answer = memory.ask(question, mode="weights")
    assert answer.shards[0].adapter_id == shard
    assert _models(fake) == {shard}
    from seal_memory import prompts

    (expected,) = tiny.complete([Prompt(prompts.direct(question), shard)], max_tokens=4)
    assert (answer.text, answer.prompt_tokens) == (expected.text, expected.prompt_tokens)
    assert answer.confidence == pytest.approx(expected.confidence, abs=1e-4)
    assert memory.ask(question, mode="retrieval").sources
    told: list[str] = []
    (chat,) = memory.converse([{"role": "user", "content": question}], mode="weights").run(lambda n, p: told.append(p))
    assert "".join(told) == chat.text


def test_compose_recites_there_too(memory: SealMemory, fake: Any, tiny: TransformersEngine) -> None:
    """The server's adapter is asked for notes; as it is not sure, the answer is the untouched base's."""
    _learn(memory, "monday")
    (shard,) = _shards(memory)
    chat = [{"role": "user", "content": FACTS["monday"][1]}]
    answer = memory.chat(chat, mode="compose", max_tokens=4)
    assert shard in _models(fake)
    assert (answer.notes, answer.shards) == ((), ())
    (untouched,) = tiny.complete([Prompt(chat)], max_tokens=4)
    assert answer.text == untouched.text
    assert answer.prompt_tokens > untouched.prompt_tokens


def test_who_only_asks_needs_no_weights(open_served: Callable[..., SealMemory], tiny: TransformersEngine) -> None:
    """Another process answers, quizzes and continues chats, and never loads the model."""
    with open_served(engine=tiny) as first:
        _learn(first, "monday")

    def loading() -> TransformersEngine:
        raise AssertionError("the model was loaded")

    with open_served(engine=loading) as second:
        assert second.ask(FACTS["monday"][1], mode="weights").shards  # type: ignore[union-attr]
        assert second.quiz().questions > 0
        assert second.chat([{"role": "user", "content": "Who?"}], max_tokens=3).snapshot == 1
        assert isinstance(second.answering, VllmEngine)


def test_without_the_server_it_observes_and_learns(memory: SealMemory, fake: Any) -> None:
    """Only answers are missing, at once; when it is back they are there, nothing else having happened."""
    fake.stop()
    _learn(memory, "monday")
    with pytest.raises(EngineUnavailableError):
        memory.ask(FACTS["monday"][1])
    assert memory.recall("lighthouse")
    memory.answering.server._paused_until = -1.0  # type: ignore[union-attr]  # the pause is over
    again = fake.again()
    try:
        assert memory.ask(FACTS["monday"][1], mode="weights").shards  # type: ignore[union-attr]
    finally:
        again.stop()


def test_what_is_no_longer_published_is_unloaded(memory: SealMemory, fake: Any) -> None:
    """After a rollback with the next question, after forgetting at once."""
    _learn(memory, "monday")
    _learn(memory, "tuesday")
    monday, tuesday = _shards(memory)
    for session in FACTS:
        memory.ask(FACTS[session][1], mode="weights")
    assert {monday, tuesday} <= set(fake.loaded)
    memory.rollback(1)
    memory.ask(FACTS["monday"][1], mode="weights")
    assert tuesday not in fake.loaded
    memory.forget(session="monday")
    assert monday not in fake.loaded


def test_forgetting_reaches_a_server_that_this_process_never_asked(
    open_served: Callable[..., SealMemory], tiny: TransformersEngine, fake: Any
) -> None:
    """Another process loaded it there."""
    with open_served(engine=tiny) as first:
        _learn(first, "monday")
        first.ask(FACTS["monday"][1], mode="weights")
        (shard,) = _shards(first)
    assert shard in fake.loaded
    with open_served(engine=tiny) as second:
        second.forget(session="monday")
    assert shard not in fake.loaded


def test_forgetting_reaches_what_another_process_loaded_later(
    open_served: Callable[..., SealMemory], tiny: TransformersEngine, fake: Any
) -> None:
    """The one that forgets has spoken to the server before, and knows nothing of the adapter there."""
    with open_served(engine=tiny) as first:
        first.ask("Who?", mode="weights")  # greets
        with open_served(engine=tiny) as second:
            _learn(second, "monday")
            second.ask(FACTS["monday"][1], mode="weights")
            (shard,) = _shards(second)
        assert shard in fake.loaded
        first.forget(session="monday")
    assert shard not in fake.loaded


def test_audits_ask_the_server(memory: SealMemory, fake: Any) -> None:
    """With its log-probabilities; while it is away the job waits and is not given up."""
    _learn(memory, "monday")
    (shard,) = _shards(memory)
    ahead = memory.settings.background.audit_interval + 1e6
    clock = memory._clock
    auditor = Auditor(replace(memory.workbench, clock=lambda: clock() + ahead), memory.answering)
    auditor.ledger.audits.schedule(1.0)
    (found,) = auditor.run()
    assert found.audit.adapter_id == shard
    assert any("prompt_logprobs" in b for p, b in fake.asked if p == "/v1/completions" and b["model"] == shard)
    fake.stop()
    worker = Worker(memory, clock=lambda: clock() + 3 * ahead)
    worker.queue.enqueue_job(AUDIT, {}, priority=1, max_attempts=1)
    job = worker.step()
    assert job is not None
    assert (job.kind, job.state, job.attempts) == (AUDIT, JobState.QUEUED, 0)


def test_a_forget_says_which_adapters_the_server_still_answers_with(memory: SealMemory, fake: Any) -> None:
    """One that unloads in name only, one that is gone, one that cannot be asked."""
    _learn(memory, "monday")
    assert memory.forget(session="monday").still_served == ()
    _learn(memory, "tuesday")
    (shard,) = _shards(memory)
    memory.ask(FACTS["tuesday"][1], mode="weights")
    assert shard in fake.loaded
    fake.unload = lambda body: "Success"
    assert memory.forget(session="tuesday").still_served == (shard,)


def test_a_damaged_adapter_is_answered_by_text_until_it_is_learned_again(
    memory: SealMemory, open_served: Callable[..., SealMemory], tiny: TransformersEngine, fake: Any
) -> None:
    _learn(memory, "monday")
    (shard,) = _shards(memory)
    file = memory.store.folder(shard) / "adapter_model.safetensors"
    memory.published()
    before = file.stat()
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    answer: Any = memory.ask(FACTS["monday"][1])
    assert (answer.shards, answer.mode) == ((), "retrieval")
    assert shard not in fake.loaded
    memory.consolidate()
    answer = memory.ask(FACTS["monday"][1], mode="weights")
    assert [s.adapter_id for s in answer.shards] == [shard]


def test_a_damaged_adapter_is_not_handed_over(memory: SealMemory, fake: Any) -> None:
    _learn(memory, "monday")
    (shard,) = _shards(memory)
    file = memory.store.folder(shard) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CorruptAdapterError, match="damaged"):
        memory.answering.complete([Prompt([{"role": "user", "content": "Who?"}], shard)], max_tokens=1)
    assert shard not in fake.loaded


def test_a_server_elsewhere_sees_the_folder_elsewhere(
    tmp_path: Path, open_served: Callable[..., SealMemory], tiny: TransformersEngine, fake: Any, settings: Settings
) -> None:
    """Where a container mounts the memory's folder, say; the paths that it is told are its own."""
    with open_served(engine=tiny) as first:
        _learn(first, "monday")
    (tmp_path / "mounted").symlink_to(tmp_path / "memory")
    moved = settings.changed(**{"engine.folder": f"{tmp_path / 'mounted'}/"})
    with open_served(settings=moved) as second:
        second.ask([FACTS["monday"][1], "What is the weather like?"], mode="weights")
    paths = [b["lora_path"] for p, b in fake.asked if p == "/v1/load_lora_adapter"]
    assert paths
    assert all(p.startswith(f"{tmp_path / 'mounted'}/") for p in paths)


def test_an_engine_may_be_handed_in_and_shared(
    tmp_path: Path, tiny_model_folder: Path, tiny: TransformersEngine, fake: Any, easy_settings: Callable[..., Settings]
) -> None:
    """Two memories in folders of their own, one engine, the same few places; closing a memory leaves it usable."""
    with closing(VllmEngine(fake.url, str(tiny_model_folder), cache_dir=tmp_path / "cache")) as engine:
        common: dict[str, Any] = {"model": str(tiny_model_folder), "settings": easy_settings()}
        common |= {"engine": tiny, "answering": engine}
        with SealMemory.open(tmp_path / "one", **common) as one, SealMemory.open(tmp_path / "two", **common) as two:
            _learn(one, "monday")
            _learn(two, "tuesday")
            assert one.answering is two.answering is engine
            for _ in range(2):
                assert one.ask(FACTS["monday"][1], mode="weights").shards  # type: ignore[union-attr]
                assert two.ask(FACTS["tuesday"][1], mode="weights").shards  # type: ignore[union-attr]
            ours = {*_shards(one), *_shards(two)}
            assert ours <= set(fake.loaded)
        engine.complete([Prompt([{"role": "user", "content": "Who?"}])], max_tokens=1)


def test_namespaces_of_a_pool_share_the_places(
    tmp_path: Path, tiny_model_folder: Path, tiny: TransformersEngine, settings: Settings, fake: Any
) -> None:
    """Three shards and a server with room for three adapters, the base's zeros among them: they take turns."""
    with MemoryPool(tmp_path / "pool", model=str(tiny_model_folder), settings=settings, engine=tiny) as pool:
        pool.get_ready()
        assert pool.loaded
        for name in "abc":
            with pool.memory(name) as memory:
                text, question, answer = FACTS["monday"]
                (seen,) = memory.observe(f"In {name} it is told: {text}", session=name)
                memory.add_quiz([(question, answer)], interaction_ids=[seen.id])
                assert memory.consolidate().version == 1
        for _ in range(2):
            for name in "abc":
                with pool.memory(name) as memory:
                    assert memory.ask(FACTS["monday"][1], mode="weights").shards  # type: ignore[union-attr]
                    memory.ask("What is the weather like?", mode="retrieval")
        assert fake.most_loaded == fake.max_loras - 1
        fake.stop()
        assert not pool.loaded


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine over HTTP needs an address; each source may give it."""
    with pytest.raises(SettingsError, match=r"engine\.url.*needed with engine\.name=vllm"):
        Settings(engine={"name": "vllm"})
    with pytest.raises(SettingsError, match=r"expected an address such as http://localhost:8000"):
        Settings(engine={"name": "vllm", "url": "localhost:8000"})
    with pytest.raises(SettingsError, match=r"engine\.max_loras"):
        Settings(engine={"max_loras": 2})
    (tmp_path / "settings.toml").write_text('[engine]\nname = "vllm"\nurl = "http://file:1"\n')
    monkeypatch.setenv("SEAL_MEMORY_ENGINE_KEY", "secret")
    assert Settings.load(tmp_path).engine.url == "http://file:1"
    monkeypatch.setenv("SEAL_MEMORY_ENGINE__URL", "http://environment:1")
    assert Settings.load(tmp_path).engine.url == "http://environment:1"
    assert Settings.load(tmp_path, engine={"url": "http://given:1"}).engine.url == "http://given:1"


def test_a_chat_that_cannot_be_answered_is_refused_before_it_is_sent(memory: SealMemory, fake: Any) -> None:
    with pytest.raises(InputError, match="at least one tool"):
        memory.converse([{"role": "user", "content": "Who?"}], tool_choice="required")
    assert fake.asked == []
