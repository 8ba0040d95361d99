"""Episodes: pending interactions grouped by session or document, one shard each.

Interactions of one document or one session stay together, in order, until an episode is full; nothing is ever
split, so an oversized interaction is an episode of its own. Not here: topics across sessions (`sleep`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from seal_memory.records import Episode, Interaction

CORE_EPISODE = "core"  # the episode id of a core, which is trained on all of them


def group_episodes(
    interactions: Sequence[Interaction], *, max_tokens: int, count_tokens: Callable[[str], int]
) -> list[Episode]:
    """Episodes of at most `max_tokens` text tokens, of nearly equal size per document or session."""
    groups: dict[tuple[str, ...], list[Interaction]] = {}
    for interaction in interactions:
        groups.setdefault(origin_of(interaction), []).append(interaction)
    episodes = []
    for members in groups.values():
        sizes = [count_tokens(i.text) for i in members]
        for cut in _split(sizes, max_tokens):
            episodes.append(episode_of(members[cut]))
    return episodes


def origin_of(interaction: Interaction) -> tuple[str, ...]:
    """The session of an interaction or, outside of sessions, its document: one origin, one group of episodes."""
    if interaction.session is not None:
        return "session", interaction.session
    return "document", interaction.title or "", interaction.source or ""


def _split(sizes: Sequence[int], max_tokens: int) -> list[slice]:
    """Cut into as few runs of nearly equal size as fit; only an oversized interaction exceeds `max_tokens`.

    Of many runs, a sixteenth more are tried at a time: one by one, the work would be quadratic.
    """
    total = sum(sizes)
    runs = max(1, -(-total // max_tokens))
    while runs <= len(sizes):
        level, seen = max(total, 1) / runs, 0
        places = []  # the run that the middle of each interaction falls into
        for size in sizes:
            places.append(min(runs - 1, int((seen + size / 2) / level)))
            seen += size
        starts = [n for n in range(len(sizes)) if n == 0 or places[n] != places[n - 1]]
        cuts = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(sizes)], strict=True)]
        if all(cut.stop - cut.start == 1 or sum(sizes[cut]) <= max_tokens for cut in cuts):
            return cuts
        runs += 1 + runs // 16
    return [slice(n, n + 1) for n in range(len(sizes))]


def episode_of(members: Sequence[Interaction]) -> Episode:
    """The episode of these interactions; its id is a hash of theirs, so the same grouping gives the same id."""
    digest = hashlib.sha256("\x00".join(i.id for i in members).encode()).hexdigest()
    titles = {i.title for i in members if i.title}
    return Episode(f"e-{digest[:24]}", titles.pop() if len(titles) == 1 else None, tuple(members))
