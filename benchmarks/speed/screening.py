"""Our way of grading candidates: one stack, one pass of log-probabilities, generation for the finalists.

Also how often that screen's choice is the one that generation for everybody would have made. Not here: the other ways
and the ratios (`grading`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

import torch

from benchmarks.speed import candidates as made
from benchmarks.speed.bench import Bench, Figures
from benchmarks.speed.candidates import Candidate, Work
from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.quizzes.grading import contains


class Stack:
    """The trained candidates in the engine, under names of their own; `close` takes them out."""

    def __init__(self, bench: Bench, work: Work) -> None:
        self.bench, self.work = bench, work
        self.names = [f"speed:{n}" for n in range(len(work.candidates))]
        self._trained = False

    def close(self) -> None:
        for name in self.names if self._trained else ():
            self.bench.engine.drop(name)

    def graded(self) -> Figures:
        """Train all, screen all, generate for the finalists; seconds for a candidate and for each stage."""
        began = time.perf_counter()
        self._train()
        trained = time.perf_counter()
        likely = self._screen()
        screened = time.perf_counter()
        finalists = sorted(self.names, key=lambda n: -likely[n])[: self.bench.options.finalists]
        self._correct(finalists)
        done, count = time.perf_counter(), len(self.names)
        return {
            "seconds_per_candidate": (done - began) / count,
            "training_seconds": (trained - began) / count,
            "grading_seconds": (done - trained) / count,
            "training_share": (trained - began) / (done - began),
            "screen_seconds": (screened - trained) / count,
            "finalist_seconds": (done - screened) / count,
            "total_seconds": done - began,
            "tokens_per_second": sum(c.tokens for c in self.work.candidates) / (trained - began),
            "dtype": self.bench.hardware.base_dtype,
            "extrapolated": False,
            "token_budget": self.bench.settings.token_budget,
            "threads": torch.get_num_threads(),
        }

    def agreement(self) -> Figures:
        """Generation for every candidate: is the screen's best among the best, and do the finalists hold one?"""
        if not self._trained:
            self._train()
        likely = self._screen()
        began = time.perf_counter()
        correct = self._correct(self.names)
        seconds = time.perf_counter() - began
        best = max(correct.values())
        order = sorted(self.names, key=lambda n: -likely[n])
        return {
            "screens_best_is_best": correct[order[0]] == best,
            "a_finalist_is_best": best in [correct[n] for n in order[: self.bench.options.finalists]],
            "recall_best": best,
            "recall_of_screens_best": correct[order[0]],
            "recall_mean": fmean(correct.values()),
            "generating_for_all_seconds": seconds,
        }

    def _train(self) -> None:
        engine = self.bench.engine
        recipe = made.recipe(self.bench, pad_to=None)
        config = LoraConfig(recipe.rank, float(recipe.alpha), made.targets(self.bench))
        adapters = [engine.stack.create(config, seed=c.seed) for c in self.work.candidates]
        jobs = [_job(a, c, recipe.learning_rate) for a, c in zip(adapters, self.work.candidates, strict=True)]
        with engine.lock:
            train(engine.stack, jobs, token_budget=self.bench.settings.token_budget, pad_id=engine.pad_id)
        for name, adapter in zip(self.names, adapters, strict=True):
            engine.put(name, adapter)
        self._trained = True

    def _screen(self) -> dict[str, float]:
        """Mean log-probability of the answers, by candidate; everything in one call."""
        asked = [(Prompt(prompts.direct(q.text), n), q.answers[0]) for n in self.names for q in self.work.questions]
        scores = self.bench.engine.score(asked)
        each = len(self.work.questions)
        return {n: fmean(s.logprob for s in scores[k * each : (k + 1) * each]) for k, n in enumerate(self.names)}

    def _correct(self, names: Sequence[str]) -> dict[str, float]:
        """The share of questions answered right, by candidate; everything in one call."""
        asked = [Prompt(prompts.direct(q.text), n) for n in names for q in self.work.questions]
        answers = self.bench.engine.complete(asked, max_tokens=self.bench.options.max_tokens)
        each = len(self.work.questions)
        found: dict[str, float] = {}
        for k, name in enumerate(names):
            own = answers[k * each : (k + 1) * each]
            right = [contains(a.text, q.answers[0]) for a, q in zip(own, self.work.questions, strict=True)]
            found[name] = fmean(map(float, right))
        return found


def _job(adapter: LoraAdapter, candidate: Candidate, learning_rate: float) -> TrainingJob:
    return TrainingJob(adapter, candidate.rows, candidate.batches(), learning_rate)
