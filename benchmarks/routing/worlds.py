"""Untrained memories of a given size: episodes, a manifest, and questions with their episodes.

Half of the episodes are SQuAD passages, half are a diary's. Each split has its own passages: some are asked about,
others are never observed and supply unrelated questions. Further unrelated questions: everyday prompts, and facts that
the diary never told. Not here: routers, figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random

from benchmarks.tasks import diary
from benchmarks.tasks.base import Question, Task, Unit
from seal_memory.config import Settings
from seal_memory.errors import InputError
from seal_memory.learning.drift import unrelated_questions
from seal_memory.learning.episodes import group_episodes
from seal_memory.ledger import Ledger
from seal_memory.memory import SealMemory
from seal_memory.records import Episode, Manifest, ShardEntry, Status

FOREIGN = 20  # passages of a split that are never observed
MOST_ASKED = 50  # questions of one kind in one world, drawn by its seed
EVERYDAY, FOREIGN_KIND, UNTOLD = "everyday", "foreign", "never told"
NEGATIVE = (EVERYDAY, FOREIGN_KIND, UNTOLD)


@dataclass(frozen=True, slots=True)
class Split:
    """Which passages, everyday prompts and diary seeds a split may use; `silent` passages only fill a memory up."""

    name: str
    passages: tuple[Unit, ...]
    silent: tuple[Unit, ...]
    everyday: tuple[str, ...]
    diary_seed: int


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """A question, its kind, and the episodes that hold its evidence; none: nothing remembered answers it."""

    text: str
    kind: str
    episodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class World:
    """A memory of `size` episodes, open, and what is asked of it. Each shard's adapter id is its episode's id."""

    split: str
    size: int
    seed: int
    ledger: Ledger
    manifest: Manifest
    asked: tuple[WorldQuestion, ...]


def splits(passages: Task) -> tuple[Split, Split]:
    """Calibration (the second hundred passages), reporting (the first). Raises `InputError` for fewer than 200."""
    units = passages.units
    if len(units) < 200:
        raise InputError(f"The router study needs 200 passages; the file has {len(units)}.")
    first, second = tuple(units[:100]), tuple(units[100:200])
    prompts = (files("benchmarks.routing") / "everyday.txt").read_text(encoding="utf-8").split("\n")
    everyday = [p for p in prompts if p]
    half = len(everyday) // 2
    return (
        Split("calibration", second, (), tuple(everyday[:half]), 1000),
        Split("reporting", first, second, (*everyday[half:], *unrelated_questions()), 0),
    )


def world(split: Split, size: int, seed: int, *, folder: Path, count_tokens: Callable[[str], int]) -> World:
    """Observe half of `size` passages and as many diary episodes. The ledger stays open: close it."""
    rng = Random(f"{split.name}:{size}:{seed}")
    known, foreign = list(split.passages[:-FOREIGN]), split.passages[-FOREIGN:]
    rng.shuffle(known)
    taken = known[: size // 2]
    fillers = list(split.silent[: size // 2 - len(taken)])
    memory = SealMemory.open(folder, settings=Settings())
    chunk_of = _observe(memory, [*taken, *fillers], document=True)
    days = diary.make(days=size // 3 + 3, seed=split.diary_seed + seed).units
    documents = _episodes(memory, count_tokens, session=None)
    told, told_episodes, chunks = _diary(memory, days, size - len(taken) - len(fillers), count_tokens)
    chunk_of |= chunks
    episodes = [*documents, *told_episodes]
    of_interaction = {i: e.id for e in episodes for i in e.interaction_ids}
    asked = [
        *_about(taken, chunk_of, of_interaction, "passage"),
        *_about(told, chunk_of, of_interaction, "diary"),
        *(WorldQuestion(q.text, FOREIGN_KIND) for u in foreign for q in u.questions),
        *(WorldQuestion(p, EVERYDAY) for p in split.everyday),
    ]
    shards = tuple(ShardEntry(e.id, e.id, e.interaction_ids) for e in episodes)
    memory.ledger.set_status([i for s in shards for i in s.interaction_ids], Status.LEARNED)
    return World(split.name, size, seed, memory.ledger, Manifest(shards), _sampled(asked, rng))


def diary_world(days: int, facts_per_day: int, seed: int, *, folder: Path, count_tokens: Callable[[str], int]) -> World:
    """A whole diary and nothing else, asked all that holds at its end. The ledger stays open: close it."""
    memory = SealMemory.open(folder, settings=Settings())
    units = diary.make(days=days, facts_per_day=facts_per_day, seed=seed).units
    told, episodes, chunk_of = _diary(memory, units, len(units) * facts_per_day, count_tokens)
    of_interaction = {i: e.id for e in episodes for i in e.interaction_ids}
    asked = tuple(a for a in _about(told, chunk_of, of_interaction, "diary") if a.episodes)
    shards = tuple(ShardEntry(e.id, e.id, e.interaction_ids) for e in episodes)
    memory.ledger.set_status(list(of_interaction), Status.LEARNED)
    return World("diary", len(shards), seed, memory.ledger, Manifest(shards), asked)


def _sampled(asked: Sequence[WorldQuestion], rng: Random) -> tuple[WorldQuestion, ...]:
    """At most `MOST_ASKED` of a kind."""
    found: list[WorldQuestion] = []
    for kind in dict.fromkeys(a.kind for a in asked):
        own = [a for a in asked if a.kind == kind]
        found += own if len(own) <= MOST_ASKED else rng.sample(own, MOST_ASKED)
    return tuple(found)


def _observe(memory: SealMemory, units: Sequence[Unit], *, document: bool) -> dict[str, str]:
    """What each chunk was recorded as."""
    found = {}
    with memory.ledger.atomic():  # one write to the disk instead of one a chunk
        for unit in units:
            for chunk in unit.chunks:
                (seen, *_) = memory.observe(
                    chunk.text, role=chunk.role, title=chunk.title, source=chunk.source,
                    session=None if document else unit.id,
                )  # fmt: skip
                found[chunk.id] = seen.id
    return found


def _diary(
    memory: SealMemory, days: Sequence[Unit], count: int, count_tokens: Callable[[str], int]
) -> tuple[list[Unit], list[Episode], dict[str, str]]:
    """Days told until they make `count` episodes; what the last day has beyond that is in no episode."""
    chunk_of: dict[str, str] = {}
    told: list[Unit] = []
    made: list[Episode] = []
    for day in days:
        if len(made) >= count:
            break
        chunk_of |= _observe(memory, [day], document=False)
        told.append(day)
        made += _episodes(memory, count_tokens, session=day.id)
    return told, made[:count], chunk_of


def _episodes(memory: SealMemory, count_tokens: Callable[[str], int], *, session: str | None) -> list[Episode]:
    found = memory.ledger.interactions(status=Status.PENDING, session=session)
    return group_episodes(found, max_tokens=memory.settings.learning.episode_max_tokens, count_tokens=count_tokens)


def _about(
    units: Sequence[Unit], chunk_of: dict[str, str], of_interaction: dict[str, str], kind: str
) -> list[WorldQuestion]:
    """Questions whose evidence is in an episode, of what still holds; and what was never told."""
    found = []
    for unit in units:
        for question in unit.questions:
            if not question.chunk_ids:
                found.append(WorldQuestion(question.text, UNTOLD))
                continue
            held = [of_interaction.get(chunk_of[c]) for c in question.chunk_ids]
            known = frozenset(e for e in held if e is not None)
            if known and _holds(question, len(units) - 1):
                found.append(WorldQuestion(question.text, "update" if question.kind == "update" else kind, known))
    return found


def _holds(question: Question, last: int) -> bool:
    return question.valid_until is None or question.valid_until > last
