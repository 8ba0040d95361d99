"""What is asked of a vLLM server and what its answers hold: the bodies of /v1/completions, token by token.

Every option that a server might take from the model's generation_config.json is named, so that only what is asked for
counts. Not here: sending (`http`), prompts and texts (`engines.encoding`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seal_memory.engines.base import Decoding
from seal_memory.engines.encoding import Generated, Likeliest
from seal_memory.engines.sampling import Sampling
from seal_memory.errors import EngineUnavailableError

MOST_LOGPROBS = 20  # vLLM's own default for --max-logprobs
_OURS = re.compile(r"(a|blank)-[0-9a-f]{24}")
_PLAIN: Mapping[str, Any] = {
    "n": 1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "ignore_eos": True,  # what ends a text is said in stop_token_ids
    "return_tokens_as_token_ids": True,
}


def is_ours(name: str) -> bool:
    """Whether an adapter's name is one that this library gives: by content, so that nobody else's can be mistaken."""
    return _OURS.fullmatch(name) is not None


def first_token(model: str) -> dict[str, Any]:
    """The least that a server can be asked to compute."""
    return {"model": model, "prompt": [0], "max_tokens": 1, "temperature": 0.0}


def scoring(model: str, ids: Sequence[int]) -> dict[str, Any]:
    """Asks for every prompt token's own log-probability, and the one new token that cannot be left out."""
    return {**_PLAIN, "model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}


def prompt_logprobs(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float]:
    """Each prompt token's log-probability after those before it; the first has none and counts 0.

    Raises `EngineUnavailableError` where the answer holds no such thing.
    """
    places = choice.get("prompt_logprobs")
    try:
        if not isinstance(places, list) or len(places) != len(ids):
            raise ValueError(f"{len(places or ())} places for {len(ids)} tokens")
        return [0.0, *(float(place[str(i)]["logprob"]) for place, i in zip(places[1:], ids[1:], strict=True))]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineUnavailableError(f"The server's prompt_logprobs are not those of the prompt: {error}") from error


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What all rows of one call have in common, and the seed that each draws with, None where it is greedy."""

    tokens: int
    sampling: Sampling
    decoding: Decoding
    stop_ids: frozenset[int]
    seeds: Sequence[int | None]

    def body(self, model: str, ids: Sequence[int], *, row: int) -> dict[str, Any]:
        """The request for one row."""
        sampling, seed = self.sampling, self.seeds[row]
        body = {
            **_PLAIN,
            "model": model,
            "prompt": list(ids),
            "max_tokens": self.tokens,
            "temperature": 0.0 if seed is None else sampling.temperature,
            "stop": list(self.decoding.stop),
            "stop_token_ids": sorted(self.stop_ids),
            "logprobs": self.decoding.top_logprobs or 0,
        }
        if seed is not None:
            body |= {"top_p": sampling.top_p, "top_k": sampling.top_k, "seed": seed}
        return body


@dataclass(slots=True)
class Row:
    """One answer in the making, from one choice or from many pieces."""

    asked: CompletionRequest
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[Likeliest] = field(default_factory=list)
    stopped: bool = False
    ended: bool = False

    def add(self, choice: Mapping[str, Any]) -> Row:
        """What a choice or a piece adds. Raises `EngineUnavailableError` where it holds no tokens by id."""
        if self.ended:
            return self
        found = choice.get("logprobs") or {}
        try:
            ids = [int(token.removeprefix("token_id:")) for token in found.get("tokens") or ()]
            logprobs = [float(x) for x in found.get("token_logprobs") or ()]
            tops = found.get("top_logprobs") or [None] * len(ids)
            for token, logprob, top in zip(ids, logprobs, tops, strict=True):
                self._token(token, logprob, top or {})
        except (AttributeError, TypeError, ValueError) as error:
            raise EngineUnavailableError(f"The server's tokens cannot be read: {error}") from error
        self.stopped = self.stopped or choice.get("finish_reason") == "stop"
        return self

    def _token(self, token: int, logprob: float, top: Mapping[str, float]) -> None:
        self.logprobs.append(logprob)
        if self.asked.decoding.top_logprobs:
            best = sorted(((float(v), int(k.removeprefix("token_id:"))) for k, v in top.items()), reverse=True)
            self.top.append(tuple((i, v) for v, i in best[: self.asked.decoding.top_logprobs]))
        if token in self.asked.stop_ids:
            self.stopped = self.ended = True
        else:
            self.ids.append(token)

    def end(self) -> None:
        """A stop string is complete: what comes after it is not looked at."""
        self.stopped = self.ended = True

    def generated(self) -> Generated:
        """What there is by now."""
        return Generated(tuple(self.ids), tuple(self.logprobs), self.stopped, tuple(self.top))
