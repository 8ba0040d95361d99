"""Shared parts of systems that answer with the untouched base and only choose its prompt.

The prompt of a question holds as many texts as fit; without any it is closed book. Ways with the suffix `SAMPLED`
answer by best of n, as the weights do; the others answer once, greedily. Not here: choosing texts (`prompted`,
`retrieval`), systems that change the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from benchmarks.systems.base import Asker
from seal_memory import prompts
from seal_memory.answering.best_of_n import SampleOptions, sample_best
from seal_memory.engines.base import Completion, Decoding, Engine, Messages, Prompt
from seal_memory.learning.drift import fixed_paragraphs, perplexity

SAMPLED = "-recited"

_perplexities: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def base_perplexity(engine: Engine) -> float:
    """Perplexity of the untouched base on the fixed text; computed once for an engine."""
    if engine not in _perplexities:
        _perplexities[engine] = perplexity(engine, [None] * len(fixed_paragraphs()))
    return _perplexities[engine]


def reading(texts: Sequence[str], question: str) -> Messages:
    """Answer from the texts; closed book without any."""
    return prompts.read_passages(texts, question) if texts else prompts.direct(question)


def fits(asker: Asker, messages: Messages, *, max_tokens: int, context_tokens: int | None = None) -> bool:
    """Whether the prompt and the answer fit into the model's context, or a smaller one."""
    room = min(asker.engine.max_length, context_tokens or asker.engine.max_length)
    return len(asker.engine.encode_prompt(messages)) + max_tokens <= room


def count_fitting(asker: Asker, texts: Sequence[str], question: str, *, max_tokens: int) -> int:
    """How many of the texts, best first, fit in front of the question."""
    for n in range(len(texts), 0, -1):
        if fits(asker, reading(texts[:n], question), max_tokens=max_tokens):
            return n
    return 0


def answered(
    asker: Asker,
    asked: Sequence[Messages],
    questions: Sequence[str],
    *,
    max_tokens: int,
    sampling: SampleOptions | None,
) -> list[Completion]:
    """Complete every prompt: greedily, or by best of n."""
    rows = [Prompt(messages) for messages in asked]
    if sampling is None:
        return asker.ask(rows, max_tokens=max_tokens)
    return sample_best(list(zip(rows, questions, strict=True)), asker, Decoding(max_tokens), sampling)
