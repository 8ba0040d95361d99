"""Reward of a trained candidate on held-out quiz items, by log-probability: generation is too coarse a signal.

    recall    share of answer tokens with p > 0.5, mixed with the answers' (geometric mean) probability
    gain      recall less the untouched base's
    - leak    gain of an adapter of *another* memory on the same items: not learned from this text
    - drift   nats a token lost on the fixed text, under the adapter itself and not through the router
    - old     recall lost on audited old quizzes, handed in
    + diverse notes that differ from each other (SEAL's notes collapse into one kind, arXiv 2506.10943)
    - excess  tokens over the budget: longer notes are trained more, but are no better
    - effort  tokens trained beyond the cheapest candidate of the same memory, as a multiple of its own

Not here: its reliability (`reliability`), its use (`bandit`, `rest_em`), other guards against hacking (`guards`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt, Score
from seal_memory.errors import InputError
from seal_memory.language.metrics import mean
from seal_memory.language.text import content_words
from seal_memory.learning import drift
from seal_memory.records import QuizItem

MAX_DRIFT = 5.0  # nats a token; the loss assumed for a diverged adapter
DRIFT_PARAGRAPHS = 3  # of the fixed text: all ten cost as much as the training, and the gate reads them anyway
MAX_COMPARED = 24  # notes compared with each other, evenly spaced: pairs grow with the square


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """The weight of each part. Only `drift` was measured (lab log, P28 to P30); the others were set by hand."""

    probability: float = 0.5  # of the answers' probability in recall; the rest is the share of tokens with p > 0.5
    specificity: float = 1.0  # per recall that an adapter of another memory gains
    drift: float = 0.1  # per nat a token; at 0.5 its noise hides what notes gain (lab log, P28 to P30)
    old_loss: float = 1.0  # per recall lost on audited old quizzes: as dear as recall gained
    diversity: float = 0.05  # for notes that have nothing in common
    length: float = 0.2  # per share of tokens over the budget
    training: float = 0.02  # per multiple of the tokens that the cheapest candidate trains


WEIGHTS = RewardWeights()


@dataclass(frozen=True, slots=True)
class Trial:
    """A trained candidate to reward. `rival`: an adapter of another memory in the same stack, if there is one.

    `tokens`: those of its notes; `token_budget`: how many are free (0: no budget). `effort`: see
    `efforts`.
    """

    adapter: str
    quiz: tuple[QuizItem, ...]
    rival: str | None = None
    notes: tuple[str, ...] = ()
    tokens: int = 0
    token_budget: int = 0
    old_loss: float = 0.0
    effort: float = 0.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a reward: recalls 0..1, drift in nats a token, excess a share, effort a multiple."""

    recall: float
    base: float
    rival: float | None = None
    drift: float = 0.0
    old_loss: float = 0.0
    diversity: float = 0.0
    excess: float = 0.0
    effort: float = 0.0


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward: `value` to maximise, and its parts."""

    value: float
    parts: Parts = field(compare=False)

    @property
    def gain(self) -> float:
        """Recall over the base's."""
        return self.parts.recall - self.parts.base


def value_of(parts: Parts, weights: RewardWeights) -> float:
    """The weighted sum. A rival that *loses* recall, and fixed text that gets likelier, add nothing."""
    leak = max(0.0, parts.rival - parts.base) if parts.rival is not None else 0.0
    return (
        parts.recall
        - parts.base
        - weights.specificity * leak
        - weights.drift * max(0.0, parts.drift)
        - weights.old_loss * max(0.0, parts.old_loss)
        + weights.diversity * parts.diversity
        - weights.length * max(0.0, parts.excess)
        - weights.training * max(0.0, parts.effort)
    )


def measure(trials: Sequence[Trial], engine: Engine, *, weights: RewardWeights = WEIGHTS) -> list[Reward]:
    """The reward of every trial; all answers are scored in one batch, the base's from a cache.

    Raises `InputError` for a trial without a quiz item.
    """
    for trial in trials:
        if not trial.quiz:
            raise InputError(
                f"Candidate {trial.adapter!r} has no held-out quiz item; expected one or more, or no trial."
            )
    recalls = _recalls(trials, engine, weights.probability)
    drifts = _drifts([t.adapter for t in trials], engine)
    rewards = []
    for trial in trials:
        ids = tuple(i.id for i in trial.quiz)
        parts = Parts(
            recalls[trial.adapter, ids],
            recalls[None, ids],
            recalls[trial.rival, ids] if trial.rival is not None else None,
            drifts[trial.adapter],
            trial.old_loss,
            diversity(trial.notes),
            excess(trial.tokens, trial.token_budget),
            trial.effort,
        )
        rewards.append(Reward(value_of(parts, weights), parts))
    return rewards


def diversity(notes: Sequence[str]) -> float:
    """1 less the mean overlap (Jaccard) of the notes' content words over all pairs; 0.0 for fewer than two notes."""
    if len(notes) > MAX_COMPARED:
        notes = [notes[n * len(notes) // MAX_COMPARED] for n in range(MAX_COMPARED)]
    words = [frozenset(content_words(note)) for note in notes]
    return mean(1 - _overlap(a, b) for a, b in combinations(words, 2))


def excess(tokens: int, budget: int) -> float:
    """The share by which `tokens` exceed the budget; 0 without a budget."""
    return max(0.0, tokens / budget - 1) if budget > 0 else 0.0


def efforts(trained: Sequence[int]) -> list[float]:
    """Trained tokens of each candidate of one memory over the cheapest one's, less 1."""
    least = min((t for t in trained if t > 0), default=0)
    return [max(0.0, t / least - 1) if least else 0.0 for t in trained]


def rivals(groups: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """A rival for each adapter: one of the next group (another memory) of the stack; None where there is none."""
    names = list(groups)
    found: dict[str, str | None] = {}
    for n, name in enumerate(names):
        others = groups[names[(n + 1) % len(names)]] if len(names) > 1 else ()
        for k, adapter in enumerate(groups[name]):
            found[adapter] = others[k % len(others)] if others else None
    return found


def recall(score: Score, probability: float = WEIGHTS.probability) -> float:
    """Recall of one item, 0..1; 0 for a diverged adapter."""
    if math.isnan(score.logprob):
        return 0.0
    return (1 - probability) * score.share_likely + probability * math.exp(min(0.0, score.logprob))


_Asked = tuple[str | None, tuple[str, ...]]  # adapter, ids of the quiz


def _recalls(trials: Sequence[Trial], engine: Engine, probability: float) -> dict[_Asked, float]:
    """Mean recall per (adapter, quiz), for every trial's adapter, its rival and the base."""
    asked: dict[_Asked, tuple[QuizItem, ...]] = {}
    for trial in trials:
        for adapter in (trial.adapter, trial.rival, None):
            asked[adapter, tuple(i.id for i in trial.quiz)] = trial.quiz
    requests = [
        (Prompt(prompts.direct(item.question), adapter), item.answer)
        for (adapter, _), quiz in asked.items()
        for item in quiz
    ]
    scores = iter(base_cache.score(engine, requests))
    return {key: mean(recall(next(scores), probability) for _ in quiz) for key, quiz in asked.items()}


def _drifts(adapters: Sequence[str], engine: Engine) -> dict[str, float]:
    """Nats a token that each adapter loses on `DRIFT_PARAGRAPHS` paragraphs of the fixed text."""
    once = list(dict.fromkeys(adapters))
    base, *own = drift.fixed_text_logprobs(engine, [None, *once], paragraphs=DRIFT_PARAGRAPHS)
    return {a: MAX_DRIFT if math.isnan(p) else min(MAX_DRIFT, base - p) for a, p in zip(once, own, strict=True)}


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
