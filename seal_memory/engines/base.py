"""`Engine` protocol: completes prompts and scores targets, with one adapter per request.

`ChatEngine` adds all decoding options, and streaming. Implementations: `local.TransformersEngine` (this process) and
`vllm.engine.VllmEngine` (HTTP). Not here: training, which only the in-process engine can do (`learning.inner_loop`
works on its `stack`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from seal_memory.errors import InputError

Messages = Sequence[Mapping[str, Any]]  # OpenAI style: {"role": ..., "content": ...}
Finish = Literal["stop", "length"]
OnText = Callable[[int, str], None]  # (prompt index, next piece of text, may be ""); an exception ends the batch

DEFAULT_TOKENS = 256  # longest answer where `max_tokens` is not given
NO_LIMIT = -1  # `max_tokens`: as many as the model's context holds
DEFAULT_TOP_K = 50  # likeliest tokens that sampling draws from
ALL_TOKENS = 1 << 20  # `top_k`: no cut


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages to continue as the assistant; `adapter` is an adapter id, None the untouched base.

    `raw`: plain text to continue, instead of messages. `tools`: OpenAI tool definitions for the chat template.
    `greedy`: take the likeliest tokens even where the rest of the batch is sampled. `seed`: of this prompt's samples,
    instead of the decoding's. `schema`: JSON schema that the text must follow. `opening`: beginning of the assistant's
    turn, which the text continues and does not repeat.
    """

    messages: Messages
    adapter: str | None = None
    raw: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    greedy: bool = False
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Decoding options. `max_tokens` None: as many as fit, at most `DEFAULT_TOKENS`; `NO_LIMIT`: as many as fit.
    `stop`: strings that end the text and are cut off. `top_logprobs` None: no log-probabilities; n: those of every
    token and of the n likeliest.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = DEFAULT_TOP_K
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < NO_LIMIT:
            raise InputError(f"max_tokens is {self.max_tokens}; expected 0 or more, or {NO_LIMIT} for no limit")
        if "" in self.stop:
            raise InputError("a stop string is empty; expected at least one character")

    @property
    def is_plain(self) -> bool:
        """Greedy, ended only by an end of turn or `max_tokens`: the options of a greedy `Engine.complete`."""
        return self.max_tokens is not None and self == Decoding(self.max_tokens)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token, its log-probability without temperature, and the likeliest alternatives.

    `start`: index of its first character in the text.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    start: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A continuation. `confidence`: geometric mean of its tokens' probabilities (0..1).

    `finish`: "length" where `max_tokens` ended it. `tokens`: filled only where log-probabilities were requested.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int
    confidence: float
    finish: Finish = "stop"
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """Likelihood of a target: mean log-probability per token, and the share of tokens with p > 0.5."""

    logprob: float
    share_likely: float
    tokens: int


class Engine(Protocol):
    """Completes and scores batches in which every request names its own adapter."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]: ...

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]: ...


@runtime_checkable
class ChatEngine(Protocol):
    """Adds `talk`: all options of `Decoding`, and streamed text."""

    def talk(
        self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None
    ) -> list[Completion]: ...


def continue_prompts(
    engine: Engine, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None
) -> list[Completion]:
    """Continue prompts by `complete` where it has all the options needed, else by `talk`.

    Raises `InputError` where the engine has no `talk`.
    """
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
