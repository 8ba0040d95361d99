"""Answering in four modes, weights, retrieval, hybrid or compose, for questions and chats, in batches.

Weights: the router picks a shard per question, and the best of n samples is the answer. Retrieval: BM25 passages in the
prompt of the untouched base. Hybrid: weights first, text where the router abstains or the answer's token probabilities
are low. Compose: the adapters recite short notes, and the untouched base answers with these in its prompt. Text is
streamed while it is made where it is certain to be the answer, else whole. Not here: publishing, checking a chat
(`conversation`), making notes (`recollecting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from seal_memory import prompts
from seal_memory.answering import best_of_n
from seal_memory.answering.cues import cues_of, cues_of_text
from seal_memory.answering.recollecting import Recollection, recollect
from seal_memory.answering.tool_calls import ToolCall
from seal_memory.config import AnsweringSettings
from seal_memory.engines.base import (
    Completion,
    Decoding,
    Engine,
    Finish,
    OnText,
    Prompt,
    TokenLogprob,
    continue_prompts,
)
from seal_memory.errors import InputError, PromptTooLongError
from seal_memory.ledger import Ledger
from seal_memory.ledger.arguments import require_string
from seal_memory.records import Hit, Status
from seal_memory.routing.router import Route, Router

NO_ROUTE = Route()


class Mode(StrEnum):
    """Sources of an answer: the weights, retrieved text, weights first and text where they are unsure, or the untouched
    base with the notes that the weights recite.

    The last is not called "recall": that name is taken by the search of stored texts (`SealMemory.recall`).
    """

    WEIGHTS = "weights"
    RETRIEVAL = "retrieval"
    HYBRID = "hybrid"
    COMPOSE = "compose"


@dataclass(frozen=True, slots=True)
class UsedShard:
    """A shard that answered and the router's score for it, 0..1."""

    adapter_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and where it came from.

    `mode` is the mode that was taken, never "hybrid". `confidence` is the geometric mean of the answer's token
    probabilities, 0..1. `snapshot` is the version that answered, None for the untouched base. `sources` are ids of the
    interactions behind it. `prompt_tokens` counts every prompt of this answer, `generated_tokens` all of its samples.
    `finish` is "length" where `max_tokens` ended it, "tool_calls" where it holds `tool_calls`; `text` is what stands
    beside them. `tokens` is empty unless log-probabilities were asked for. `notes` is what the weights recited and the
    base then read, in compose mode; empty where the memory was silent.
    """

    text: str
    confidence: float
    mode: Mode
    snapshot: int | None
    shards: tuple[UsedShard, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0
    sources: tuple[str, ...] = ()
    finish: Finish | Literal["tool_calls"] = "stop"
    tokens: tuple[TokenLogprob, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    notes: tuple[str, ...] = ()


def parse_mode(mode: str) -> Mode:
    """The mode of that name. Raises `InputError` naming the known modes."""
    name = require_string(mode, "mode")
    try:
        return Mode(name)
    except ValueError:
        raise InputError(f"Unknown mode {mode!r}; expected one of {[m.value for m in Mode]}.") from None


def check_questions(questions: Sequence[str]) -> list[str]:
    """Return the questions as a list. Raises `InputError` when one is empty."""
    if any(not q.strip() for q in questions):
        raise InputError("The question is empty; expected text.")
    return list(questions)


class Answerer:
    """Answers questions with one engine, router and ledger; holds no state of its own."""

    def __init__(
        self, engine: Engine, router: Router, ledger: Ledger, settings: AnsweringSettings, *, snapshot: int | None
    ) -> None:
        self.engine, self.router, self.ledger = engine, router, ledger
        self.settings, self.snapshot = settings, snapshot

    def answer(self, questions: Sequence[str], mode: Mode, *, max_tokens: int) -> list[Answer]:
        """Answer the questions, in order."""
        asked = [Prompt(prompts.direct(q)) for q in questions]
        return self.converse(asked, questions, mode, Decoding(max_tokens))

    def converse(
        self,
        asked: Sequence[Prompt],
        questions: Sequence[str],
        mode: Mode,
        decoding: Decoding,
        *,
        on_text: OnText | None = None,
    ) -> list[Answer]:
        """Continue each prompt; `questions[i]`, its last user message, is the query of routing and search.

        `on_text(i, piece)` gets answer i piece by piece. In hybrid mode an answer from the weights comes whole, once
        its confidence is known, and empty pieces come meanwhile. Raises `InputError` for options that the engine lacks.
        """
        turns = [_Turn(n, p, q) for n, (p, q) in enumerate(zip(asked, questions, strict=True))]
        if mode is Mode.RETRIEVAL:
            done = self._retrieval(turns, decoding, on_text)
        elif mode is Mode.COMPOSE:
            done = self._compose(turns, decoding, on_text)
        else:
            routed = [replace(t, route=self.router.route(t.question)) for t in turns]
            answer = self._weights if mode is Mode.WEIGHTS else self._hybrid
            done = answer(routed, decoding, on_text)
        return [done[n] for n in range(len(turns))]

    # -- hybrid -----------------------------------------------------------------------------------

    def _hybrid(self, turns: Sequence[_Turn], decoding: Decoding, on_text: OnText | None) -> dict[int, Answer]:
        """Retrieval where the router abstains and passages match; else weights, and retrieval where they are unsure."""
        abstaining = {t.place: self._search(t.question) for t in turns if t.route.adapter_id is None}
        by_text = [t for t in turns if abstaining.get(t.place)]
        done = self._retrieval(by_text, decoding, on_text)
        alone = [t for t in turns if t.place in abstaining and not abstaining[t.place]]
        done |= self._weights(alone, decoding, on_text)
        return done | self._weights_or_text([t for t in turns if t.place not in abstaining], decoding, on_text)

    def _weights_or_text(self, turns: Sequence[_Turn], decoding: Decoding, on_text: OnText | None) -> dict[int, Answer]:
        """The weights' answers where they are confident, and only those are streamed; else retrieval."""
        done = self._weights(turns, decoding, _without_text(on_text))
        unsure = [t for t in turns if done[t.place].confidence < self.settings.hybrid_threshold]
        by_text = [t for t in unsure if self._search(t.question)]
        if on_text is not None:
            for place in sorted(done.keys() - {t.place for t in by_text}):
                on_text(place, done[place].text)
        return done | self._retrieval(by_text, decoding, on_text)

    # -- weights ----------------------------------------------------------------------------------

    def _weights(self, turns: Sequence[_Turn], decoding: Decoding, on_text: OnText | None) -> dict[int, Answer]:
        if not turns:
            return {}
        completions = best_of_n.complete(
            [(replace(t.prompt, adapter=t.route.adapter_id), t.question) for t in turns],
            self.engine,
            decoding,
            best_of_n.sample_options(self.settings),
            on_text=_by_place(on_text, turns),
        )
        return {t.place: self._of_weights(c, t.route) for c, t in zip(completions, turns, strict=True)}

    def _of_weights(self, completion: Completion, route: Route) -> Answer:
        shards = () if route.adapter_id is None else (UsedShard(route.adapter_id, route.score),)
        return self._answer(completion, Mode.WEIGHTS, shards, route.interaction_ids)

    # -- retrieval --------------------------------------------------------------------------------

    def _search(self, question: str) -> list[Hit]:
        return self.ledger.search(
            question,
            limit=self.settings.retrieval_passages,
            statuses=(Status.PENDING, Status.LEARNED, Status.REFUSED),
        )

    def _retrieval(self, turns: Sequence[_Turn], decoding: Decoding, on_text: OnText | None) -> dict[int, Answer]:
        if not turns:
            return {}
        found = [self._search(t.question) for t in turns]
        asked = [
            _with_passages(t.prompt, [h.interaction.text for h in hits]) for t, hits in zip(turns, found, strict=True)
        ]
        completions = continue_prompts(self.engine, asked, decoding, on_text=_by_place(on_text, turns))
        return {
            t.place: self._answer(c, Mode.RETRIEVAL, (), tuple(h.interaction.id for h in hits))
            for c, t, hits in zip(completions, turns, found, strict=True)
        }

    # -- compose ----------------------------------------------------------------------------------

    def recollect(self, asked: Sequence[Prompt], *, on_text: OnText | None = None) -> list[Recollection]:
        """The notes that the weights recite about each prompt, closed book; empty where the memory is not sure."""
        cues = [cues_of(p.messages) if p.raw is None else cues_of_text(p.raw) for p in asked]
        return recollect(cues, self.engine, self.router, on_text=on_text)

    def _compose(self, turns: Sequence[_Turn], decoding: Decoding, on_text: OnText | None) -> dict[int, Answer]:
        """The untouched base's answers with the notes in their prompts; without notes the prompt is untouched, too.

        Notes that do not fit the model's context beside the conversation are left out, of the answers' `notes` too.
        """
        if not turns:
            return {}
        distinct = list({_identity(t.prompt): t.prompt for t in turns}.values())  # samples of one chat share notes
        told = dict(
            zip(map(_identity, distinct), self.recollect(distinct, on_text=_without_text(on_text)), strict=True)
        )
        found = [told[_identity(t.prompt)] for t in turns]
        asked = [_with_notes(t.prompt, r.texts) for t, r in zip(turns, found, strict=True)]
        streamed = _by_place(on_text, turns)
        try:
            completions = continue_prompts(self.engine, asked, decoding, on_text=streamed)
        except PromptTooLongError:  # raised before anything is computed
            if asked == [t.prompt for t in turns]:
                raise
            found = [replace(r, notes=()) for r in found]
            completions = continue_prompts(self.engine, [t.prompt for t in turns], decoding, on_text=streamed)
        return {t.place: self._composed(c, r) for c, t, r in zip(completions, turns, found, strict=True)}

    def _composed(self, done: Completion, recollection: Recollection) -> Answer:
        shards = tuple(UsedShard(r.adapter_id, r.score) for r in recollection.routes if r.adapter_id is not None)
        answer = self._answer(done, Mode.COMPOSE, shards, recollection.sources)
        return replace(
            answer,
            prompt_tokens=done.prompt_tokens + recollection.prompt_tokens,
            generated_tokens=done.generated_tokens + recollection.generated_tokens,
            notes=recollection.texts,
        )

    def _answer(self, done: Completion, mode: Mode, shards: tuple[UsedShard, ...], sources: tuple[str, ...]) -> Answer:
        return Answer(
            done.text,
            done.confidence,
            mode,
            self.snapshot,
            shards,
            done.prompt_tokens,
            done.generated_tokens,
            sources,
            finish=done.finish,
            tokens=done.tokens,
        )


@dataclass(frozen=True, slots=True)
class _Turn:
    """One prompt to continue, its place among the answers, its query, and its route."""

    place: int
    prompt: Prompt
    question: str
    route: Route = NO_ROUTE


def _by_place(on_text: OnText | None, turns: Sequence[_Turn]) -> OnText | None:
    """The callback with a turn's place among the answers in place of its row in this batch."""
    return None if on_text is None else lambda row, piece: on_text(turns[row].place, piece)


def _without_text(on_text: OnText | None) -> OnText | None:
    """The callback with empty pieces only: it shows that work goes on, and may end it by raising."""
    return None if on_text is None else lambda row, piece: on_text(0, "")


def _identity(prompt: Prompt) -> int | str:
    return id(prompt.messages) if prompt.raw is None else prompt.raw


def _with_notes(prompt: Prompt, notes: Sequence[str]) -> Prompt:
    """The prompt with the notes at the end of its system message, or as one; before its raw text."""
    if not notes:
        return prompt
    told = prompts.remembered(notes)
    if prompt.raw is not None:
        return replace(prompt, raw=f"{told}\n\n{prompt.raw}")
    first, *rest = prompt.messages
    if first["role"] == "system":
        return replace(prompt, messages=[{**first, "content": f"{first['content']}\n\n{told}"}, *rest])
    return replace(prompt, messages=[{"role": "system", "content": told}, *prompt.messages])


def _with_passages(prompt: Prompt, passages: Sequence[str]) -> Prompt:
    """The prompt with the passages in front of its last user message, or of its raw text."""
    if not passages:
        return prompt
    if prompt.raw is not None:
        return replace(prompt, raw="\n".join([*passages, prompt.raw]))
    place = max((n for n, m in enumerate(prompt.messages) if m["role"] == "user"), default=len(prompt.messages) - 1)
    last = dict(prompt.messages[place])
    last["content"] = prompts.read_passages(passages, last["content"])[-1]["content"]
    return replace(prompt, messages=[*prompt.messages[:place], last, *prompt.messages[place + 1 :]])
