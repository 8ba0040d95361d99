"""One chat with all options: sampling, stop strings, tools in the prompt, the text while it is made.

A narrow stand-in until `SealMemory.chat` takes these options itself; nothing else in this package looks inside a
memory. Not here: LangChain's types (`chat_model`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seal_memory import SealMemory
from seal_memory.answering import Answer, Mode, parse_mode
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.errors import InputError
from seal_memory.records import Standing
from seal_memory_langchain.errors import PromptTooLong

if TYPE_CHECKING:  # these need torch
    from seal_memory.engines.decode import Generated
    from seal_memory.engines.local import TransformersEngine

__all__ = ["Decoding", "converse"]

Chat = Sequence[Mapping[str, Any]]
_HALF = "\N{REPLACEMENT CHARACTER}"  # what the decoder shows of a character whose last bytes are to come


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to continue; `stop` strings end the text and are not part of it."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()


def converse(
    memory: SealMemory, chat: Chat, *, mode: str, decoding: Decoding, on_text: Callable[[str], None]
) -> tuple[Answer, str]:
    """Continue a chat: the answer, and "stop" or "length". `on_text` is given its text piece by piece, in this thread.

    What the last message says is routed and searched by when the user says it; else (a tool's result) the chat is
    continued by the base. In hybrid mode text comes while it is made only once the way is settled.
    """
    wanted, last = parse_mode(mode), chat[-1]
    question = str(last["content"]) if last["role"] == "user" else ""
    answerer = memory._answerer()
    found = memory.ledger.search(question, limit=1, standings=(Standing.PENDING, Standing.LEARNED, Standing.REFUSED))
    talker = _Talker(memory, wanted, decoding, on_text, nothing_stored=not found)
    answerer.engine = talker
    answer = answerer.converse([chat], [question], wanted, max_tokens=decoding.max_tokens)[0]
    on_text(answer.text[talker.given :])
    return answer, talker.finish


@dataclass(slots=True)
class _Talker:
    """An `Engine` of one chat: what `Answerer` asks of it is made with the options, and told when it is final."""

    memory: SealMemory
    mode: Mode
    decoding: Decoding
    on_text: Callable[[str], None]
    nothing_stored: bool = False  # about the question: no other prompt will follow
    finish: str = "stop"
    given: int = 0  # characters handed out
    done: list[tuple[Prompt, Completion, str]] = field(default_factory=list)

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        return [self._one(p, max_tokens) for p in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return self.memory.engine.score(requests)

    def _one(self, prompt: Prompt, max_tokens: int) -> Completion:
        for asked, made, finish in self.done:
            if asked == prompt:  # hybrid mode without anything to retrieve asks the same again
                self.finish = finish
                return made
        text, generated, length = self._made(prompt, max_tokens)
        self.finish = "stop" if generated.stopped else "length"
        mean = sum(generated.logprobs) / max(1, len(generated.logprobs))
        completion = Completion(text, length, len(generated.ids), math.exp(mean))
        self.done.append((prompt, completion, self.finish))
        return completion

    def _made(self, prompt: Prompt, max_tokens: int) -> tuple[str, Generated, int]:
        from seal_memory.engines.decode import Sampling, generate

        engine, options, live = self.memory.engine, self.decoding, self._is_final(prompt)
        ids, made = _encoded(engine, prompt.messages, options.tools, max_tokens), list[int]()

        def on_token(_: int, token: int) -> bool:
            made.append(token)
            text, complete = _cut(_decoded(engine, made), options.stop)
            if live and not complete:
                self._give(_certain(text, options.stop))
            return complete

        with engine.lock:
            generated = generate(
                engine.stack,
                [ids],
                [engine.adapter(prompt.adapter)],
                max_new_tokens=max_tokens,
                stop_ids=engine.stop_ids,
                pad_id=engine.pad_id,
                sampling=Sampling(options.temperature, seed=options.seed, top_p=options.top_p),
                on_token=on_token,
                between=engine.lock.give_way,
            )[0]
        return _cut(_decoded(engine, generated.ids), options.stop)[0].strip(), generated, len(ids)

    def _is_final(self, prompt: Prompt) -> bool:
        """Whether this prompt's continuation is surely the answer."""
        if self.mode is not Mode.HYBRID:
            return not self.memory.settings.two_step
        return self.nothing_stored or any(asked.messages != prompt.messages for asked, _, _ in self.done)

    def _give(self, text: str) -> None:
        piece = text[self.given :]
        self.given += len(piece)
        self.on_text(piece)


def _encoded(engine: TransformersEngine, chat: Chat, tools: Sequence[Mapping[str, Any]], more: int) -> list[int]:
    """The chat's tokens, after which `more` are to follow."""

    def rendered(known: Sequence[Mapping[str, Any]]) -> str:
        text: str = engine.tokenizer.apply_chat_template(
            [dict(m) for m in chat], tools=[dict(t) for t in known] or None, add_generation_prompt=True, tokenize=False
        )
        return text

    text = rendered(tools)
    if tools and text == rendered(()):
        raise InputError("This model's chat template has no place for tools; ask without them, or use another model.")
    ids = list(engine.tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(ids) + more > engine.max_length:
        raise PromptTooLong(
            f"The chat has {len(ids)} tokens and {more} are to follow, but this model's context is "
            f"{engine.max_length}: shorten the chat or lower max_tokens."
        )
    return ids


def _decoded(engine: TransformersEngine, ids: Sequence[int]) -> str:
    text: str = engine.tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


def _cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop string, and whether there is one."""
    places = [at for at in (text.find(s) for s in stop) if at >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _certain(text: str, stop: Sequence[str]) -> str:
    """The text without what may still change or vanish: half a character, a stop's beginning, white space."""
    held = max((n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
    return text[: len(text) - held].rstrip(_HALF).strip()
