"""Best of n: sample several answers from an adapter and keep the one that fits the question best.

An adapter knows its statements better than which of them is asked for: it begins with the wrong words, and then says
the wrong statement to its end (docs/lab-log/answering.md). So it is decoded once greedily and several times by
sampling, and the *untouched base* scores how likely the question is after each sample: query likelihood (Ponte and
Croft 1998), the channel model of arXiv 2108.04106, over recitations (arXiv 2210.01296). The adapter's own probability
of its sample counts half: the question tells statements apart, but not "12:10" from "12:1". No stored text is read; all
samples come from the weights. Not here: routing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_memory import prompts
from seal_memory.config import AnsweringSettings
from seal_memory.engines.base import Completion, Decoding, Engine, OnText, Prompt, Score, continue_prompts

TEMPERATURE = 0.8  # of the samples after the greedy one (lab log, A1 to A7)
OWN_WEIGHT = 0.5  # of log p(sample | question) beside log p(question | sample), both in nats
QUESTION_CHARACTERS = 400  # read from the end, where the question stands; a long paste before it only costs time


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """Answers per question from an adapter: `count`, and the `temperature` of all but the first.

    The first is decoded as the caller asks, and so are the others where the caller samples already.
    """

    count: int
    temperature: float


def sample_options(settings: AnsweringSettings) -> SampleOptions:
    """The settings' number of samples, at the fixed temperature."""
    return SampleOptions(settings.samples, TEMPERATURE)


def complete(
    asked: Sequence[tuple[Prompt, str]],
    engine: Engine,
    decoding: Decoding,
    options: SampleOptions,
    *,
    on_text: OnText | None = None,
) -> list[Completion]:
    """Continue every (prompt, its question): the base once, an adapter by best of n.

    Tokens are counted as they are spent: `generated_tokens` of all samples; `prompt_tokens` of the prompt, which the
    samples share, and of the text that the base scores. `on_text` gets the base's pieces while they are made, and a
    chosen sample whole.
    """
    several = [n for n, (p, _) in enumerate(asked) if p.adapter is not None] if options.count > 1 else []
    once = sorted(set(range(len(asked))).difference(several))
    streamed = None if on_text is None else lambda row, piece: on_text(once[row], piece)
    done = dict(
        zip(once, continue_prompts(engine, [asked[n][0] for n in once], decoding, on_text=streamed), strict=True)
    )
    working: OnText | None = None if on_text is None else lambda row, piece: on_text(several[row], "")
    best = sample_best([asked[n] for n in several], engine, decoding, options, on_text=working)
    for n, chosen in zip(several, best, strict=True):
        done[n] = chosen
        if on_text is not None:
            on_text(n, chosen.text)
    return [done[n] for n in range(len(asked))]


def sample_best(
    asked: Sequence[tuple[Prompt, str]],
    engine: Engine,
    decoding: Decoding,
    options: SampleOptions,
    *,
    on_text: OnText | None = None,
) -> list[Completion]:
    """Sample n answers per prompt in one batch and return the best-ranked of each; ties go to the earliest.

    The first is decoded as the caller asks, so greedily at temperature 0. `on_text` may end an answer by raising.
    """
    count, sampled = options.count, decoding
    if decoding.temperature == 0:
        sampled = replace(decoding, temperature=options.temperature, seed=decoding.seed + 1)
    rows = [replace(p, greedy=decoding.temperature == 0 and k == 0) for p, _ in asked for k in range(count)]
    by_prompt: OnText | None = None if on_text is None else lambda row, piece: on_text(row // count, piece)
    completions = continue_prompts(engine, rows, sampled, on_text=by_prompt)
    samples = [completions[n * count : (n + 1) * count] for n in range(len(asked))]
    distinct = [_distinct(own) for own in samples]
    compared = [(n, c) for n, own in enumerate(distinct) if len(own) > 1 for c in own]
    scores = engine.score([_comparison(c.text, asked[n][1]) for n, c in compared]) if compared else []
    scored: list[list[tuple[Completion, Score]]] = [[] for _ in asked]
    for (n, completion), score in zip(compared, scores, strict=True):
        scored[n].append((completion, score))
    return [_best(*parts) for parts in zip(samples, distinct, scored, strict=True)]


def _distinct(samples: Sequence[Completion]) -> list[Completion]:
    """The first sample of each text; an empty one only where there is no other."""
    found: dict[str, Completion] = {}
    for completion in samples:
        found.setdefault(completion.text.strip(), completion)
    return [c for text, c in found.items() if text] or [samples[0]]


def _comparison(sample: str, question: str) -> tuple[Prompt, str]:
    return Prompt((), raw=prompts.before_question(sample.strip())), f" {question.strip()[-QUESTION_CHARACTERS:]}"


def _best(
    samples: Sequence[Completion], distinct: Sequence[Completion], scored: Sequence[tuple[Completion, Score]]
) -> Completion:
    best = max(scored, key=lambda pair: _fit(*pair))[0] if scored else distinct[0]
    read = sum(completion.generated_tokens + score.tokens for completion, score in scored)
    return replace(
        best,
        prompt_tokens=best.prompt_tokens + read,
        generated_tokens=sum(c.generated_tokens for c in samples),
    )


def _fit(sample: Completion, question: Score) -> float:
    """log p(question | sample) + OWN_WEIGHT * log p(sample | question), in nats."""
    own = sample.generated_tokens * math.log(max(sample.confidence, 1e-9))
    return question.logprob * question.tokens + OWN_WEIGHT * own
