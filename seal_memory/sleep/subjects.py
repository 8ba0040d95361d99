"""Subjects: topics that group interactions about one name across sessions. No model is asked.

A session covers many subjects, a question one. Where the same few people come up day after day, the statement that
answers a question is in one of many shards that all name them, and the router guesses (lab log, "Twenty days"). Grouped
by subject they are one shard, which every question about them reaches. A document covers one subject already and stays
as it is. Not here: shards that are similar as a whole (`topics`), training and checks (`merging`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from seal_memory.language.spans import names
from seal_memory.ledger import Ledger
from seal_memory.records import Interaction, Role, ShardEntry
from seal_memory.sleep.topics import Topic

Groups = Mapping[str, Sequence[str]]  # interactions by subject, in the order they were seen


def subject_topics(
    shards: Sequence[ShardEntry], ledger: Ledger, *, max_tokens: int, count_tokens: Callable[[str], int]
) -> list[Topic]:
    """Topics across shards; the shards of a topic keep their other interactions.

    Only shards that share a subject with other shards are split. A topic holds as many whole subjects as fit into
    `max_tokens`, with interactions that have no subject; a larger subject is cut in the order of time. An interaction
    stays in its shard if the rest of its topic is there already.
    """
    last = {i: n for n, s in enumerate(shards) for i in s.interaction_ids}  # the shard that answers for it
    known = ledger.interactions(ids=sorted(last)) if last else []
    fixed = {last[i.id] for i in known if i.role is Role.DOCUMENT}
    movable = [i for i in known if last[i.id] not in fixed]
    groups = subjects(movable)
    split = {last[i] for own in groups.values() if len({last[i] for i in own}) > 1 for i in own}
    parts = [i for i in movable if last[i.id] in split]
    size = {i.id: count_tokens(i.text) for i in parts}
    topics = []
    for names_of, ids in _packed(_runs(groups, parts, size, max_tokens), size, max_tokens):
        members = tuple(shards[n] for n in sorted({last[i] for i in ids}))
        if len(members) > 1:
            topics.append(Topic(members, _why(names_of), tuple(i for i in last if i in ids), split=True))
    return topics


def subjects(interactions: Sequence[Interaction]) -> dict[str, list[str]]:
    """Interactions by name: each under the most frequent of its names; names of one interaction are left out.

    A single word counts as the longer name that contains it ("Petra" as "Petra Varley"), if there is only one.
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
    """The longer name of each single word that is part of exactly one."""
    longer: dict[str, set[str]] = defaultdict(set)
    for name in found:
        for word in name.split() if " " in name else ():
            longer[word].add(name)
    return {name: min(longer[name]) for name in found if len(longer.get(name, ())) == 1}


def _runs(
    groups: Groups, parts: Sequence[Interaction], size: Mapping[str, int], max_tokens: int
) -> list[tuple[str, list[str]]]:
    """(subject, ids), cut at `max_tokens`; interactions without a subject alone, as ("", [id])."""
    runs: list[tuple[str, list[str]]] = []
    taken: set[str] = set()
    for name, ids in groups.items():
        run: list[str] = []
        for id in (i for i in ids if i in size):
            if run and sum(size[i] for i in run) + size[id] > max_tokens:
                runs.append((name, run))
                run = []
            run.append(id)
            taken.add(id)
        if run:
            runs.append((name, run))
    return runs + [("", [i.id]) for i in parts if i.id not in taken]


def _packed(
    runs: Sequence[tuple[str, list[str]]], size: Mapping[str, int], max_tokens: int
) -> list[tuple[list[str], set[str]]]:
    """First fit, the largest first: the subjects and the ids of every bin."""
    bins: list[tuple[list[str], set[str]]] = []
    for name, ids in sorted(runs, key=lambda r: -sum(size[i] for i in r[1])):
        needed = sum(size[i] for i in ids)
        fits = next((b for b in bins if sum(size[i] for i in b[1]) + needed <= max_tokens), None)
        if fits is None:
            fits = ([], set())
            bins.append(fits)
        fits[0].extend([name] if name else [])
        fits[1].update(ids)
    return bins


def _why(found: Sequence[str]) -> str:
    """The reason of a topic: the number of subjects, without their names, which are observed text."""
    return f"{len(found)} subjects from several sessions" if found else "interactions without a subject"
