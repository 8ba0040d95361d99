"""Self-edits: whole under every arm, never a held-out question, rows drawn by genre and target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import LearningSettings
from seal_memory.language.text import normalise
from seal_memory.learning.plans import plan_steps
from seal_memory.records import Episode, Genre, GenreYield, Hyperparameters, Role, SelfEdit, TrainingItem
from seal_memory.self_edits.generator import ARMS, READER_ARM, make_self_edit, row_weights
from seal_memory.self_edits.genres import rule_items
from seal_memory.self_edits.statements import statements_of

WRITTEN = [TrainingItem(Genre.QA, "Who keeps the report?", "Tomas Lindqvist keeps the report.", ("i2",))]
YIELDS = [GenreYield(Genre.QA, 3, 1)]


def _edits(
    episode: Episode, settings: LearningSettings, *, held_out: list[str] | None = None, seed: int = 0
) -> list[SelfEdit]:
    """One under every arm."""
    return [
        make_self_edit(
            episode,
            statements_of(episode),
            WRITTEN,
            YIELDS,
            arm=arm,
            settings=settings,
            held_out=held_out or [],
            seed=seed + k,
            id=f"s{k}",
        )
        for k, arm in enumerate(ARMS)
    ]


def test_every_arm_makes_a_whole_self_edit(episode_of: Callable[..., Episode]) -> None:
    """The given id and seed, the settings' rank and epochs, items of exactly the genres its plan draws or reads."""
    settings = LearningSettings(rank=5, document_epochs=3, alpha=7.0, document_readings=4, min_steps=1)
    episode = episode_of(title="The harbour")
    edits = _edits(episode, settings, seed=40)
    assert [(e.id, e.seed) for e in edits] == [(f"s{k}", 40 + k) for k in range(len(ARMS))]
    for edit in edits:
        plan = edit.hyperparameters
        assert (plan.rank, plan.epochs, plan.alpha, plan.passes) == (5, 3, 7.0, 4)
        assert 0 < plan.learning_rate <= 1
        assert plan.rows_per_epoch >= 1
        drawn = {i.genre for i in edit.items} - {Genre.PASSAGE}
        assert drawn <= {g for g, weight in plan.genre_mix if weight > 0}
        assert len(drawn) == len({i.genre for i in edit.items}) - 1
        assert edit.interaction_ids == episode.interaction_ids
        assert edit.items
        assert YIELDS[0] in edit.yields
        assert all(0 <= y.kept <= y.made for y in edit.yields)


def test_what_was_said_is_learned_by_questions_alone(episode_of: Callable[..., Episode]) -> None:
    """A dialogue is asked about more often than a document, and not read as text."""
    settings = LearningSettings(epochs=9, document_epochs=2, document_readings=3, min_steps=1)
    edit = _edits(episode_of(role=Role.USER), settings)[0]
    assert not [i for i in edit.items if i.genre is Genre.PASSAGE]
    assert (edit.hyperparameters.epochs, edit.hyperparameters.passes) == (9, 0)


def test_a_readers_facts_are_learned_by_questions_alone(episode_of: Callable[..., Episode]) -> None:
    """A document, too, and twice as long: by its own questions and cues from each fact. The rate is the model's."""
    settings = LearningSettings(epochs=9, document_epochs=2, document_readings=5, min_steps=1)
    episode = episode_of(title="The harbour")
    edit = make_self_edit(
        episode, statements_of(episode), WRITTEN, YIELDS,
        arm=READER_ARM, settings=settings, held_out=[], seed=1, id="s",
    )  # fmt: skip
    assert {i.genre for i in edit.items} == {Genre.QA, Genre.ENTITY_STATEMENT, Genre.CLOZE_QUESTION}
    assert (edit.hyperparameters.epochs, edit.hyperparameters.passes) == (18, 0)
    assert edit.hyperparameters.learning_rate == settings.learning_rate


def test_a_short_text_is_trained_longer(episode_of: Callable[..., Episode]) -> None:
    """Epochs and passes grow together until the plan has the least number of steps; a long text keeps its plan."""
    settings = LearningSettings(document_epochs=2, document_readings=3, batch_size=2, min_steps=40)
    short, long = (
        _edits(episode_of(*[f"Maud Ellery built lighthouse number {n} in 18{n:02d}." for n in range(size)]), settings)
        for size in (1, 60)
    )
    plan = short[0].hyperparameters
    assert 40 <= len(plan_steps(short[0], batch_size=2)) < 60
    assert plan.passes / plan.epochs == pytest.approx(3 / 2, rel=0.1)
    assert (long[0].hyperparameters.epochs, long[0].hyperparameters.passes) == (2, 3)


def test_the_same_seed_makes_the_same_edits(episode_of: Callable[..., Episode]) -> None:
    """Everything but the id follows from the seed."""
    settings = LearningSettings()
    assert _edits(episode_of(), settings, seed=5) == _edits(episode_of(), settings, seed=5)
    assert _edits(episode_of(), settings, seed=5) != _edits(episode_of(), settings, seed=6)


@given(data=st.data(), seed=st.integers(0, 50))
def test_a_held_out_question_is_never_an_item(
    episode_of: Callable[..., Episode], data: st.DataObject, seed: int
) -> None:
    """Not even in other case or punctuation: whatever would have been trained is left out when held out."""
    episode, settings = episode_of(title="The harbour"), LearningSettings()
    free = rule_items(statements_of(episode), title="The harbour", seed=seed)
    offered = sorted({i.prompt for i in free if i.prompt})
    held_out = data.draw(st.lists(st.sampled_from(offered), min_size=1, max_size=5))
    shown = [data.draw(st.sampled_from([q, q.upper(), q.rstrip("?.") + " ?"])) for q in held_out]
    reserved = {normalise(q) for q in held_out}
    for edit in _edits(episode, settings, held_out=shown, seed=seed):
        assert not reserved & {normalise(i.prompt) for i in edit.items}
        assert any(y.kept < y.made for y in edit.yields) or seed != edit.seed


# -- row weights ------------------------------------------------------------------------------------

genres = st.sampled_from([Genre.QA, Genre.CLOZE, Genre.REWRITE])
items = st.lists(
    st.builds(TrainingItem, genres, st.sampled_from("abc"), st.sampled_from("xyz"), st.just(("i",))), max_size=20
)


@given(items=items, qa=st.floats(0.1, 5), cloze=st.floats(0, 5))
def test_genres_share_as_planned_and_targets_evenly(items: list[TrainingItem], qa: float, cloze: float) -> None:
    """Each genre's rows sum to its share; within a genre every target weighs the same; the unplanned never comes."""
    plan = Hyperparameters(genre_mix=((Genre.QA, qa), (Genre.CLOZE, cloze)))
    weights = row_weights(items, plan)
    by_genre: dict[Genre, float] = defaultdict(float)
    by_target: dict[tuple[Genre, str], float] = defaultdict(float)
    for item, weight in zip(items, weights, strict=True):
        by_genre[item.genre] += weight
        by_target[item.genre, item.target] += weight
    for genre, share in ((Genre.QA, qa), (Genre.CLOZE, cloze), (Genre.REWRITE, 0.0)):
        assert by_genre.get(genre, share) == pytest.approx(share)
        shares = [w for (g, _), w in by_target.items() if g is genre]
        assert all(w == pytest.approx(shares[0]) for w in shares)
