"""Answering with a hand-written engine: who is asked, under which adapter, with which text in the prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seal_memory.answering.answerer import Answerer, Mode, parse_mode
from seal_memory.config import AnsweringSettings
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.errors import InputError
from seal_memory.intake.admission import to_interactions
from seal_memory.ledger import Ledger
from seal_memory.records import Manifest, Provenance, ShardEntry, Status
from seal_memory.routing.builtin import router_maker

LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
REPORT = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
ASK_LIGHTHOUSE = "Who built the lighthouse at Korrin Bay?"
ASK_REPORT = "Where is the quarterly report of Tomas Lindqvist?"
UNRELATED = "How do I boil an egg?"

Engine = Any
Make = Callable[..., tuple[Answerer, Engine]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        for text in (LIGHTHOUSE, REPORT):
            opened.observe(to_interactions(text))
        yield opened


@pytest.fixture
def ids(ledger: Ledger) -> list[str]:
    return [i.id for i in ledger.interactions()]


@pytest.fixture
def make(ledger: Ledger, ids: list[str], fake_engine: Callable[..., Engine]) -> Make:
    """An answerer whose only shard, `a-1`, holds the lighthouse; the report is known to search alone."""

    def build(
        say: Callable[[Prompt], str] | None = None, *, core: str | None = None, confidence: float = 1.0, **settings: Any
    ) -> tuple[Answerer, Engine]:
        engine = fake_engine(say or (lambda p: f"{p.adapter} says"), confidence=confidence)
        chosen = AnsweringSettings(**{"samples": 1, **settings})
        manifest = Manifest((ShardEntry("a-1", "e-1", (ids[0],)),), core)
        return Answerer(engine, router_maker(chosen)(manifest, ledger), ledger, chosen, snapshot=7), engine

    return build


def _content(prompt: Prompt) -> str:
    return prompt.messages[-1]["content"]


def test_weights_ask_the_routed_shard_closed_book(make: Make, ids: list[str]) -> None:
    """The question alone is in the prompt; what no shard covers is asked of the base."""
    answerer, engine = make()
    lighthouse, unrelated = answerer.answer([ASK_LIGHTHOUSE, UNRELATED], Mode.WEIGHTS, max_tokens=5)
    assert [(p.adapter, _content(p)) for p in engine.prompts] == [("a-1", ASK_LIGHTHOUSE), (None, UNRELATED)]
    assert (lighthouse.text, lighthouse.mode, lighthouse.snapshot) == ("a-1 says", Mode.WEIGHTS, 7)
    assert lighthouse.sources == (ids[0],)
    assert [(s.adapter_id, s.score > 0.3) for s in lighthouse.shards] == [("a-1", True)]
    assert (unrelated.text, unrelated.shards, unrelated.sources) == ("None says", (), ())
    assert lighthouse.prompt_tokens == sum(len(m["content"].split()) for m in engine.prompts[0].messages)


def test_retrieval_puts_passages_into_the_bases_prompt(make: Make, ids: list[str]) -> None:
    """In front of the question, best first; where nothing is found the question stands alone."""
    answerer, engine = make()
    found, nothing = answerer.answer([ASK_REPORT, "Zeppelin?"], Mode.RETRIEVAL, max_tokens=5)
    assert [p.adapter for p in engine.prompts] == [None, None]
    assert _content(engine.prompts[0]).startswith(REPORT)
    assert _content(engine.prompts[0]).endswith(ASK_REPORT)
    assert _content(engine.prompts[1]) == "Zeppelin?"
    assert (found.sources[0], found.shards, found.mode) == (ids[1], (), Mode.RETRIEVAL)
    assert nothing.sources == ()


def test_retrieval_leaves_out_what_is_only_recorded(make: Make, ledger: Ledger) -> None:
    """The assistant's own words are no source."""
    ledger.observe(to_interactions("The zeppelin is green.", Provenance("assistant")))
    answerer, engine = make()
    (answer,) = answerer.answer(["Which colour has the zeppelin?"], Mode.RETRIEVAL, max_tokens=5)
    assert answer.sources == ()
    assert "green" not in _content(engine.prompts[0])


def test_retrieval_finds_what_the_gate_refused(make: Make, ledger: Ledger, ids: list[str]) -> None:
    """A refused interaction stays answerable by text."""
    ledger.set_status([ids[1]], Status.REFUSED, "for the test")
    (answer,) = make()[0].answer([ASK_REPORT], Mode.RETRIEVAL, max_tokens=5)
    assert answer.sources[0] == ids[1]


def test_hybrid_stays_with_sure_weights(make: Make) -> None:
    """One prompt, no text."""
    answerer, engine = make(confidence=0.9)
    (answer,) = answerer.answer([ASK_LIGHTHOUSE], Mode.HYBRID, max_tokens=5)
    assert answer.mode is Mode.WEIGHTS
    assert len(engine.prompts) == 1


def test_hybrid_adds_text_when_the_answer_is_unsure(make: Make, ids: list[str]) -> None:
    """Its confidence is below the threshold."""
    answerer, _ = make(confidence=0.4, hybrid_threshold=0.5)
    (answer,) = answerer.answer([ASK_LIGHTHOUSE], Mode.HYBRID, max_tokens=5)
    assert (answer.mode, answer.sources[0], answer.snapshot) == (Mode.RETRIEVAL, ids[0], 7)


def test_hybrid_adds_text_when_the_route_abstains(make: Make, ids: list[str]) -> None:
    """However sure the base is of what it cannot know; with nothing found its answer stays."""
    answerer, engine = make(confidence=1.0)
    report, unrelated = answerer.answer([ASK_REPORT, "Zeppelin?"], Mode.HYBRID, max_tokens=5)
    assert (report.mode, report.sources[0]) == (Mode.RETRIEVAL, ids[1])
    assert (unrelated.mode, unrelated.sources) == (Mode.WEIGHTS, ())
    assert len(engine.prompts) == 2  # the weights are not asked where text will answer


def test_a_batch_keeps_its_order(make: Make) -> None:
    """Hybrid asks some questions twice and puts every answer in its place."""
    answerer, _ = make(lambda p: f"{p.adapter}: {_content(p).splitlines()[-1]}")
    questions = [ASK_REPORT, ASK_LIGHTHOUSE, UNRELATED, ASK_LIGHTHOUSE + " Really?", ASK_REPORT]
    answers = answerer.answer(questions, Mode.HYBRID, max_tokens=5)
    expected = ["None", "a-1", "None", "a-1", "None"]
    assert [a.text for a in answers] == [f"{who}: {q}" for who, q in zip(expected, questions, strict=True)]
    assert answerer.answer([], Mode.HYBRID, max_tokens=5) == []


def test_a_shard_is_sampled_and_the_base_is_asked_once(make: Make) -> None:
    """However many samples an adapter makes."""
    answerer, engine = make(samples=4)
    answerer.answer([ASK_LIGHTHOUSE, UNRELATED], Mode.WEIGHTS, max_tokens=5)
    assert [p.adapter for p in engine.prompts] == [None, "a-1", "a-1", "a-1", "a-1"]


def test_a_core_answers_where_no_shard_does(make: Make) -> None:
    """And is named; text is added only when it is unsure."""
    answerer, _ = make(core="a-core")
    (answer,) = answerer.answer([UNRELATED], Mode.WEIGHTS, max_tokens=5)
    assert (answer.text, [s.adapter_id for s in answer.shards]) == ("a-core says", ["a-core"])


def test_a_chat_keeps_its_earlier_messages(make: Make) -> None:
    """The passages go in front of the last message only."""
    answerer, engine = make()
    chat = [{"role": "user", "content": "Hello"}, {"role": "user", "content": ASK_REPORT}]
    answerer.converse([Prompt(chat)], [ASK_REPORT], Mode.RETRIEVAL, Decoding(5))
    assert engine.prompts[0].messages[0] == chat[0]
    assert REPORT in _content(engine.prompts[0])
    assert chat[1]["content"] == ASK_REPORT


def test_modes_are_parsed() -> None:
    """Unknown ones are named beside the known ones."""
    assert [parse_mode(m) for m in ("weights", "retrieval", "hybrid", "compose")] == list(Mode)
    with pytest.raises(InputError, match=r"'both'.*hybrid"):
        parse_mode("both")
