"""Subjects: what was told about one thing on many days, taken out of its sessions and put together. No model is asked.

A session is about whatever came up, a question about one thing. Where the same few people come up day after day, the
statement a question means lies in one of many shards that all name them, and the router guesses (lab log,
"Twenty days"). Together they are one shard, which every question about them reaches. A document is about one thing
already and stays as it is. Not here: shards that are alike as a whole (`topics`), training and judging (`merging`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from seal_memory.language.spans import names
from seal_memory.ledger import Ledger
from seal_memory.records import Interaction, Role, ShardEntry
from seal_memory.sleep.topics import Topic

Groups = Mapping[str, Sequence[str]]  # by subject, the interactions about it, in the order they were seen


def regrouped(
    shards: Sequence[ShardEntry], ledger: Ledger, *, room: int, count_tokens: Callable[[str], int]
) -> list[Topic]:
    """Topics that cut across shards; the shards of a topic go on with what else they hold.

    Only shards with a part of a subject that others hold, too, are taken apart. A topic holds whole subjects, as many
    as fit into `room` tokens, together with what names nobody twice; a subject that alone needs more is cut in the
    order of time. An interaction stays where it is if all it would be put together with is there already.
    """
    last = {i: n for n, s in enumerate(shards) for i in s.interaction_ids}  # who is asked about it
    known = ledger.interactions(ids=sorted(last)) if last else []
    fixed = {last[i.id] for i in known if i.role is Role.DOCUMENT}
    loose = [i for i in known if last[i.id] not in fixed]
    groups = subjects(loose)
    torn = {last[i] for own in groups.values() if len({last[i] for i in own}) > 1 for i in own}
    parts = [i for i in loose if last[i.id] in torn]
    size = {i.id: count_tokens(i.text) for i in parts}
    topics = []
    for names_of, ids in _packed(_runs(groups, parts, size, room), size, room):
        members = tuple(shards[n] for n in sorted({last[i] for i in ids}))
        if len(members) > 1:
            topics.append(Topic(members, _why(names_of), tuple(i for i in last if i in ids), split=True))
    return topics


def subjects(interactions: Sequence[Interaction]) -> dict[str, list[str]]:
    """By name what is about it: each interaction under the most widely told of its names, names told once left out.

    A single word stands for the one longer name that has it ("Petra" for "Petra Varley"), where there is only one.
    """
    said = {i.id: {s.text for s in names(f"{i.title}: {i.text}" if i.title else i.text)} for i in interactions}
    whole = _whole_names({name for own in said.values() for name in own})
    holders: dict[str, list[str]] = defaultdict(list)
    for id, own in said.items():
        for name in sorted({whole.get(n, n) for n in own}):
            holders[name].append(id)
    found: dict[str, list[str]] = {}
    taken: set[str] = set()
    for name in sorted(holders, key=lambda n: (-len(holders[n]), n)):
        left = [i for i in holders[name] if i not in taken]
        if len(left) > 1:
            found[name] = left
            taken.update(left)
    return found


def _whole_names(found: set[str]) -> dict[str, str]:
    """Single words that are a part of exactly one longer name."""
    longer: dict[str, set[str]] = defaultdict(set)
    for name in found:
        for word in name.split() if " " in name else ():
            longer[word].add(name)
    return {name: min(longer[name]) for name in found if len(longer.get(name, ())) == 1}


def _runs(
    groups: Groups, parts: Sequence[Interaction], size: Mapping[str, int], room: int
) -> list[tuple[str, list[str]]]:
    """Subjects, cut where they do not fit into `room`, and alone what belongs to none; ("", ids) for the latter."""
    runs: list[tuple[str, list[str]]] = []
    taken: set[str] = set()
    for name, ids in groups.items():
        run: list[str] = []
        for id in (i for i in ids if i in size):
            if run and sum(size[i] for i in run) + size[id] > room:
                runs.append((name, run))
                run = []
            run.append(id)
            taken.add(id)
        if run:
            runs.append((name, run))
    return runs + [("", [i.id]) for i in parts if i.id not in taken]


def _packed(
    runs: Sequence[tuple[str, list[str]]], size: Mapping[str, int], room: int
) -> list[tuple[list[str], set[str]]]:
    """First fit, the largest first: the names of every bin, and what it holds."""
    bins: list[tuple[list[str], set[str]]] = []
    for name, ids in sorted(runs, key=lambda r: -sum(size[i] for i in r[1])):
        needed = sum(size[i] for i in ids)
        fits = next((b for b in bins if sum(size[i] for i in b[1]) + needed <= room), None)
        if fits is None:
            fits = ([], set())
            bins.append(fits)
        fits[0].extend([name] if name else [])
        fits[1].update(ids)
    return bins


def _why(found: Sequence[str]) -> str:
    """How many subjects; their names were observed, so they are not told."""
    return f"{len(found)} subjects from several sessions" if found else "what names nobody twice"
