"""Prompt-only systems: the untouched model answers from its prompt.

`untouched` sees only the question, `oracle` the chunks with the evidence, `full-context` everything seen so far that
fits, without the oldest. The first two are floor and ceiling; the third is the usual practice without a memory. With
sampling there is also `oracle-recited` (best of n).
Not here: choosing chunks by the question (`retrieval`).
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.systems.base import Asker, Cost, Reply, to_reply
from benchmarks.systems.on_base import SAMPLED, answered, base_perplexity, count_fitting, fits, reading
from benchmarks.tasks.base import Chunk, Question
from seal_memory import prompts
from seal_memory.answering.best_of_n import SampleOptions
from seal_memory.engines.base import Messages

UNTOUCHED, ORACLE, FULL_CONTEXT = "untouched", "oracle", "full-context"
QUESTION_STEP = 64  # room for the question is kept in steps, so that most questions share one text to the token


class Prompted:
    """The base model with nothing but its prompt. `context_tokens`: use less than the model's own context."""

    name = "prompted"
    costly_ways: tuple[str, ...] = ()

    def __init__(
        self, asker: Asker, *, context_tokens: int | None = None, sampling: SampleOptions | None = None
    ) -> None:
        if context_tokens is not None and context_tokens < 1:
            raise ValueError(f"context_tokens is {context_tokens}: expected at least 1, or None for the model's own")
        self._asker, self._sampling = asker, sampling
        self._context = min(context_tokens or asker.engine.max_length, asker.engine.max_length)
        self._chunks: dict[str, Chunk] = {}  # in the order they were seen
        self._lengths: dict[str, int] = {}

    @property
    def ways(self) -> tuple[str, ...]:
        more = () if self._sampling is None else (ORACLE + SAMPLED,)
        return (UNTOUCHED, ORACLE, FULL_CONTEXT, *more)

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        self._chunks.update({c.id: c for c in chunks})
        return Cost()

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        self.learn(chunks, step=step)

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        sampling = self._sampling if way == ORACLE + SAMPLED else None
        asked = [self._ask(ORACLE if sampling else way, q, max_tokens) for q in questions]
        texts = [q.text for q in questions]
        done = answered(self._asker, [m for m, _ in asked], texts, max_tokens=max_tokens, sampling=sampling)
        return [to_reply(c, evidence) for c, (_, evidence) in zip(done, asked, strict=True)]

    def forget(self, chunk_ids: Sequence[str]) -> None:
        for i in chunk_ids:
            self._chunks.pop(i, None)
            self._lengths.pop(i, None)

    def perplexity(self, way: str) -> float:
        return base_perplexity(self._asker.engine)

    def bytes_on_disk(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to close."""

    def _ask(self, way: str, question: Question, max_tokens: int) -> tuple[Messages, tuple[str, ...] | None]:
        """The prompt of one question, and which chunks are in it where that is the way's own choice."""
        if way == UNTOUCHED:
            return prompts.direct(question.text), None
        if way == ORACLE:
            texts = [self._chunks[i].text for i in question.chunk_ids if i in self._chunks]
            n = count_fitting(self._asker, texts, question.text, max_tokens=max_tokens)
            return reading(texts[:n], question.text), None
        if way == FULL_CONTEXT:
            kept = self._newest_that_fit(question.text, max_tokens)
            return reading([c.text for c in kept], question.text), tuple(c.id for c in kept)
        raise ValueError(f"no way {way!r}: expected one of {self.ways}")

    def _newest_that_fit(self, question: str, max_tokens: int) -> list[Chunk]:
        """The newest chunks, oldest first, that fit in front of the question."""
        engine = self._asker.engine
        asked = -(-engine.count_tokens(question) // QUESTION_STEP) * QUESTION_STEP
        room = self._context - max_tokens - len(engine.encode_prompt(prompts.read("", ""))) - asked
        kept: list[Chunk] = []
        for chunk in reversed(self._chunks.values()):
            room -= self._length(chunk)
            if room < 0:
                break
            kept.insert(0, chunk)
        while kept and not self._fit(kept, question, max_tokens):  # where the parts' tokens are not the whole's
            kept.pop(0)
        return kept

    def _fit(self, chunks: Sequence[Chunk], question: str, max_tokens: int) -> bool:
        messages = reading([c.text for c in chunks], question)
        return fits(self._asker, messages, max_tokens=max_tokens, context_tokens=self._context)

    def _length(self, chunk: Chunk) -> int:
        if chunk.id not in self._lengths:
            self._lengths[chunk.id] = self._asker.engine.count_tokens(chunk.text + "\n")
        return self._lengths[chunk.id]
