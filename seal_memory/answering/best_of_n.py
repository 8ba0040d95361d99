"""Recite a few times, keep what fits the question: how the weights are asked.

An adapter knows its statements better than which of them is asked for: it begins with the wrong words, and then says
the wrong statement to its end (lab log). So it recites greedily and by sampling, and the *untouched base*
says how likely the question is behind each recitation: query likelihood (Ponte and Croft 1998), the channel model of
arXiv 2108.04106, over recitations (arXiv 2210.01296). How likely the adapter found its own words counts half: the
question tells statements apart, but not "12:10" from "12:1". No stored text is read; all that is compared came out of
the weights. Not here: routing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_memory import prompts
from seal_memory.config import AnsweringSettings
from seal_memory.engines.base import Completion, Decoding, Engine, OnText, Prompt, Score, continue_prompts

TEMPERATURE = 0.8  # of the recitations after the first (LOG, A1 to A7)
OWN_WEIGHT = 0.5  # of log p(recitation | question) beside log p(question | recitation), both in nats
QUESTION_CHARACTERS = 400  # what is asked stands at the end; a long paste in front of it would only cost time


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How often an adapter recites, the first time as the caller decodes, and the temperature of the others where
    the caller has none.
    """

    count: int
    temperature: float


def sample_options(settings: AnsweringSettings) -> SampleOptions:
    """As the settings have them."""
    return SampleOptions(settings.samples, TEMPERATURE)


def ask(
    asked: Sequence[tuple[Prompt, str]],
    engine: Engine,
    decoding: Decoding,
    recitals: SampleOptions,
    *,
    on_text: OnText | None = None,
) -> list[Completion]:
    """Continue every (prompt, its question): the base once, an adapter as often as it shall recite.

    Tokens are counted as they are spent: `generated_tokens` of all recitations, `prompt_tokens` of the prompt (once,
    whose computation they share) and of what the base read to compare. `on_text` is told the base's pieces while they
    are made, and a chosen recitation whole.
    """
    several = [n for n, (p, _) in enumerate(asked) if p.adapter is not None] if recitals.count > 1 else []
    once = sorted(set(range(len(asked))).difference(several))
    told = None if on_text is None else lambda row, piece: on_text(once[row], piece)
    done = dict(zip(once, continue_prompts(engine, [asked[n][0] for n in once], decoding, on_text=told), strict=True))
    silent: OnText | None = None if on_text is None else lambda row, piece: on_text(several[row], "")
    recited = recite([asked[n] for n in several], engine, decoding, recitals, on_text=silent)
    for n, chosen in zip(several, recited, strict=True):
        done[n] = chosen
        if on_text is not None:
            on_text(n, chosen.text)
    return [done[n] for n in range(len(asked))]


def recite(
    asked: Sequence[tuple[Prompt, str]],
    engine: Engine,
    decoding: Decoding,
    recitals: SampleOptions,
    *,
    on_text: OnText | None = None,
) -> list[Completion]:
    """Of all recitations, made in one batch, what the question fits best; of equals the first made.

    The first is as the caller decodes, so greedy where that is. `on_text` may end an answer by raising.
    """
    count, sampled = recitals.count, decoding
    if decoding.temperature == 0:
        sampled = replace(decoding, temperature=recitals.temperature, seed=decoding.seed + 1)
    rows = [replace(p, greedy=decoding.temperature == 0 and k == 0) for p, _ in asked for k in range(count)]
    heard: OnText | None = None if on_text is None else lambda row, piece: on_text(row // count, piece)
    spoken = continue_prompts(engine, rows, sampled, on_text=heard)
    made = [spoken[n * count : (n + 1) * count] for n in range(len(asked))]
    distinct = [_distinct(own) for own in made]
    compared = [(n, c) for n, own in enumerate(distinct) if len(own) > 1 for c in own]
    scores = engine.score([_comparison(c.text, asked[n][1]) for n, c in compared]) if compared else []
    judged: list[list[tuple[Completion, Score]]] = [[] for _ in asked]
    for (n, completion), score in zip(compared, scores, strict=True):
        judged[n].append((completion, score))
    return [_chosen(*parts) for parts in zip(made, distinct, judged, strict=True)]


def _distinct(made: Sequence[Completion]) -> list[Completion]:
    """One of each text, empty ones only where there is nothing else."""
    found: dict[str, Completion] = {}
    for completion in made:
        found.setdefault(completion.text.strip(), completion)
    return [c for text, c in found.items() if text] or [made[0]]


def _comparison(recited: str, question: str) -> tuple[Prompt, str]:
    return Prompt((), raw=prompts.before_question(recited.strip())), f" {question.strip()[-QUESTION_CHARACTERS:]}"


def _chosen(
    made: Sequence[Completion], distinct: Sequence[Completion], judged: Sequence[tuple[Completion, Score]]
) -> Completion:
    best = max(judged, key=lambda pair: _fit(*pair))[0] if judged else distinct[0]
    read = sum(completion.generated_tokens + score.tokens for completion, score in judged)
    return replace(
        best,
        prompt_tokens=best.prompt_tokens + read,
        generated_tokens=sum(c.generated_tokens for c in made),
    )


def _fit(recitation: Completion, question: Score) -> float:
    """Nats: of the question behind the recitation, and half of the recitation's own."""
    own = recitation.generated_tokens * math.log(max(recitation.confidence, 1e-9))
    return question.logprob * question.tokens + OWN_WEIGHT * own
