"""Groups pending interactions into episodes: what is learned together in one shard.

Interactions of one document or one session stay together, in order, until an episode is full; nothing is ever
split, so an oversized interaction is an episode of its own. Not here: topics across sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from seal_memory.records import Episode, Interaction


def group_episodes(
    interactions: Sequence[Interaction], *, max_tokens: int, count_tokens: Callable[[str], int]
) -> list[Episode]:
    """Episodes of at most `max_tokens` text tokens, of nearly equal size per document or session."""
    groups: dict[tuple[str, str], list[Interaction]] = {}
    for interaction in interactions:
        groups.setdefault(_belongs_to(interaction), []).append(interaction)
    episodes = []
    for members in groups.values():
        sizes = [count_tokens(i.text) for i in members]
        for cut in _split(sizes, max_tokens):
            episodes.append(_episode(members[cut]))
    return episodes


def _belongs_to(interaction: Interaction) -> tuple[str, str]:
    """A document's chunks by their title and source, speech by its session."""
    if interaction.title:
        return "document", f"{interaction.title}\x00{interaction.source or ''}\x00{interaction.session or ''}"
    return (
        "session",
        f"{interaction.session or ''}\x00{interaction.source if interaction.session is None else ''}",
    )


def _split(sizes: Sequence[int], max_tokens: int) -> list[slice]:
    """Cuts into as few runs as fit, each filled to about the same level."""
    runs = max(1, -(-sum(sizes) // max_tokens))
    level = sum(sizes) / runs
    cuts, start, filled = [], 0, 0.0
    for n, size in enumerate(sizes):
        over = filled + size > max_tokens
        if n > start and (over or filled + size / 2 > level):
            cuts.append(slice(start, n))
            start, filled = n, 0.0
        filled += size
    if sizes:
        cuts.append(slice(start, len(sizes)))
    return cuts


def _episode(members: Sequence[Interaction]) -> Episode:
    """An id that follows from the members, so that grouping the same again gives the same episode."""
    digest = hashlib.sha256("\x00".join(i.id for i in members).encode()).hexdigest()
    titles = {i.title for i in members if i.title}
    return Episode(f"e-{digest[:24]}", titles.pop() if len(titles) == 1 else None, tuple(members))
