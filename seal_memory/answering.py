"""Answering: weights only, retrieval, or hybrid, for questions and for chats, in batches.

Weights: the router picks a shard per question, the shard answers closed book (one step), or recites its statement and
the base reads the answer off it (two steps). Retrieval: BM25 passages in the prompt of the untouched base. Hybrid:
weights first, text where the router abstains or the answer's token probabilities are low. Not here: publishing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from seal_memory import prompts
from seal_memory.config import Settings
from seal_memory.engines.base import Completion, Engine, Messages, Prompt
from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.records import Standing
from seal_memory.routing.router import Route, Router


class Mode(StrEnum):
    """Where an answer may come from."""

    WEIGHTS = "weights"
    RETRIEVAL = "retrieval"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class UsedShard:
    """A shard that answered and the router's score for it (coverage, 0..1)."""

    adapter_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and where it came from.

    `mode` is the way that was really taken. `confidence` is the geometric mean of the answer's token
    probabilities, 0..1. `sources` are ids of the interactions behind it. `recited` is what two-step answering read
    the answer off. `prompt_tokens` counts every prompt of this answer.
    """

    text: str
    confidence: float
    mode: Mode
    snapshot: int | None
    shards: tuple[UsedShard, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0
    sources: tuple[str, ...] = ()
    recited: str | None = None


def parse_mode(mode: str) -> Mode:
    """Raises `InputError` naming the known modes."""
    try:
        return Mode(mode)
    except ValueError:
        raise InputError(f"Unknown mode {mode!r}; expected one of {[m.value for m in Mode]}.") from None


class Answerer:
    """Answers with one engine, one router, one ledger; holds no state of its own."""

    def __init__(
        self, engine: Engine, router: Router, ledger: Ledger, settings: Settings, *, snapshot: int | None
    ) -> None:
        self.engine, self.router, self.ledger = engine, router, ledger
        self.settings, self.snapshot = settings, snapshot

    def answer(self, questions: Sequence[str], mode: Mode, *, max_tokens: int) -> list[Answer]:
        """Answers in the order of the questions."""
        return self.converse([prompts.direct(q) for q in questions], questions, mode, max_tokens=max_tokens)

    def converse(
        self, chats: Sequence[Messages], questions: Sequence[str], mode: Mode, *, max_tokens: int
    ) -> list[Answer]:
        """Continue each chat; `questions[i]` is what is routed and searched by (its last user message)."""
        if mode is Mode.RETRIEVAL:
            return self._retrieval(chats, questions, max_tokens)
        routes = [self.router.route(q) for q in questions]
        answers = self._weights(chats, questions, routes, max_tokens)
        if mode is Mode.WEIGHTS:
            return answers
        unsure = [n for n, (a, r) in enumerate(zip(answers, routes, strict=True)) if self._is_unsure(a, r)]
        again = self._retrieval([chats[n] for n in unsure], [questions[n] for n in unsure], max_tokens)
        for n, text_answer in zip(unsure, again, strict=True):
            if text_answer.sources:
                answers[n] = text_answer
        return answers

    def _is_unsure(self, answer: Answer, route: Route) -> bool:
        return route.adapter_id is None or answer.confidence < self.settings.hybrid_threshold

    # -- weights ----------------------------------------------------------------------------------

    def _weights(
        self, chats: Sequence[Messages], questions: Sequence[str], routes: Sequence[Route], max_tokens: int
    ) -> list[Answer]:
        asked = [Prompt(c, r.adapter_id) for c, r in zip(chats, routes, strict=True)]
        limit = max(max_tokens, self.settings.recite_max_tokens) if self.settings.two_step else max_tokens
        first = self.engine.complete(asked, max_tokens=limit)
        answers = [self._of_weights(c, r) for c, r in zip(first, routes, strict=True)]
        if not self.settings.two_step:
            return answers
        return self._second_step(answers, questions, routes, max_tokens)

    def _second_step(
        self, answers: list[Answer], questions: Sequence[str], routes: Sequence[Route], max_tokens: int
    ) -> list[Answer]:
        """Let the base read the answer off what a shard recited; its own closed-book words stay as they are."""
        places = [n for n, r in enumerate(routes) if r.adapter_id is not None and answers[n].text]
        asked = [Prompt(prompts.read(answers[n].text, questions[n])) for n in places]
        for n, read in zip(places, self.engine.complete(asked, max_tokens=max_tokens), strict=True):
            first = answers[n]
            answers[n] = replace(
                first,
                text=read.text or first.text,
                confidence=min(first.confidence, read.confidence),
                prompt_tokens=first.prompt_tokens + read.prompt_tokens,
                generated_tokens=first.generated_tokens + read.generated_tokens,
                recited=first.text,
            )
        return answers

    def _of_weights(self, completion: Completion, route: Route) -> Answer:
        shards = (UsedShard(route.adapter_id, route.coverage),) if route.adapter_id is not None else ()
        return Answer(
            completion.text,
            completion.confidence,
            Mode.WEIGHTS,
            self.snapshot,
            shards,
            completion.prompt_tokens,
            completion.generated_tokens,
            route.interaction_ids,
        )

    # -- retrieval --------------------------------------------------------------------------------

    def _retrieval(self, chats: Sequence[Messages], questions: Sequence[str], max_tokens: int) -> list[Answer]:
        found = [
            self.ledger.search(
                q,
                limit=self.settings.retrieval_passages,
                standings=(Standing.PENDING, Standing.LEARNED, Standing.REFUSED),
            )
            for q in questions
        ]
        asked = [
            Prompt(_with_passages(chat, [h.interaction.text for h in hits]))
            for chat, hits in zip(chats, found, strict=True)
        ]
        done = self.engine.complete(asked, max_tokens=max_tokens)
        return [
            Answer(
                c.text,
                c.confidence,
                Mode.RETRIEVAL,
                self.snapshot,
                (),
                c.prompt_tokens,
                c.generated_tokens,
                tuple(h.interaction.id for h in hits),
            )
            for c, hits in zip(done, found, strict=True)
        ]


def _with_passages(chat: Messages, passages: Sequence[str]) -> Messages:
    """The chat with the passages in front of its last user message."""
    if not passages:
        return chat
    last = dict(chat[-1])
    last["content"] = prompts.read_passages(passages, last["content"])[-1]["content"]
    return [*chat[:-1], last]
