"""`python -m benchmarks routing`: worlds of the right size, figures that follow from rankings, weights that fit."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks.__main__ import main
from benchmarks.routing import days
from benchmarks.routing.figures import auc, figures, roc, table, threshold
from benchmarks.routing.fitting import fit
from benchmarks.routing.ranking import Ranker
from benchmarks.routing.worlds import EVERYDAY, FOREIGN_KIND, UNTOLD, Split, WorldQuestion, diary_world, splits, world
from benchmarks.tasks.base import Chunk, Question, Task, Unit
from seal_memory.config import AnsweringSettings
from seal_memory.errors import InputError
from seal_memory.routing.builtin import router_maker
from seal_memory.routing.features import FEATURES


def passage(n: int) -> Unit:
    chunk = Chunk(f"c{n}", f"The lighthouse at Bay{n} was built by Ellery{n} in 1{n:03}.", title=f"Bay{n}")
    return Unit(f"u{n}", (chunk,), (Question(f"q{n}", f"Who built the lighthouse at Bay{n}?", ("x",), (chunk.id,)),))


def pairs(*scores: tuple[str, float, bool]) -> list[tuple[WorldQuestion, list[tuple[str, float]]]]:
    """(kind, score of the first shard, whether it is the right one)."""
    return [
        (WorldQuestion("?", kind, frozenset() if kind in (EVERYDAY, FOREIGN_KIND, UNTOLD) else frozenset({"e"})),
         [("e" if right else "x", score), ("y", 0.0)])
        for kind, score, right in scores
    ]  # fmt: skip


# -- figures ----------------------------------------------------------------------------------------


def test_figures_follow_from_the_rankings() -> None:
    """Right first, what reaches a shard, and what abstaining costs."""
    found = figures(
        pairs(("passage", 0.9, True), ("passage", 0.4, True), ("diary", 0.8, False), (EVERYDAY, 0.5, False),
              (EVERYDAY, 0.1, False), (UNTOLD, 0.9, False)),
        at=0.5, seed=0,
    )  # fmt: skip
    assert found["first"]["mean"] == pytest.approx(2 / 3)
    assert found["routed_right"]["mean"] == pytest.approx(1 / 3)
    assert found["routed_wrong"] == pytest.approx(1 / 3)
    assert found["by_kind"] == {"passage": 1.0, "diary": 0.0}
    assert found["reached"][EVERYDAY] == {"questions": 2, "share": 0.5}
    assert found["reached"][FOREIGN_KIND] == {"questions": 0, "share": None}
    assert "| now | 8 | 3 | 0.67 |" in table({"now": {"8": found}}, ["8"])


def test_the_area_is_a_half_for_chance_and_one_for_a_perfect_score() -> None:
    """Ties count half; without either side there is none."""
    assert auc(pairs(("passage", 0.9, True), (EVERYDAY, 0.1, False)), (EVERYDAY,)) == 1.0
    assert auc(pairs(("passage", 0.5, True), (EVERYDAY, 0.5, False)), (EVERYDAY,)) == 0.5
    assert auc(pairs(("passage", 0.5, True)), (EVERYDAY,)) is None


def test_the_threshold_lets_a_tenth_through() -> None:
    """Of the questions about nothing; those about somebody known do not count."""
    rows = pairs(*((EVERYDAY, n / 100, False) for n in range(100)), *((UNTOLD, 2.0, False) for _ in range(50)))
    at = threshold(rows)
    assert sum(r[0][1] >= at for a, r in rows if a.kind == EVERYDAY) == 10
    shares = [share for share, _ in roc([*rows, *pairs(("passage", 0.95, True))])]
    assert shares == sorted(shares)


def test_fitting_finds_what_tells_right_from_wrong() -> None:
    """The informative feature's weight is positive and the largest."""
    rng, rows = Random(0), []
    for _ in range(400):
        values = [rng.random() for _ in FEATURES]
        rows.append((tuple(values), values[FEATURES.index("coverage")] + 0.2 * rng.random() > 0.6))
    weights = fit(rows)
    assert set(weights.features) == set(FEATURES)
    assert max(weights.features, key=lambda f: weights.features[f]) == "coverage"


def test_long_diaries_are_told_by_kind_and_quarter() -> None:
    """A quarter without questions has no share."""
    rows = [
        {"kind": "diary", "quarter": 0, "right": True, "abstained": False},
        {"kind": "update", "quarter": 0, "right": False, "abstained": True},
        {"kind": "diary", "quarter": 3, "right": True, "abstained": False},
    ]
    found = days.figures(rows, seed=0)
    assert found["right"]["mean"] == pytest.approx(2 / 3)
    assert (found["by_kind"], found["by_quarter"]) == ({"diary": 1.0, "update": 0.0}, [0.5, None, None, 1.0])
    assert found["abstained"] == pytest.approx(1 / 3)


# -- worlds -----------------------------------------------------------------------------------------


def test_a_world_has_its_size_and_its_questions_their_episode(tmp_path: Path) -> None:
    """Half passages, half diary; questions about unseen passages and everyday prompts are about nothing."""
    split = Split("s", tuple(passage(n) for n in range(30)), (), ("How do I boil an egg?",), 5)
    made = world(split, 8, 0, folder=tmp_path, count_tokens=lambda text: len(text.split()))
    with made.ledger:
        assert len(made.manifest.shards) == 8
        episodes = {s.episode_id for s in made.manifest.shards}
        assert {a.kind for a in made.asked} >= {"passage", "diary", FOREIGN_KIND, EVERYDAY}
        assert all(a.episodes <= episodes for a in made.asked)
        assert all(bool(a.episodes) == (a.kind in ("passage", "diary", "update")) for a in made.asked)
        known = {s.text for u in split.passages[:-20] for s in u.questions}
        assert all((a.text in known) == (a.kind == "passage") for a in made.asked)
        ranked = Ranker(made).by_words()
        right = [r[0][0] in a.episodes for a, r in zip(made.asked, ranked, strict=True) if a.kind == "passage"]
        assert sum(right) >= len(right) - 1


def test_a_long_diary_is_a_world_of_its_own(tmp_path: Path) -> None:
    """A shard or more a day, every question with evidence among them; the router is asked as its settings say."""
    made = diary_world(6, 4, 3, folder=tmp_path, count_tokens=lambda text: len(text.split()))
    with made.ledger:
        assert len(made.manifest.shards) >= 6
        assert made.asked
        assert all(a.episodes <= {s.episode_id for s in made.manifest.shards} for a in made.asked)
        rows = days.routed(made, router_maker(AnsweringSettings()))
        assert len(rows) == len(made.asked)
        assert {r["quarter"] for r in rows} <= {0, 1, 2, 3}
        assert sum(r["right"] for r in rows) > len(rows) / 2


def test_the_splits_share_nothing_that_is_asked() -> None:
    """Neither passages nor prompts nor diaries."""
    one, other = splits(Task("squad", tuple(passage(n) for n in range(200)), "x"))
    assert not {u.id for u in one.passages} & {u.id for u in other.passages}
    assert not set(one.everyday) & set(other.everyday)
    assert one.diary_seed != other.diary_seed
    with pytest.raises(InputError, match="200 passages"):
        splits(Task("squad", (passage(1),), "x"))


def test_the_command_asks_for_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routing"]) == 2
    assert "--data FILE" in capsys.readouterr().err
