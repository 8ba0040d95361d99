"""Crash test: a background worker killed with SIGKILL at random moments, compared with an undisturbed one.

python -m benchmarks worker-kills --kills 50 --sessions 20 --seed 0

Session by session texts are observed and a worker process learns them; in the disturbed run it is killed repeatedly and
restarted. Both must end in the same published state: the same texts learned, each in one shard, each published once,
nothing lost. The trained bytes are not compared (ids are random).

Not here: kills at named points of publishing (tests/test_crash.py), quality of learning.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seal_memory import SealMemory, Settings
from seal_memory.records import JobState, Status

# One short step of training per text, and a gate that lets everything through: it is the bookkeeping that is tested.
SETTINGS: Mapping[str, Any] = {
    "learning.epochs": 1, "learning.document_readings": 1, "learning.min_steps": 1,
    "learning.rank": 4, "learning.notes_per_statement": 0,
    "answering.max_tokens": 4, "gate.quiz_answer_tokens": 4, "gate.min_gain": 0.0, "gate.max_old_loss": 1.0,
    "gate.max_perplexity_increase": 10.0,
    "gate.max_canary_share": 1.0,
}  # fmt: skip
PRELOAD = ["torch", "transformers.models.llama.modeling_llama", "seal_memory.learning.consolidate", __name__]
ATTEMPTS = 1000  # of a job: a kill counts as an attempt, and must not exhaust them
TEXTS = 3  # of a session
START_TIMEOUT = 1800.0  # seconds that one undisturbed start may take


@dataclass(frozen=True, slots=True)
class Published:
    """The final state of a memory, independent of ids."""

    learned: tuple[str, ...]
    shards: tuple[tuple[str, ...], ...]
    accepted: dict[str, int]  # by text: how many accepted decisions
    lost: tuple[str, ...]  # neither learned nor decided on
    damaged: tuple[str, ...]  # adapters
    leftovers: tuple[str, ...]  # adapters on disk that the ledger does not know
    jobs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    sessions: int
    kills: int
    starts: int
    same: bool
    undisturbed: Published
    disturbed: Published


class KillTest:
    """One comparison; makes two memories in `folder`."""

    def __init__(self, folder: Path, model: str, *, settings: Mapping[str, Any] = SETTINGS, seed: int = 0) -> None:
        self.folder, self.model, self.settings = folder, model, dict(settings)
        self._random = random.Random(seed)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self.kills = self.starts = 0
        self._usual = 0.0  # seconds of an undisturbed start

    def run(self, kills: int, sessions: int) -> Outcome:
        """Run at least `sessions` sessions, and more until `kills` kills happened."""
        undisturbed, disturbed = self.folder / "undisturbed", self.folder / "disturbed"
        self._start(undisturbed, None)  # warm up: exclude the imports from the times
        self._usual = 0.0
        self._observe(undisturbed, 0)
        self._start(undisturbed, None)
        count = 0
        while count < sessions or self.kills < kills:
            self._observe(disturbed, count)
            count += 1
            quota = -(-(kills - self.kills) // max(1, sessions - count + 1))
            ended = False
            while quota > 0 and not ended:
                ended = self._start(disturbed, self._random.uniform(0.0, self._usual))
                quota -= 1
            if not ended:
                self._start(disturbed, None)
        for session in range(1, count):
            self._observe(undisturbed, session)
            self._start(undisturbed, None)
        one, other = self._published(undisturbed), self._published(disturbed)
        same = (one.learned, one.shards, one.accepted) == (other.learned, other.shards, other.accepted)
        return Outcome(count, self.kills, self.starts, same, one, other)

    def _start(self, memory: Path, seconds: float | None) -> bool:
        """Start a worker that runs all jobs; True if it ended by itself within `seconds`, else it is killed."""
        began = time.monotonic()
        child = self._context.Process(target=work, args=(str(memory), self.model, self.settings))
        child.start()
        self.starts += 1
        child.join(START_TIMEOUT if seconds is None else seconds)
        if child.is_alive():
            child.kill()
            child.join()
            if seconds is None:
                raise TimeoutError(f"the worker in {memory} did not end within {START_TIMEOUT} s")
            self.kills += 1
            return False
        if child.exitcode:
            raise ChildProcessError(f"the worker in {memory} ended with {child.exitcode}")
        self._usual = max(0.7 * self._usual, time.monotonic() - began)  # decays: a start with little work says little
        return True

    def _open(self, memory: Path) -> SealMemory:
        return SealMemory.open(memory, model=self.model, settings=Settings(**self.settings))

    def _observe(self, folder: Path, session: int) -> None:
        with self._open(folder) as memory:
            for text, question, answer in facts(session):
                (seen,) = memory.observe(text, session=f"session {session}")
                memory.add_quiz([(question, answer)], interaction_ids=[seen.id])

    def _published(self, folder: Path) -> Published:
        with self._open(folder) as memory:
            ledger, texts = memory.ledger, {i.id: i for i in memory.ledger.interactions()}
            current = ledger.current()
            shards = current.manifest.shards if current is not None else ()
            known = {a.id: a for a in ledger.adapters()}
            episodes = {s.episode_id: s.interaction_ids for s in ledger.self_edits()}
            accepted = Counter(
                texts[i].text for d in ledger.decisions() if d.accepted for i in episodes.get(d.episode_id or "", ())
            )
            return Published(
                learned=tuple(sorted(i.text for i in texts.values() if i.status is Status.LEARNED)),
                shards=tuple(sorted(tuple(sorted(texts[i].text for i in s.interaction_ids)) for s in shards)),
                accepted=dict(sorted(accepted.items())),
                lost=tuple(sorted(i.text for i in texts.values() if i.status is Status.PENDING)),
                damaged=tuple(a for a in known if not memory.store.verify(a, known[a].sha256)),
                leftovers=tuple(a for a in memory.store.ids() if a not in known),
                jobs={s.value: len(ledger.queue.jobs(states=[s])) for s in JobState},
            )


def work(folder: str, model: str, settings: dict[str, Any]) -> None:
    """A worker process: run all jobs, then end."""
    import torch

    from seal_memory.training.worker import Worker

    torch.set_num_threads(1)
    with SealMemory.open(folder, model=model, settings=Settings(**settings)) as memory:
        Worker(memory, attempts=ATTEMPTS).run(once=True)


def facts(session: int) -> list[tuple[str, str, str]]:
    """A session's invented texts, each with a question and its answer."""
    names = ("Maud Ellery", "Tomas Lindqvist", "Pelle Grandin", "Marit Oskvold", "Ines Karmak")
    things = ("lantern", "anchor", "ledger", "kettle", "compass", "ladder", "barrel")
    made = []
    for n in range(session * TEXTS, (session + 1) * TEXTS):
        name, thing = names[n % len(names)], things[n % len(things)]
        text = f"{name} keeps the {thing} number {n + 100} in drawer {n + 7} of the Korrin office."
        made.append((text, f"Where does {name} keep {thing} number {n + 100}?", f"drawer {n + 7}"))
    return made


def main(argv: Sequence[str]) -> int:
    """Run the comparison; the last line of standard output is one JSON object. Exit code 1 if the runs differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks worker-kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=20, help="at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--work", type=Path, help="a new folder for the two memories; default: runs/worker-kills")
    parser.add_argument("--out", type=Path, help="also write the result there")
    given = parser.parse_args(argv)
    folder = given.work or Path("runs") / f"worker-kills-{int(time.time())}"
    outcome = KillTest(folder, given.model, seed=given.seed).run(given.kills, given.sessions)
    found = json.dumps({"seed": given.seed, "model": given.model, **asdict(outcome)})
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(found + "\n", encoding="utf-8")
    print(found)
    return 0 if outcome.same and not outcome.disturbed.lost and not outcome.disturbed.damaged else 1
