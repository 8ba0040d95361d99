"""Rollout speed: new tokens a second of the engine, compared with `transformers.generate` and a vLLM server.

The prompts are real: closed-book quiz questions (little common prefix), and for "notes" the few-shot prompts that write
questions about a text (long common prefix): greedily, and "sampled" like notes, by temperature, top-k and top-p. The
others are greedy. For equal work the stop id never occurs; one more run has the model's own stops. "many" gives every
row its own adapter; transformers cannot, so there `one_by_one` rows are timed one after another and extrapolated
(`extrapolated`).

A running vLLM server is asked over HTTP: OpenAI completions with token ids as prompts, greedy, to the last token. Its
adapters are models by their loaded names. Its prefix cache may hold prompts from the warm-up, as in use. Not here:
starting a server, loading adapters into it, and equality of tokens (tests/engines); `same_tokens` is a sanity check.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.speed.bench import Bench, Figures, loaded_adapters, random_adapter, repeat, rollout, saved_folders
from benchmarks.systems.finetuning import TrainableBase
from seal_memory import prompts
from seal_memory.engines.decode import generate
from seal_memory.engines.sampling import GREEDY, Sampling
from seal_memory.errors import InputError
from seal_memory.language.spans import answer_spans
from seal_memory.language.text import sentences
from seal_memory.lora.adapter import LoraAdapter, LoraConfig

KINDS = ("notes", "sampled", "base", "one", "many")
SAMPLING = Sampling(temperature=0.7, top_k=50, top_p=0.95)
MOST = 3  # repetitions of which the best counts

Tokens = list[list[int]]


def run(bench: Bench) -> Figures:
    """A cell per batch size and kind; the vLLM server's beside it when there is one."""
    options = bench.options
    base = bench.plain_copy(bench.hardware.base_dtype)
    cells = []
    for batch in options.batches:
        for kind in KINDS:
            cells.append(bench.step(f"batch {batch}, {kind}", partial(_cell, bench, base, batch, kind)))
    largest = max(options.batches)
    stops = bench.step(f"batch {largest}, real stops", partial(_with_stops, bench, base, largest))
    found: Figures = {
        "new_tokens": options.new_tokens,
        "dtype": bench.hardware.base_dtype,
        "adapter": {"rank": options.rank, "targets": list(bench.settings.learning.target_modules)},
        "cells": cells,
        "real_stops": stops,
    }
    if options.vllm_url is not None:
        found["vllm"] = _vllm(bench, options.vllm_url)
    return found


def questions(bench: Bench, count: int) -> list[list[int]]:
    """Encoded closed-book prompts of real questions, repeated where the file has too few."""
    asked = [q for unit in bench.passages(len(bench.task.units)) for q in unit.questions]
    chosen = [asked[n % len(asked)] for n in range(count)]
    return [bench.engine.encode_prompt(prompts.direct(q.text)) for q in chosen]


def note_prompts(bench: Bench, count: int) -> list[list[int]]:
    """Encoded prompts for notes about real statements, repeated where the file has too few."""
    chunks = [unit.chunks[0].text for unit in bench.passages(len(bench.task.units))]
    asked = [(text, span.text) for chunk in chunks for text in sentences(chunk) for span in answer_spans(text)[:1]]
    chosen = [asked[n % len(asked)] for n in range(count)]
    return [bench.engine.encode_prompt(prompts.write_question(text, answer)) for text, answer in chosen]


def _cell(bench: Bench, base: TrainableBase, batch: int, kind: str) -> Figures:
    asked = (note_prompts if kind in ("notes", "sampled") else questions)(bench, batch)
    sampling = SAMPLING if kind == "sampled" else GREEDY
    adapters = _adapters(bench, batch, kind)
    never = int(bench.engine.model.config.vocab_size)  # no token has this id
    budget = bench.options.budget_seconds / (2 * len(KINDS) * len(bench.options.batches))
    ours, tokens = _ours(bench, asked, adapters, [never], budget, sampling)
    if kind == "many":
        theirs, known = _one_by_one(bench, base, asked, adapters, never)
    else:
        theirs, known = _batched(bench, base, asked, adapters[0], [never], budget, sampling)
    return {
        "batch": batch,
        "kind": kind,
        "tokens_per_second": ours,
        "transformers_tokens_per_second": theirs,
        "times_faster": ours / theirs,
        "extrapolated": kind == "many" and len(known) < batch,
        **({} if kind == "sampled" else {"same_tokens": _same(tokens, known)}),
    }


def _with_stops(bench: Bench, base: TrainableBase, batch: int) -> Figures:
    """The base with the model's own stops: rows end when they have something to end with."""
    asked = questions(bench, batch)
    stops = sorted(bench.engine.stop_ids)
    ours, tokens = _ours(bench, asked, [None] * batch, stops, budget=0.0)
    theirs, known = _batched(bench, base, asked, None, stops, budget=0.0)
    return {
        "batch": batch,
        "kind": "base",
        "tokens_per_second": ours,
        "transformers_tokens_per_second": theirs,
        "times_faster": ours / theirs,
        "new_tokens_of_a_row": sum(map(len, tokens)) / batch,
        "same_tokens": _same(tokens, known),
    }


def _adapters(bench: Bench, batch: int, kind: str) -> list[LoraAdapter | None]:
    if kind not in ("one", "many"):
        return [None] * batch
    options = bench.options
    config = LoraConfig(options.rank, 2.0 * options.rank, bench.settings.learning.target_modules)
    made = [random_adapter(bench.engine, config, seed=n) for n in range(batch if kind == "many" else 1)]
    return [made[n % len(made)] for n in range(batch)]


def _ours(
    bench: Bench,
    asked: Tokens,
    adapters: Sequence[LoraAdapter | None],
    stops: Sequence[int],
    budget: float,
    sampling: Sampling = GREEDY,
) -> tuple[float, Tokens]:
    engine, options = bench.engine, bench.options

    def once() -> Tokens:
        with engine.lock:
            done = generate(
                engine.stack,
                asked,
                adapters,
                max_new_tokens=options.new_tokens,
                stop_ids=frozenset(stops),
                pad_id=engine.pad_id,
                sampling=sampling,
            )
        return [list(g.ids) for g in done]

    return _best_rate(once, budget)


def _batched(
    bench: Bench,
    base: TrainableBase,
    asked: Tokens,
    adapter: LoraAdapter | None,
    stops: Sequence[int],
    budget: float,
    sampling: Sampling = GREEDY,
) -> tuple[float, Tokens]:
    """One batch of transformers, on the base or with one adapter for all rows."""
    limits: dict[str, Any] = {"max_new_tokens": bench.options.new_tokens, "pad_id": bench.engine.pad_id}
    limits["sampling"] = sampling
    if adapter is None:
        plain = base.load().model
        return _best_rate(lambda: rollout(plain, asked, stop_ids=stops, **limits), budget)
    with saved_folders([adapter]) as folders, loaded_adapters(base, folders) as model:
        return _best_rate(lambda: rollout(model, asked, stop_ids=stops, **limits), budget)


def _one_by_one(
    bench: Bench, base: TrainableBase, asked: Tokens, adapters: Sequence[LoraAdapter | None], stop: int
) -> tuple[float, Tokens]:
    """The first few rows, each with its own adapter, one after another; loading the adapters is not counted."""
    engine, count = bench.engine, min(len(asked), bench.options.one_by_one)
    limits: dict[str, Any] = {"max_new_tokens": bench.options.new_tokens, "pad_id": engine.pad_id}
    with (
        saved_folders([a for a in adapters[:count] if a is not None]) as folders,
        loaded_adapters(base, folders) as model,
    ):

        def once() -> Tokens:
            out: Tokens = []
            for n, prompt in enumerate(asked[:count]):
                model.set_adapter(str(n))
                out += rollout(model, [prompt], stop_ids=[stop], **limits)
            return out

        return _best_rate(once, budget=0.0)


def _best_rate(once: Callable[[], Tokens], budget: float) -> tuple[float, Tokens]:
    """New tokens a second, of the best repetition, and the tokens."""
    made: list[Tokens] = []
    timed = repeat(lambda: made.append(once()), budget=budget, most=MOST)
    return sum(map(len, made[0])) / timed.best, made[0]


def _same(ours: Tokens, theirs: Tokens) -> float:
    """The share of compared rows that are equal token for token."""
    return fmean(float(a == b) for a, b in zip(ours, theirs, strict=False))


def _vllm(bench: Bench, url: str) -> Figures:
    """The server's tokens a second: the base, its first named adapter, and all named adapters at once."""
    server = Server(url)
    named = bench.options.vllm_adapters
    kinds = {"base": (server.base_model(),), "one": named[:1], "many": named if len(named) > 1 else ()}
    cells = []
    for batch in bench.options.batches:
        asked = questions(bench, batch)
        for kind, models in kinds.items():
            if models:
                measure = partial(_of_server, bench, server, asked, kind, models)
                cells.append(bench.step(f"vLLM at {url}, batch {batch}, {kind}", measure))
    return {"url": url, "adapters": list(named), "cells": cells}


def _of_server(bench: Bench, server: Server, asked: Tokens, kind: str, models: Sequence[str]) -> Figures:
    spread = [models[n % len(models)] for n in range(len(asked))]
    tokens = 0

    def once() -> None:
        nonlocal tokens
        tokens = server.complete(asked, spread, max_tokens=bench.options.new_tokens)

    once()  # a server compiles and fills caches at first
    cells = len(bench.options.batches) * len(KINDS)
    timed = repeat(once, budget=bench.options.budget_seconds / (2 * cells), most=MOST)
    return {"batch": len(asked), "kind": kind, "models": len(models), "tokens_per_second": tokens / timed.best}


SERVER_SECONDS = 600.0  # seconds; a CPU server takes its time


class Server:
    """One server by its address, such as http://localhost:8000."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--vllm-url is {url!r}; expected an address such as http://localhost:8000")
        self.url = url.rstrip("/").removesuffix("/v1")

    def base_model(self) -> str:
        """The name of what the server serves without an adapter."""
        models = self._json("/v1/models", None).get("data") or []
        bases = [m for m in models if not m.get("parent")]
        if not bases:
            raise InputError(f"{self.url} names no base model under /v1/models; is it a vLLM server?")
        return str(bases[0]["id"])

    def complete(self, prompts: Sequence[Sequence[int]], models: Sequence[str], *, max_tokens: int) -> int:
        """Continue every prompt under its model, all at once; returns how many tokens came."""
        groups: dict[str, list[list[int]]] = {}
        for prompt, model in zip(prompts, models, strict=True):
            groups.setdefault(model, []).append(list(prompt))
        with ThreadPoolExecutor(len(groups)) as pool:
            return sum(pool.map(lambda g: self._completed(g[0], g[1], max_tokens), groups.items()))

    def _completed(self, model: str, prompts: list[list[int]], max_tokens: int) -> int:
        asked = {
            "model": model,
            "prompt": prompts,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "ignore_eos": True,
        }
        usage = self._json("/v1/completions", asked).get("usage") or {}
        if not isinstance(usage.get("completion_tokens"), int):
            raise InputError(f"{self.url}: the completion has no usage.completion_tokens; is it a vLLM server?")
        return int(usage["completion_tokens"])

    def _json(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SERVER_SECONDS) as response:
                found = json.load(response)
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise InputError(f"{self.url}{path} does not answer as a vLLM server would: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"{self.url}{path}: expected a JSON object in the answer")
        return found
