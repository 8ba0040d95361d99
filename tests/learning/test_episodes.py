"""Episodes: every interaction in exactly one, in order, of bounded size, of one session or document."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.learning.episodes import _split, group_episodes
from seal_memory.records import Episode, Interaction, Role, Status

Drawn = tuple[int, str | None, str | None, str | None]


def _interaction(n: int, words: int, session: str | None, title: str | None, source: str | None) -> Interaction:
    text = " ".join(f"w{n}" for _ in range(words))
    return Interaction(
        f"i{n:03}",
        "default",
        text,
        Role.USER,
        source,
        session,
        title,
        float(n),
        {},
        "",
        Status.PENDING,
        None,
        1,
    )


def _count(text: str) -> int:
    return len(text.split())


def _group(drawn: list[Drawn], size: int) -> tuple[list[Interaction], list[Episode]]:
    seen = [_interaction(n, *one) for n, one in enumerate(drawn)]
    return seen, group_episodes(seen, max_tokens=size, count_tokens=_count)


some = st.sampled_from([None, "a", "b"])
interactions = st.lists(st.tuples(st.integers(0, 40), some, some, some), max_size=30)


@given(drawn=interactions, size=st.integers(1, 60))
def test_every_interaction_is_in_one_episode_in_order(drawn: list[Drawn], size: int) -> None:
    """None is lost, none is doubled; within a group the episodes follow each other as they were seen."""
    seen, episodes = _group(drawn, size)
    placed = [i.id for e in episodes for i in e.interactions]
    assert Counter(placed) == Counter(i.id for i in seen)
    assert all(e.interactions for e in episodes)
    groups: dict[object, list[str]] = {}
    for episode in episodes:
        groups.setdefault(_belongs(episode.interactions[0]), []).extend(episode.interaction_ids)
    assert all(ids == sorted(ids) for ids in groups.values())


def _belongs(interaction: Interaction) -> object:
    if interaction.session is not None:
        return interaction.session, "session"
    return interaction.title, interaction.source, "document"


@given(drawn=interactions, size=st.integers(1, 60))
def test_episodes_are_bounded_and_not_mixed(drawn: list[Drawn], size: int) -> None:
    """At most the given size, unless one interaction alone is larger; one session or document each."""
    for episode in _group(drawn, size)[1]:
        assert len(episode.interactions) == 1 or sum(_count(i.text) for i in episode.interactions) <= size
        assert len({_belongs(i) for i in episode.interactions}) == 1
        titles = {i.title for i in episode.interactions if i.title}
        assert episode.title == (titles.pop() if len(titles) == 1 else None)


@given(drawn=interactions, size=st.integers(1, 60))
def test_the_same_members_make_the_same_id(drawn: list[Drawn], size: int) -> None:
    """And other members another one."""
    _, first = _group(drawn, size)
    _, again = _group(drawn, size)
    assert [e.id for e in first] == [e.id for e in again]
    assert len({e.id for e in first}) == len(first)


def test_a_session_is_cut_into_pieces_of_nearly_equal_size() -> None:
    """Not one full and one tiny episode."""
    _, episodes = _group([(10, "s", None, None)] * 11, 100)
    assert [len(e.interactions) for e in episodes] in ([5, 6], [6, 5])


def test_a_long_session_is_cut_in_linear_time() -> None:
    """Here every other text is an episode of its own; trying one run more at a time would take a minute and more."""
    began = time.monotonic()
    assert len(_split([5, 1500] * 10_000, 1024)) == 20_000
    assert time.monotonic() - began < 15.0
