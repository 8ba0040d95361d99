"""`python -m benchmarks contradictions`: how often the rules of superseding are right, without any model or training.

    python -m benchmarks contradictions --data squad.jsonl

The diary knows which of its messages tell a new value of which older one: precision and recall against that. So does
each of 240 pairs in everyday words (`tasks.changes`); half of them change nothing. SQuAD's passages contradict
nothing, so every pair among their sentences, taken as things said, is a false one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tasks import changes as pairs
from benchmarks.tasks import diary, squad
from benchmarks.tasks.base import Task
from seal_memory.errors import InputError
from seal_memory.learning.superseding import Sorted, sort_out
from seal_memory.ledger import Ledger
from seal_memory.observation import to_interactions
from seal_memory.text import sentences

DEFAULT_OUT = Path(__file__).resolve().parent / "results" / "contradictions.json"
Pair = tuple[str, str]


def main(arguments: Sequence[str]) -> int:
    """Measure all; the last line of standard output is one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks contradictions", description=__doc__)
    parser.add_argument("--data", type=Path, help="the squad file; without it SQuAD's sentences are not asked")
    parser.add_argument("--days", type=int, default=12, help="of each diary")
    parser.add_argument("--seeds", type=int, nargs="+", default=[41, 42, 43, 44], help="of the diaries")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    given = parser.parse_args(list(arguments))
    if given.days < 2:
        raise InputError(f"--days {given.days}: expected 2 or more; nothing changes on the first day")
    found: dict[str, Any] = {"diary": {"days": given.days, "seeds": given.seeds, **_diaries(given.days, given.seeds)}}
    found["pairs"] = on_pairs(pairs.load())
    if given.data is not None:
        found["squad"] = on_squad(squad.load(given.data))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"out": str(given.out), **found}))
    return 0


def on_squad(task: Task) -> dict[str, int]:
    """Pairs found among the sentences of all passages, as if a user had said them one after another."""
    said = [s for unit in task.units for chunk in unit.chunks for s in sentences(chunk.text)]
    found, _ = _sorted([("user", s) for s in said])
    return {"sentences": len(said), "false_merges": len(found.superseded), "repeated": len(found.repeated)}


def on_pairs(told: Sequence[pairs.Change]) -> dict[str, int]:
    """Pairs told one by one to a memory of their own; a change that takes what still holds with it is no right one."""
    taken = [one for one in told if _sorted([("user", one.older), ("user", one.newer)])[0].superseded]
    return {
        "pairs": len(told),
        "changes": sum(one.changed for one in told),
        "found_right": sum(one.changed and one.kept is None for one in taken),
        "lost_what_holds": sum(one.kept is not None for one in taken),
        "false_merges": sum(not one.changed for one in taken),
    }


def _diaries(days: int, seeds: Sequence[int]) -> dict[str, Any]:
    right = wrong = there = messages = repeated = 0
    for seed in seeds:
        task = diary.make(days=days, seed=seed)
        wanted = changes(task)
        chunks = [c for u in task.units for c in u.chunks]
        found, ids = _sorted([(c.role, c.text) for c in chunks])
        chunk_of = {i: c.id for i, c in zip(ids, chunks, strict=True)}
        pairs = {(chunk_of[a], chunk_of[b]) for a, b in found.superseded}
        right, wrong, there = right + len(pairs & wanted), wrong + len(pairs - wanted), there + len(wanted)
        messages, repeated = messages + len(chunks), repeated + len(found.repeated)
    return {
        "messages": messages,
        "changes": there,
        "found_right": right,
        "false_merges": wrong,
        "precision": right / (right + wrong) if right + wrong else None,
        "recall": right / there if there else None,
        "repeated": repeated,
    }


def changes(task: Task) -> set[Pair]:
    """(chunk that told the former value, chunk that tells the new one), as the diary's own questions know it.

    What held until that day and names the former value: a question about it may ask the other way round, whose is it.
    """
    text_of = {c.id: c.text.casefold() for u in task.units for c in u.chunks}
    told = [(n, q) for n, u in enumerate(task.units) for q in u.questions if q.chunk_ids]
    pairs = set()
    for day, question in told:
        if question.kind != "update":
            continue
        for before, older in told:
            former = question.outdated[0].casefold()
            if older.valid_until == day and before < day and former in text_of[older.chunk_ids[0]]:
                pairs.add((older.chunk_ids[0], question.chunk_ids[0]))
    return pairs


def _sorted(said: Sequence[tuple[str, str]]) -> tuple[Sorted, list[str]]:
    """What `sort_out` does to a fresh ledger that was told this, and the id of each text."""
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder)) as ledger:
        ids = []
        with ledger.atomic():
            for n, (role, text) in enumerate(said):
                (seen, *_) = ledger.observe(to_interactions(text, role=role, time=float(n)))
                ids.append(seen.id)
            return sort_out(ledger), ids
