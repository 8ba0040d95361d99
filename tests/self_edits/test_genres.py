"""The list of genres: every genre has a spec, and every spec reaches the training plan and the yields."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from seal_memory.config import LearningSettings
from seal_memory.records import Episode, Genre, SelfEdit, TrainingItem
from seal_memory.self_edits import genres
from seal_memory.self_edits.generator import ARMS, Arm, make_self_edit
from seal_memory.self_edits.genres import GENRES, MODEL_GENRES, RUNNING_TEXT, mix, writing_prompt
from seal_memory.self_edits.specs import GenreSpec, ModelWriting, cued_item
from seal_memory.self_edits.statements import Statement, statements_of
from seal_memory.self_edits.writer import write_drafts, write_items

UNDRAWN = {Genre.CLOZE}  # made and counted only, as its spec says


def _edit(episode: Episode, engine: Any, *, arm: Arm) -> SelfEdit:
    statements = statements_of(episode)
    ((written, yields),) = write_items([statements], engine, per_statement=8, held_out=[()], seed=0)
    return make_self_edit(
        episode, statements, written, yields, arm=arm, settings=LearningSettings(), held_out=(), seed=0, id="s"
    )


def _shout(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
    for s in statements:
        yield cued_item(Genre.CLOZE, f"Shout number {rng.randint(0, 9)} of {s.interaction_id}!", s.text.upper(), s)


def test_every_genre_has_one_spec() -> None:
    assert sorted(spec.name for spec in GENRES) == sorted(Genre)
    assert all(spec.default_weight >= 0 for spec in GENRES)
    with pytest.raises(TypeError):
        GenreSpec(Genre.QA, _shout)  # type: ignore[call-arg]


@pytest.mark.parametrize("spec", GENRES, ids=lambda spec: spec.name)
def test_every_spec_is_in_some_plan(spec: GenreSpec) -> None:
    """Drawn by an arm, or read as running text."""
    drawn = any(spec.name in dict(arm.mix) for arm in ARMS)
    assert drawn != spec.running_text or spec.name in UNDRAWN
    assert dict(ARMS[0].mix).get(spec.name, 0.0) == spec.default_weight


@pytest.mark.parametrize("spec", GENRES, ids=lambda spec: spec.name)
def test_every_spec_reaches_items_and_yields(
    spec: GenreSpec, episode_of: Callable[..., Episode], fake_engine: Callable[..., Any]
) -> None:
    """Under an arm that draws everything; the model's texts are refused here, but asked for and counted."""
    everything = Arm(tuple((genre, 1.0) for genre in Genre))
    edit = _edit(episode_of(title="The harbour"), fake_engine(), arm=everything)
    (found,) = [y for y in edit.yields if y.genre is spec.name]
    assert found.made > 0
    if not isinstance(spec.make, ModelWriting):
        assert found.kept == sum(i.genre is spec.name for i in edit.items) > 0


def test_a_new_genre_is_one_spec_in_the_list(
    episode_of: Callable[..., Episode], fake_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, it is made, counted, and drawn with its default weight."""
    others = [spec for spec in GENRES if spec.name is not Genre.CLOZE]
    monkeypatch.setattr(genres, "GENRES", (*others, GenreSpec(Genre.CLOZE, _shout, default_weight=0.7)))
    edit = _edit(episode_of(), fake_engine(), arm=Arm(mix()))
    made = [i for i in edit.items if i.genre is Genre.CLOZE]
    assert [i.target for i in made] == [s.text.upper() for s in statements_of(episode_of())]
    assert dict(edit.hyperparameters.genre_mix)[Genre.CLOZE] == 0.7
    assert {y.genre: y.kept for y in edit.yields}[Genre.CLOZE] == len(made)


def test_a_new_written_genre_is_asked_for(
    episode_of: Callable[..., Episode], fake_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own prompt, its own check of the text."""
    writing = ModelWriting(
        lambda statement, answer, taught: [{"role": "user", "content": f"Shout: {statement}"}],
        lambda text, statement, span, held_out: cued_item(Genre.CLOZE, "Shout!", text, statement),
    )
    monkeypatch.setattr(genres, "GENRES", (*GENRES, GenreSpec(Genre.CLOZE, writing, default_weight=0.7)))
    say = lambda prompt: prompt.messages[-1]["content"].upper()  # noqa: E731
    statements = statements_of(episode_of())
    ((draft, *_),) = write_drafts(
        [statements], fake_engine(say), per_statement=1, held_out=[()], seed=0, genres=[Genre.CLOZE]
    )
    assert draft.item is not None
    assert draft.item.target == f"Shout: {statements[0].text}".upper()


def test_a_mix_is_the_defaults_but_for_the_changes() -> None:
    """Weight 0 leaves a genre out; `among` leaves out all others."""
    changed = dict(mix({Genre.QA: 2.0, Genre.SENTENCES: 0.0}))
    assert changed == {g: w for g, w in ARMS[0].mix if g is not Genre.SENTENCES} | {Genre.QA: 2.0}
    assert {g for g, _ in mix({Genre.IMPLICATIONS: 1.0}, among=MODEL_GENRES)} == set(MODEL_GENRES)
    assert not RUNNING_TEXT & set(changed)


def test_only_written_genres_have_a_prompt() -> None:
    for genre in MODEL_GENRES:
        assert "Maud built it." in writing_prompt(genre, "Maud built it.", "Maud")[-1]["content"]
    with pytest.raises(KeyError):
        writing_prompt(Genre.PASSAGE, "Maud built it.", "Maud")
