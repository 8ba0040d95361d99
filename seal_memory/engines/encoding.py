"""Tokenizer side of a model: chats to token ids and back, end tokens, and context length.

Both engines use it, so that they see the same prompts token by token and decode tokens to the same text. Not here:
running a model (`decode`, `vllm`), what a chat template can render (`chat_format`), training rows (`local`), torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seal_memory.engines import chat_format
from seal_memory.engines.base import (
    DEFAULT_TOKENS,
    NO_LIMIT,
    Completion,
    Decoding,
    Finish,
    Messages,
    OnText,
    Prompt,
    TokenLogprob,
)
from seal_memory.engines.tool_prompts import CallForm, form_of, told_in_text, with_calls_parsed
from seal_memory.engines.transcript import Transcript
from seal_memory.errors import InputError, ModelUnavailableError, PromptTooLongError

if TYPE_CHECKING:
    from seal_memory.engines.models import ModelFiles

Likeliest = tuple[tuple[int, float], ...]  # (token, log-probability), best first

DEFAULT_LENGTH = 2048  # context of a model whose config names none
_PROBE_CHAT = [{"role": "user", "content": "Hello"}]
_PROBE_TOOL = {"type": "function", "function": {"name": "probe", "description": "", "parameters": {"type": "object"}}}
_END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>")
_SOME_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Generated:
    """New token ids without the stop token; where one was met, `logprobs` has one more entry, its own.

    `top`: for each entry of `logprobs` the likeliest tokens with theirs, best first, where requested.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool  # by a stop token or by `on_token`, not by the limit
    top: tuple[Likeliest, ...] = ()


class Encoder:
    """A tokenizer with its model's chat format, end tokens and context length; `end_ids`: those its files name.

    Raises `ModelUnavailableError` for a model without any end token.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, end_ids: Iterable[int | None] = ()) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        vocabulary = tokenizer.get_vocab()  # looked up directly: SmolLM2's unknown token is <|endoftext|>
        ids = {tokenizer.eos_token_id, *end_ids, *(vocabulary.get(token) for token in _END_TOKENS)}
        ends = {i for i in ids if isinstance(i, int)}
        self.format = chat_format.measure(tokenizer)
        behind = self.ids(self.format.end_of_turn.lstrip())[:1]  # of an assistant's turn
        ended = behind[0] if behind and behind[0] in {*ends, *tokenizer.all_special_ids} else tokenizer.eos_token_id
        if ended is None and not ends:
            raise ModelUnavailableError("the model's files name no end token: expected eos_token in its tokenizer")
        self.end_of_turn: int = int(ended) if ended is not None else min(ends)
        self.stop_ids: frozenset[int] = frozenset({*ends, self.end_of_turn})
        self._beginning = self._own_beginning()

    # -- tokens -----------------------------------------------------------------------------------

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt. Raises `InputError` for empty raw text."""
        if prompt.raw is None:
            return self.encode_prompt(prompt.messages, tools=prompt.tools, opening=prompt.opening)
        ids = self.plain_ids(prompt.raw + prompt.opening)
        if len(ids) == len(self._beginning):
            raise InputError("The prompt is empty; expected text to continue.")
        return ids

    def encode_prompt(
        self, messages: Messages, *, tools: Sequence[Mapping[str, Any]] = (), opening: str = ""
    ) -> list[int]:
        """Token ids of the rendered chat, up to the start of the assistant's turn and its `opening`.

        A template that has no place for tools gets them in the system turn, and earlier calls and results as text.
        """
        if tools or any(m.get("tool_calls") for m in messages):
            if self._shows_tools:
                messages = with_calls_parsed(messages)
            else:
                messages, tools = told_in_text(messages, tools), ()
        text = self._render(messages, tools) + opening
        return self.ids(text) if self.format.own else self.plain_ids(text)

    @property
    def call_form(self) -> CallForm:
        """The form of tool calls that this model's prompts teach."""
        template = self.tokenizer.chat_template
        return form_of(template if isinstance(template, str) else str(template), shows_tools=self._shows_tools)

    @cached_property
    def _shows_tools(self) -> bool:
        """Whether the chat template has a place for tools."""
        return self._render(_PROBE_CHAT, [_PROBE_TOOL]) != self._render(_PROBE_CHAT, ())

    def _render(self, messages: Messages, tools: Sequence[Mapping[str, Any]]) -> str:
        return self.format.render(self.tokenizer, messages, tools=tools)

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of text that no template wraps, with the token that this tokenizer puts before every text."""
        return [*self._beginning, *self.ids(text)]

    def _own_beginning(self) -> list[int]:
        start = self.tokenizer.bos_token_id
        whole = list(self.tokenizer(_SOME_TEXT)["input_ids"])
        return [start] if start is not None and whole[:1] == [start] and self.ids(_SOME_TEXT)[:1] != [start] else []

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text, without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """Decode tokens, special ones left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    # -- lengths ----------------------------------------------------------------------------------

    def check_fits(self, prompt_tokens: int, more: int) -> None:
        """Raises `PromptTooLongError` where a prompt and `more` tokens exceed the model's context."""
        if prompt_tokens + more > self.max_length:
            raise PromptTooLongError(
                f"The prompt has {prompt_tokens} tokens and {more} more are needed, but this model's context "
                f"is {self.max_length}: shorten the text or retrieve fewer passages."
            )

    def max_new_tokens(self, prompts: Sequence[int], wanted: int | None) -> int:
        """How many tokens may follow prompts of these lengths (`wanted` None: a default;
        `NO_LIMIT`: all that fit).

        Raises `PromptTooLongError`.
        """
        longest = max(prompts, default=0)
        if wanted is None:
            wanted = max(1, min(DEFAULT_TOKENS, self.max_length - longest))
        elif wanted == NO_LIMIT:
            wanted = max(1, self.max_length - longest)
        self.check_fits(longest, wanted)
        return wanted

    # -- answers ----------------------------------------------------------------------------------

    def transcript(self, prompts: Sequence[Prompt], *, stop: Sequence[str], on_text: OnText | None) -> Transcript:
        """The transcript of the prompts' answers: stripped, but exact where plain text is continued."""
        exact = [prompt.raw is not None for prompt in prompts]
        return Transcript(self.text, len(prompts), stop=stop, on_text=on_text, exact=exact)

    def completion(
        self, prompt_tokens: int, generated: Generated, *, row: int, transcript: Transcript, decoding: Decoding
    ) -> Completion:
        """The `Completion` of row `row`; streams the row's last piece through the transcript."""
        text = transcript.close(row, generated.ids)
        mean = sum(generated.logprobs) / max(1, len(generated.logprobs))
        finish: Finish = "stop" if generated.stopped else "length"
        tokens = self._logprobs(row, generated, transcript) if decoding.top_logprobs is not None else ()
        return Completion(text, prompt_tokens, len(generated.ids), math.exp(mean), finish, tokens)

    def _logprobs(self, row: int, generated: Generated, transcript: Transcript) -> tuple[TokenLogprob, ...]:
        top = generated.top or ((),) * len(generated.ids)
        return tuple(
            TokenLogprob(
                self.text([generated.ids[n]]),
                generated.logprobs[n],
                tuple((self.text([i]), logprob) for i, logprob in top[n]),
                transcript.start(row, generated.ids[:n]),
            )
            for n in range(transcript.count_kept(row, generated.ids))
        )


def load_encoder(files: ModelFiles) -> Encoder:
    """Encoder of a model on disk, without loading weights. Raises `ModelUnavailableError`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True)
        config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
        configured = files.folder / "generation_config.json"
        generation = json.loads(configured.read_text(encoding="utf-8")) if configured.is_file() else config
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailableError(f"model {files.name!r}: its tokenizer in {files.folder}: {error}") from error
    ends = generation.get("eos_token_id")
    length = config.get("max_position_embeddings") or DEFAULT_LENGTH
    return Encoder(tokenizer, max_length=int(length), end_ids=ends if isinstance(ends, list) else [ends])
