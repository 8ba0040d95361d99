"""The `Engine` protocol: what answers prompts and scores targets, with an adapter per request; and `ChatEngine`, for
engines that also sample, stop at strings, tell log-probabilities and hand out text while it is made.

Implementations: `local.TransformersEngine` (in this process). Training is not part of the protocol: only
the in-process engine can train (`learning.inner_loop` works on its `stack`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from seal_memory.errors import InputError

Messages = Sequence[Mapping[str, Any]]  # OpenAI style: {"role": ..., "content": ...}
Finish = Literal["stop", "length"]
OnText = Callable[[int, str], None]  # (index of the prompt, its next piece of text, maybe ""); what it raises ends all

DEFAULT_TOKENS = 256  # of an answer where nobody says how long it may be


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages to continue as the assistant; `adapter` is an adapter id, None the untouched base.

    `raw`: plain text to continue, instead of messages. `tools`: OpenAI tool definitions for the chat template.
    `greedy`: take the likeliest tokens, though the others of the batch may be sampled.
    """

    messages: Messages
    adapter: str | None = None
    raw: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to continue. `max_tokens` None: what fits, at most `DEFAULT_TOKENS`. `stop`: strings that end the text and
    are not part of it. `top_logprobs` None: no log-probabilities; n: every token's, and the n likeliest.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 0:
            raise InputError(f"max_tokens is {self.max_tokens}; expected 0 or more")
        if "" in self.stop:
            raise InputError("a stop string is empty; expected at least one character")

    @property
    def is_plain(self) -> bool:
        """Greedy, with nothing but an end of turn or `max_tokens` to end it: what `Engine.complete` does."""
        return self.max_tokens is not None and self == Decoding(self.max_tokens)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token, its log-probability without temperature, and the likeliest ones in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A continuation. `confidence` is the geometric mean of its tokens' probabilities (0..1).

    `finish`: "length" where `max_tokens` ended it. `tokens` only where log-probabilities were asked for.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int
    confidence: float
    finish: Finish = "stop"
    tokens: tuple[TokenLogprob, ...] = ()


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


@runtime_checkable
class ChatEngine(Protocol):
    """One more verb, for chats: with all options of `Decoding`, and the text while it is made."""

    def talk(
        self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None
    ) -> list[Completion]: ...


def continued(
    engine: Engine, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None
) -> list[Completion]:
    """Continue with whichever verb the engine has for it. Raises `InputError` where it has none."""
    if not prompts:
        return []
    if on_text is None and decoding.max_tokens is not None:
        bare = Decoding(decoding.max_tokens, decoding.temperature, seed=decoding.seed)
        if bare == decoding:
            return engine.complete(
                prompts, max_tokens=decoding.max_tokens, temperature=decoding.temperature, seed=decoding.seed
            )
    if not isinstance(engine, ChatEngine):
        raise InputError(f"A {type(engine).__name__} can neither sample nor stream; ask for a plain answer.")
    return engine.talk(prompts, decoding, on_text=on_text)
