"""Request bodies for /v1/completions, and parsing of the answers token by token.

Every option that a server might take from the model's generation_config.json is set, so that only the given options
apply. Not here: sending (`http`), prompts and texts (`engines.encoding`).
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

MAX_LOGPROBS = 20  # vLLM's own default for --max-logprobs
_OWN_NAME = re.compile(r"(a|blank)-[0-9a-f]{24}")
_FIXED_OPTIONS: Mapping[str, Any] = {
    "n": 1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "ignore_eos": True,  # stop_token_ids name the ends
    "return_tokens_as_token_ids": True,
}


def is_own_name(name: str) -> bool:
    """Whether an adapter's name is a content-addressed one of this library, which no other program gives."""
    return _OWN_NAME.fullmatch(name) is not None


def minimal_body(model: str) -> dict[str, Any]:
    """The cheapest completion request."""
    return {"model": model, "prompt": [0], "max_tokens": 1, "temperature": 0.0}


def scoring_body(model: str, ids: Sequence[int]) -> dict[str, Any]:
    """A request for every prompt token's log-probability, and the one new token that vLLM requires."""
    return {
        **_FIXED_OPTIONS,
        "model": model,
        "prompt": list(ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
    }


def prompt_logprobs(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float]:
    """Each prompt token's log-probability after those before it; the first has none and counts 0.

    Raises `EngineUnavailableError` where the answer lacks them.
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
    """Options that all rows of a call share, and each row's seed, None where it is greedy."""

    tokens: int
    sampling: Sampling
    decoding: Decoding
    stop_ids: frozenset[int]
    seeds: Sequence[int | None]

    def body(
        self, model: str, ids: Sequence[int], *, row: int, schema: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The request for one row; `schema`: JSON schema that the server's structured outputs follow."""
        sampling, seed = self.sampling, self.seeds[row]
        body = {
            **_FIXED_OPTIONS,
            "model": model,
            "prompt": list(ids),
            "max_tokens": self.tokens,
            "temperature": 0.0 if seed is None else sampling.temperature,
            "stop": list(self.decoding.stop),
            "stop_token_ids": sorted(self.stop_ids),
            "logprobs": self.decoding.top_logprobs or 0,
        }
        if schema is not None:
            body["structured_outputs"] = {"json": dict(schema), "disable_any_whitespace": True}
        if seed is not None:
            body |= {"top_p": sampling.top_p, "top_k": sampling.top_k, "seed": seed}
        return body


@dataclass(slots=True)
class Row:
    """One unfinished answer, from one choice or from streamed pieces."""

    request: CompletionRequest
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[Likeliest] = field(default_factory=list)
    stopped: bool = False
    ended: bool = False

    def add(self, choice: Mapping[str, Any]) -> Row:
        """Append a choice or piece. Raises `EngineUnavailableError` where it holds no token ids."""
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
        if self.request.decoding.top_logprobs:
            best = sorted(((float(v), int(k.removeprefix("token_id:"))) for k, v in top.items()), reverse=True)
            self.top.append(tuple((i, v) for v, i in best[: self.request.decoding.top_logprobs]))
        if token in self.request.stop_ids:
            self.stopped = self.ended = True
        else:
            self.ids.append(token)

    def end(self) -> None:
        """A stop string is complete: ignore further pieces."""
        self.stopped = self.ended = True

    def generated(self) -> Generated:
        """The tokens so far."""
        return Generated(tuple(self.ids), tuple(self.logprobs), self.stopped, tuple(self.top))
