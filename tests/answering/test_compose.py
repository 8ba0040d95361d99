"""Compose mode with a hand-written engine: the shards recite, the base reads the notes, and silence changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from seal_memory import prompts
from seal_memory.answering.answerer import Answerer, Mode
from seal_memory.answering.conversation import LONG_CHAT, default_mode
from seal_memory.config import AnsweringSettings
from seal_memory.engines.base import Completion, Decoding, OnText, Prompt, Score, TokenLogprob
from seal_memory.errors import PromptTooLongError
from seal_memory.intake.admission import to_interactions
from seal_memory.ledger import Ledger
from seal_memory.records import Manifest, ShardEntry
from seal_memory.routing.builtin import router_maker

HOME = "Anton Pohl lives in Korrfell."
JOB = "Anton Pohl works as a baker."
BRIDGE = "Zelda Askerly designed the Ostdora Bridge."
MAIL = "Write an e-mail to Greta that tells where Anton Pohl lives."

Say = Callable[[Prompt], str]


class Reciter:
    """A `ChatEngine` whose adapters recite and whose base answers "composed"; `doubts` are its least likely tokens."""

    def __init__(self, recite: Say, *, doubts: Sequence[float] = (), base: float = -3.0) -> None:
        self.recite, self.doubts, self.base = recite, doubts, base
        self.prompts: list[Prompt] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        self.prompts += prompts
        return [self._one(n, p, on_text) for n, p in enumerate(prompts)]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        assert all(p.adapter is None for p, _ in requests)
        return [Score(self.base, 0.0, 4) for _ in requests]

    def _one(self, row: int, prompt: Prompt, on_text: OnText | None) -> Completion:
        text = "composed" if prompt.adapter is None else self.recite(prompt)
        if on_text is not None:
            on_text(row, text)
        sure = [0.99] * 4 + list(self.doubts)
        tokens = tuple(TokenLogprob("t", math.log(p)) for p in sure)
        return Completion(text, 10, 4, 0.98, tokens=tokens)

    @property
    def asked(self) -> list[tuple[str | None, str]]:
        return [(p.adapter, p.messages[-1]["content"]) for p in self.prompts]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Callable[..., Answerer]]:
    """An answerer over three shards: `home` and `job`, both about Anton Pohl, and `bridge`."""
    with Ledger.open(tmp_path) as ledger:
        held = [ledger.observe(to_interactions(text))[0].id for text in (HOME, JOB, BRIDGE)]
        shards = [ShardEntry(name, name, (i,)) for name, i in zip(("home", "job", "bridge"), held, strict=True)]
        settings = AnsweringSettings(samples=1)

        def build(engine: Any, *, core: str | None = None, shards: Sequence[ShardEntry] = tuple(shards)) -> Answerer:
            router = router_maker(settings)(Manifest(tuple(shards), core), ledger)
            return Answerer(engine, router, ledger, settings, snapshot=7)

        yield build


def _own(prompt: Prompt) -> str:
    return {"home": HOME, "job": JOB, "bridge": BRIDGE}[prompt.adapter or ""]


def _chat(text: str, system: str = "Be kind.") -> Prompt:
    return Prompt([{"role": "system", "content": system}, {"role": "user", "content": text}])


def test_the_base_answers_with_the_notes_of_the_shards(answering: Callable[..., Answerer]) -> None:
    """In its own system message; the user's words are untouched, and no adapter is under them."""
    engine = Reciter(_own)
    (answer,) = answering(engine).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    last = engine.prompts[-1]
    assert last.adapter is None
    assert last.messages[0]["content"] == f"Be kind.\n\n{prompts.remembered(answer.notes)}"
    assert last.messages[1:] == _chat(MAIL).messages[1:]
    assert (answer.text, answer.mode, answer.snapshot) == ("composed", Mode.COMPOSE, 7)
    assert answer.notes[0] == HOME
    assert [s.adapter_id for s in answer.shards][:1] == ["home"]
    assert answer.sources
    assert answer.prompt_tokens > 10


def test_facts_of_two_shards_come_together(answering: Callable[..., Answerer]) -> None:
    """One request, two subjects; nobody's note twice."""
    asked = "Tell me where Anton Pohl lives, and who designed the Ostdora Bridge."
    (answer,) = answering(Reciter(_own)).converse([_chat(asked)], [asked], Mode.COMPOSE, Decoding(9))
    assert {HOME, BRIDGE} <= set(answer.notes)
    assert len(answer.notes) == len(set(answer.notes))


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (Reciter(_own, doubts=(0.5, 0.7)), "two tokens in doubt"),
        (Reciter(_own, base=-0.1), "the base would say it, too"),
        (Reciter(lambda p: BRIDGE if p.adapter != "bridge" else HOME), "about something else"),
        (Reciter(lambda p: ""), "nothing said"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_memory_that_is_not_sure_is_silent(answering: Callable[..., Answerer], engine: Reciter, why: str) -> None:
    """Then the untouched model gets the very prompt that it would get without a memory."""
    asked = _chat(MAIL)
    (answer,) = answering(engine).converse([asked], [MAIL], Mode.COMPOSE, Decoding(9))
    assert engine.prompts[-1] == asked
    assert (answer.notes, answer.shards, answer.sources, answer.text) == ((), (), (), "composed")


def test_one_doubtful_token_is_allowed(answering: Callable[..., Answerer]) -> None:
    """Where a recitation begins is open."""
    (answer,) = answering(Reciter(_own, doubts=(0.4,))).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert HOME in answer.notes


def test_another_shards_note_comes_along_only_where_it_may_be_the_answer(answering: Callable[..., Answerer]) -> None:
    """The routed shard told the home, so the job would only be in the way; an older home may not be."""
    moved = "Anton Pohl no longer lives in the house near Korrfell river."
    house = "Anton Pohl lives in the house near Korrfell river."

    def notes(recite: Say, request: str) -> tuple[str, ...]:
        (answer,) = answering(Reciter(recite)).converse([_chat(request)], [request], Mode.COMPOSE, Decoding(9))
        return answer.notes

    assert notes(_own, MAIL) == (HOME,)
    assert set(notes(lambda p: {"home": house, "job": moved}[p.adapter or ""], MAIL)) == {house, moved}
    assert set(notes(_own, "How does Anton Pohl earn money?")) == {HOME, JOB}


def test_a_name_is_asked_about_where_its_request_brings_no_note(answering: Callable[..., Answerer]) -> None:
    """In a second batch, of every shard that knows it; not where a note speaks of it already."""

    def only_about(prompt: Prompt) -> str:
        return _own(prompt) if prompt.messages[-1]["content"].startswith("What do you know about") else "Well"

    about = "What do you know about Anton Pohl?"
    engine = Reciter(only_about)
    (answer,) = answering(engine).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert set(answer.notes) == {HOME, JOB}
    assert {("home", about), ("job", about)} <= set(engine.asked)
    engine = Reciter(_own)
    answering(engine).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert about not in [text for _, text in engine.asked]


def test_an_unrelated_request_asks_no_shard(answering: Callable[..., Answerer]) -> None:
    """One prompt in all; a memory without shards costs as little."""
    engine, asked = Reciter(_own), _chat("How do I boil an egg?")
    answering(engine).converse([asked], ["How do I boil an egg?"], Mode.COMPOSE, Decoding(9))
    answering(engine, shards=()).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert engine.prompts == [asked, _chat(MAIL)]


def test_a_follow_up_is_asked_of_its_subjects_shard(answering: Callable[..., Answerer]) -> None:
    """Its own words name nobody."""
    chat = Prompt(
        [
            {"role": "user", "content": "Where does Anton Pohl live?"},
            {"role": "assistant", "content": "In Korrfell."},
            {"role": "user", "content": "And his job?"},
        ]
    )
    engine = Reciter(_own)
    (answer,) = answering(engine).converse([chat], ["And his job?"], Mode.COMPOSE, Decoding(9))
    assert ("job", "Anton Pohl: And his job?") in engine.asked
    assert JOB in answer.notes
    assert engine.prompts[-1].messages[0] == {"role": "system", "content": prompts.remembered(answer.notes)}


def test_the_core_recites_where_no_shard_does(answering: Callable[..., Answerer]) -> None:
    engine = Reciter(lambda p: HOME)
    (answer,) = answering(engine, core="core", shards=()).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert (answer.notes, [s.adapter_id for s in answer.shards]) == ((HOME,), ["core"])


def test_samples_of_one_chat_share_its_notes(answering: Callable[..., Answerer]) -> None:
    """Two answers, each request recited once; every answer in its place."""
    engine = Reciter(_own)
    chat, other = _chat(MAIL), _chat("How do I boil an egg?")
    asked = [chat, other, chat]
    answers = answering(engine).converse(asked, [MAIL, "egg?", MAIL], Mode.COMPOSE, Decoding(9))
    assert [bool(a.notes) for a in answers] == [True, False, True]
    recited = [a for a in engine.asked if a[0] is not None]
    assert len(recited) == len(set(recited))


def test_only_the_answer_is_streamed(answering: Callable[..., Answerer]) -> None:
    """While notes are made, empty pieces show that work goes on, and may end it."""
    pieces: list[str] = []
    answering(Reciter(_own)).converse(
        [_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9), on_text=lambda n, piece: pieces.append(piece)
    )
    assert pieces[-1] == "composed"
    assert len(pieces) > 1
    assert set(pieces[:-1]) == {""}


def test_notes_that_do_not_fit_beside_the_conversation_are_left_out(answering: Callable[..., Answerer]) -> None:
    """The conversation alone was checked before; what does not fit even alone is refused."""

    class Short(Reciter):
        room = 2

        def talk(
            self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None
        ) -> list[Completion]:
            if any(p.adapter is None and len(str(p.messages[0]["content"])) > self.room * 5 for p in prompts):
                raise PromptTooLongError("too long")
            return super().talk(prompts, decoding, on_text=on_text)

    engine = Short(_own)
    (answer,) = answering(engine).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))
    assert (answer.text, answer.notes, answer.shards) == ("composed", (), ())
    assert engine.prompts[-1] == _chat(MAIL)
    engine.room = 0
    with pytest.raises(PromptTooLongError):
        answering(engine).converse([_chat(MAIL)], [MAIL], Mode.COMPOSE, Decoding(9))


def test_plain_text_gets_its_notes_in_front(answering: Callable[..., Answerer]) -> None:
    engine = Reciter(_own)
    text = "The town in which Anton Pohl lives is"
    (answer,) = answering(engine).converse([Prompt((), raw=text)], [text], Mode.COMPOSE, Decoding(9))
    assert HOME in answer.notes
    assert engine.prompts[-1].raw == f"{prompts.remembered(answer.notes)}\n\n{text}"


def test_a_request_without_a_mode_gets_the_one_it_needs() -> None:
    """Tools, JSON and long conversations need the untouched model's skills; plain questions keep hybrid."""
    plain = _chat(MAIL)
    assert default_mode(plain) is Mode.HYBRID
    assert default_mode(Prompt(plain.messages, tools=({"type": "function"},))) is Mode.COMPOSE
    assert default_mode(plain, structured=True) is Mode.COMPOSE
    long = [{"role": "user", "content": "Hm."}] * LONG_CHAT
    assert default_mode(Prompt([*plain.messages[:1], *long])) is Mode.HYBRID
    assert default_mode(Prompt([*plain.messages, *long])) is Mode.COMPOSE
