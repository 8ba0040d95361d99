"""Where candidates are evaluated: here and as Ray tasks, with the same rewards."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory._internal.progress import silent
from seal_memory.errors import SettingsError
from seal_memory.learning.candidates import Candidates, Study
from seal_memory.learning.episodes import group_episodes
from seal_memory.policy.executors import LocalExecutor
from seal_memory.policy.trials import Entry, _works, rewards_of, with_usable_quiz

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Tomas Lind keeps the ledger of the Oslo office.")
Open = Callable[..., SealMemory]


@pytest.fixture
def made(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> tuple[SealMemory, Candidates, list[Study]]:
    """Two studies with a quiz, and stacks of two candidates."""
    for name in ("seal_memory.quizzes.generator.MIN_GAIN", "seal_memory.policy.guards.MIN_GAIN"):
        monkeypatch.setattr(name, -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_LOGPROB_WITH", -100.0)
    memory, number = open_memory(learning={"stack_size": 2}), count()
    for n, text in enumerate(TEXTS):
        memory.observe(text, role="document", session=str(n))
    candidates = Candidates(
        replace(memory.workbench, clock=lambda: 0.0, make_id=lambda: f"id{next(number)}", progress=silent)
    )
    episodes = group_episodes(memory.ledger.interactions(), max_tokens=120, count_tokens=memory.engine.count_tokens)
    studies = with_usable_quiz(candidates.make_quizzes(episodes))
    assert len(studies) == 2
    return memory, candidates, studies


def test_the_local_executor_is_the_default(made: tuple[SealMemory, Candidates, list[Study]]) -> None:
    """Named or not, the rewards are the same, and the tokens are counted; the engine keeps no candidate."""
    memory, candidates, studies = made
    entries = [Entry(s, ()) for s in studies]
    plain = rewards_of(entries, candidates, seeds=[0, 1])
    tokens = candidates.take_tokens()
    with closing(LocalExecutor(memory.engine, memory.settings.learning)) as executor:
        named = rewards_of(entries, candidates, seeds=[0, 1], executor=executor)
    assert [[r.value for r in own] for own in named] == [[r.value for r in own] for own in plain]
    assert candidates.take_tokens() == tokens > 0
    assert not [a for a in memory.engine._adapters if a.startswith("candidate:")]


def test_a_stack_may_be_larger_than_what_the_engine_keeps(made: tuple[SealMemory, Candidates, list[Study]]) -> None:
    """No candidate is lost before it is rewarded."""
    memory, candidates, studies = made
    entries = [Entry(s, ()) for s in studies]
    plain = rewards_of(entries, candidates, seeds=[0])
    memory.engine._keep = 1
    small = rewards_of(entries, candidates, seeds=[0])
    assert [[r.value for r in own] for own in small] == [[r.value for r in own] for own in plain]


def test_ray_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to get it."""
    from seal_memory.config import Settings
    from seal_memory.policy.ray_executor import RayExecutor

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'seal-memory\[ray\]'"):
        RayExecutor("tiny", Settings(), fingerprint="x")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A local Ray cluster of two workers, which find this project as the tests do."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "HF_HUB_OFFLINE": "1"}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
def test_two_ray_workers_give_the_same_rewards(
    made: tuple[SealMemory, Candidates, list[Study]], cluster: Any, tiny_model_folder: Path
) -> None:
    """Of several stacks, in order; what `on_wait` raises ends the waiting; a cluster that was there goes on."""
    from seal_memory.policy.ray_executor import RayExecutor

    memory, candidates, studies = made
    entries = [Entry(s, ()) for s in studies]
    here = rewards_of(entries, candidates, seeds=[0, 1])
    candidates.take_tokens()
    executor = RayExecutor(str(tiny_model_folder), memory.settings, fingerprint=memory.engine.fingerprint)
    with closing(executor):
        there = rewards_of(entries, candidates, seeds=[0, 1], executor=executor)
        assert candidates.take_tokens() > 0

        def stop(done: int, of: int) -> None:
            raise KeyboardInterrupt

        assert executor.evaluate([], on_wait=stop) == []
        (work,) = _works([[(e, 7) for e in entries]], candidates)
        with pytest.raises(KeyboardInterrupt):
            executor.evaluate([work], on_wait=stop)
    for one, other in zip(here, there, strict=True):
        assert [r.value for r in other] == pytest.approx([r.value for r in one], abs=1e-4)
    assert cluster.is_initialized()
