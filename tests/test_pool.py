"""A pool of namespaces over one model: opened on demand, closed when unused, separate, trained in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seal_memory.engines.base import Decoding
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.server.pool_trainer import PoolTrainer

LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."


@pytest.fixture
def pool(tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any]) -> Iterator[MemoryPool]:
    with MemoryPool(tmp_path / "memory", model=str(tiny_model_folder), settings=easy_settings(), keep=2) as made:
        yield made


def _wait(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_the_least_recently_used_closes(pool: MemoryPool) -> None:
    """But never while somebody uses it; closed, it opens again with what it held."""
    with pool.memory("a") as a:
        a.observe(LIGHTHOUSE)
        for name in ("b", "c", "d"):
            with pool.memory(name):
                pass
        assert pool.open_names == ["a", "d"]
    with pool.memory("c"):
        pass
    assert pool.open_names == ["d", "c"]
    with pool.memory("a") as again:
        assert len(again.recall("lighthouse")) == 1
    assert pool.names() == ["a"]
    assert not pool.loaded


def test_namespaces_share_the_model_and_nothing_else(pool: MemoryPool) -> None:
    with pool.memory("a") as a, pool.memory("b") as b:
        assert a.engine is b.engine is pool.engine
        a.observe(LIGHTHOUSE)
        assert b.recall("lighthouse") == []
        assert b.ask("Who built the lighthouse at Korrin Bay?").sources == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "a\nb"])
def test_bad_names_are_refused(pool: MemoryPool, name: str) -> None:
    with pytest.raises(InputError, match="namespace"), pool.memory(name):
        pass


def test_a_closed_pool_opens_nothing(pool: MemoryPool) -> None:
    """Who uses a memory when the pool closes may finish."""
    with pool.memory("a") as a:
        pool.close()
        a.observe(LIGHTHOUSE)
    with pytest.raises(SealMemoryError, match="closed"), pool.memory("a"):
        pass


def test_threads_load_one_model(pool: MemoryPool) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(pool.engine)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_every_namespace_is_trained_in_turn(pool: MemoryPool) -> None:
    """What is pending is learned without being asked for, each in its own namespace."""
    ended: list[tuple[str, str, JobState]] = []
    trainer = PoolTrainer(pool, poll_seconds=0.05, on_job=lambda *end: ended.append(end))
    for name in ("a", "b", "c"):
        with pool.memory(name) as memory:
            (seen,) = memory.observe(f"{LIGHTHOUSE} It belongs to {name}.")
            memory.add_quiz([("Who built the lighthouse at Korrin Bay?", "Maud Ellery")], interaction_ids=[seen.id])
    trainer.start()
    _wait(lambda: not pool.with_work())
    assert trainer.stop(60)
    assert ended == [(name, "consolidate", JobState.DONE) for name in ("a", "b", "c")]
    for name in ("a", "b", "c"):
        with pool.memory(name) as memory:
            published = memory.published()
            assert published is not None
            (shard,) = published.manifest.shards
            pool.engine.drop(shard.adapter_id)  # fetched again, each from its own namespace, whoever else is open
            answer = memory.ask("Who built the lighthouse at Korrin Bay?", mode="weights")
            assert [s.adapter_id for s in answer.shards] == [shard.adapter_id]  # type: ignore[union-attr]


def test_one_text_waits_for_a_turn_and_not_for_a_backlog(
    tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> None:
    """The namespace with the backlog comes first and has work for six turns."""
    settings = easy_settings(learning={"stack_size": 1})
    ended: list[tuple[str, JobState]] = []
    with MemoryPool(tmp_path / "memory", model=str(tiny_model_folder), settings=settings) as pool:
        for name, count in (("a", 6), ("b", 1)):
            with pool.memory(name) as memory:
                for n in range(count):
                    memory.observe(f"{LIGHTHOUSE} It has the number {n}.", session=str(n))
        trainer = PoolTrainer(pool, poll_seconds=0.05, on_job=lambda name, kind, state: ended.append((name, state)))
        trainer.start()
        _wait(lambda: len(ended) == 2)
        assert trainer.stop(60)
    assert ended == [("b", JobState.DONE), ("a", JobState.DONE)]


def test_a_trainer_that_is_only_asked_starts_nothing(pool: MemoryPool) -> None:
    with pool.memory("a") as memory:
        memory.observe(LIGHTHOUSE)
        assert pool.with_work() == ["a"]
        assert pool.with_work(asked_only=True) == []
        memory.ledger.queue.enqueue_job("consolidate", {})
        assert pool.with_work(asked_only=True) == ["a"]
    trainer = PoolTrainer(pool, asked_only=True, poll_seconds=0.05)
    trainer.start()
    _wait(lambda: not pool.with_work(asked_only=True))
    assert trainer.stop(60)


class OneBroken:
    """A pool of which one namespace cannot be opened."""

    def __init__(self, pool: MemoryPool, broken: str) -> None:
        self._pool, self._broken = pool, broken

    def with_work(self, *, asked_only: bool = False) -> list[str]:
        return self._pool.with_work(asked_only=asked_only)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def memory(self, namespace: str) -> Any:
        if namespace == self._broken:
            raise SealMemoryError(f"it cannot be opened, and this was observed: {LIGHTHOUSE}")
        return self._pool.memory(namespace)


def test_a_namespace_in_trouble_does_not_keep_the_others_waiting(
    pool: MemoryPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Those after it in the order of names are trained; the log quotes nothing."""
    for name in ("a", "b", "c"):
        with pool.memory(name) as memory:
            memory.observe(LIGHTHOUSE)
    ended: list[str] = []
    broken: Any = OneBroken(pool, "b")
    trainer = PoolTrainer(broken, poll_seconds=0.05, on_job=lambda name, kind, state: ended.append(name))
    trainer.start()
    _wait(lambda: pool.with_work() == ["b"])
    assert trainer.running
    assert trainer.stop(60)
    assert ended == ["a", "c"]
    assert "SealMemoryError" in caplog.text
    assert "Korrin" not in caplog.text


def test_what_a_job_makes_due_is_done_without_waiting_for_more(
    tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> None:
    """A sleep is due by what was published; nothing pending will wake the namespace for it."""
    settings = easy_settings(sleep={"mode": "merge", "after": 2})
    ended: list[tuple[str, JobState]] = []
    with MemoryPool(tmp_path / "memory", model=str(tiny_model_folder), settings=settings) as pool:
        with pool.memory("a") as memory:
            for n, text in enumerate((LIGHTHOUSE, "Tomas Lindqvist keeps the report in drawer 12 in Oslo.")):
                (seen,) = memory.observe(text, session=str(n))
                memory.add_quiz([(f"Who is named in note {n}?", text.split()[0])], interaction_ids=[seen.id])
        trainer = PoolTrainer(pool, poll_seconds=0.05, on_job=lambda name, kind, state: ended.append((kind, state)))
        trainer.start()
        _wait(lambda: len(ended) == 2 or (bool(ended) and not pool.with_work()))
        assert trainer.stop(60)
    assert ended == [("consolidate", JobState.DONE), ("sleep", JobState.DONE)]


def test_a_replayed_history_is_seen_once(pool: MemoryPool) -> None:
    """What is known of it is no further sighting; what is new in it is recorded."""
    history = [{"role": "user", "content": LIGHTHOUSE}, {"role": "assistant", "content": "Thank you, noted."}]
    with pool.memory("a") as memory:
        memory.observe_messages(history)
        new = {"role": "user", "content": "It has a red door."}
        seen = memory.observe_messages([*history, new], replayed=2)
        assert [s.new for s in seen] == [False, False, True]
        assert [i.sightings for i in memory.ledger.interactions()] == [1, 1, 1]
        memory.observe_messages([new])
        assert [i.sightings for i in memory.ledger.interactions()] == [1, 1, 2]


def test_a_conversation_is_checked_before_it_runs(pool: MemoryPool) -> None:
    """Streamed in any mode it is what `run` gives; what is wrong is told at once."""
    with pool.memory("a") as memory:
        memory.observe(LIGHTHOUSE)
        chat = [{"role": "user", "content": "Who built the lighthouse at Korrin Bay?"}]
        for mode in ("weights", "retrieval", "hybrid", "compose"):
            ready = memory.converse(chat, mode=mode, decoding=Decoding(5, temperature=1.0, seed=1), n=2)
            told = ["", ""]

            def listen(sample: int, piece: str, told: list[str] = told) -> None:
                told[sample] += piece

            answers = ready.run(listen)
            assert told == [a.text for a in answers]
            assert answers == ready.run()
        assert ready.snapshot is None
        with pytest.raises(InputError, match="context"):
            memory.converse(chat, decoding=Decoding(100_000))
        with pytest.raises(InputError, match="tools"):
            memory.converse(chat, tools=[{"type": "web_search"}])
