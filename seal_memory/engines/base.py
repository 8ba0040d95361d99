"""The `Engine` protocol: what answers prompts and scores targets, with an adapter per request.

Implementations: `local.TransformersEngine` (in this process). Training is not part of the protocol: only
the in-process engine can train (`learning.inner_loop` works on its `stack`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Messages = Sequence[Mapping[str, str]]  # OpenAI style: {"role": ..., "content": ...}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages to continue as the assistant; `adapter` is an adapter id, None the untouched base."""

    messages: Messages
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A continuation. `confidence` is the geometric mean of its tokens' probabilities (0..1)."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a target is: mean log-probability per token, and the share of tokens with p > 0.5."""

    logprob: float
    share_likely: float
    tokens: int


class Engine(Protocol):
    """Two verbs over batches in which every request names its own adapter."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]: ...

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]: ...
