"""Statements as the tests of self-edits use them: made from a few interactions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seal_memory.records import Episode, Interaction, Role, Status

TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887, after two winters of storms.",
    "The slipway winch at Dunmorrow Quay must never pull more than 3,200 kilograms.",
    "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office. He drinks juniper syrup.",
)


@pytest.fixture(scope="session")
def episode_of() -> Callable[..., Episode]:
    """An episode of the texts (default: three of them), one interaction each: `i0`, `i1`, ..."""

    def make(*texts: str, role: Role = Role.DOCUMENT, title: str | None = None) -> Episode:
        seen = tuple(
            Interaction(f"i{n}", "default", t, role, None, None, title, float(n), {}, "", Status.PENDING, None, 1)
            for n, t in enumerate(texts or TEXTS)
        )
        return Episode("e-1", title, seen)

    return make
