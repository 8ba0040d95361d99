"""The default engine: transformers in this process, adapters swapped per row.

Adapters are put in by id (`put`) or fetched on first use from a source; the most recently used stay in memory. The id
of a mix (`mixes`) applies several at once.
Several memories may share one engine, each a source. Not here: finding model files (`models`), training
(`learning.inner_loop`), routing.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from seal_memory.engines.base import (
    DEFAULT_TOKENS,
    Completion,
    Decoding,
    Finish,
    Messages,
    OnText,
    Prompt,
    Score,
    TokenLogprob,
)
from seal_memory.engines.batches import Row, micro_batches, target_logprobs
from seal_memory.engines.decode import Generated, Sampling, generate
from seal_memory.engines.mixes import parts_of
from seal_memory.engines.models import LoadedModel
from seal_memory.engines.transcript import Transcript
from seal_memory.engines.turns import Turns
from seal_memory.errors import AdapterError, InputError, LedgerError, PromptTooLongError, UnknownIdError
from seal_memory.lora.adapter import Applied, LoraAdapter, MixedAdapter
from seal_memory.lora.stack import StackedLora

if TYPE_CHECKING:
    from seal_memory.engines.embedders import Embeds

logger = logging.getLogger(__name__)

Fetch = Callable[[str], LoraAdapter]

SCORE_TOKEN_BUDGET = 4096  # padded tokens per forward pass without gradients


class TransformersEngine:
    """Generates, scores, and holds the stack that trains. One lock: one batch at a time, answers before training."""

    def __init__(self, loaded: LoadedModel, *, fetch: Fetch | None = None, keep: int = 64) -> None:
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.fingerprint = loaded.files.fingerprint
        self.hardware = loaded.hardware
        self.stack = StackedLora(loaded.model)
        self.lock = Turns()
        self._sources: list[Fetch] = [] if fetch is None else [fetch]
        self._sources_lock = threading.Lock()
        self._keep = keep
        self._embedders: dict[str, Embeds] = {}
        self._adapters: OrderedDict[str, LoraAdapter] = OrderedDict()
        self.stop_ids = self._stop_ids()
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else min(self.stop_ids)
        self.max_length: int = int(getattr(loaded.model.config, "max_position_embeddings", 2048))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def add_source(self, fetch: Fetch) -> None:
        """One more place to get adapters from: `fetch` raises `UnknownIdError` for an id that is not its own."""
        with self._sources_lock:
            self._sources = [*self._sources, fetch]

    def remove_source(self, fetch: Fetch) -> None:
        """No longer ask this place; adapters that are held stay. Does not wait for who uses the model."""
        with self._sources_lock:
            self._sources = [s for s in self._sources if s is not fetch]

    def embedder(self, kind: str) -> Embeds:
        """The embedder of a name, made once: see `embedders.make_embedder` for what it raises."""
        from seal_memory.engines.embedders import make_embedder

        with self.lock:
            if kind not in self._embedders:
                self._embedders[kind] = make_embedder(kind, self)
            return self._embedders[kind]

    # -- adapters ---------------------------------------------------------------------------------

    def put(self, adapter_id: str, adapter: LoraAdapter) -> None:
        """Make an adapter usable under an id; the least recently used leaves when over `keep`."""
        with self.lock:
            self._adapters[adapter_id] = adapter
            self._adapters.move_to_end(adapter_id)
            while len(self._adapters) > self._keep:
                self._adapters.popitem(last=False)

    def drop(self, adapter_id: str) -> None:
        """Forget an adapter; unknown ids are fine."""
        with self.lock:
            self._adapters.pop(adapter_id, None)

    def adapter(self, adapter_id: str | None) -> LoraAdapter | None:
        """The adapter of an id. Raises `AdapterError` when it is neither held nor fetchable."""
        return None if adapter_id is None else self._held(adapter_id)

    def _held(self, adapter_id: str) -> LoraAdapter:
        with self.lock:
            found = self._adapters.get(adapter_id)
            if found is None:
                found = self._fetched(adapter_id)
                self.put(adapter_id, found)
            self._adapters.move_to_end(adapter_id)
            return found

    def _applied(self, prompts: Sequence[Prompt]) -> list[Applied | None]:
        """What each prompt is computed with; prompts of one id get one object, so that their rows stand together."""
        found = {a: self._whole(a) for a in dict.fromkeys(p.adapter for p in prompts) if a is not None}
        return [found[p.adapter] if p.adapter is not None else None for p in prompts]

    def _whole(self, adapter_id: str) -> Applied:
        parts = parts_of(adapter_id)
        if parts == ((adapter_id, 1.0),):
            return self._held(adapter_id)
        return MixedAdapter(tuple((self._held(own), weight) for own, weight in parts))

    def _fetched(self, adapter_id: str) -> LoraAdapter:
        """From the first source that knows it: ids are content-addressed, so any of them has the same bytes."""
        for fetch in self._sources:
            try:
                return fetch(adapter_id)
            except UnknownIdError:
                continue
            except LedgerError:
                if fetch in self._sources:  # else its memory was closed meanwhile
                    raise
        raise AdapterError(f"Adapter {adapter_id!r} is not loaded and no open memory holds it; put() it first.")

    # -- the Engine protocol ----------------------------------------------------------------------

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """Continue every prompt, each under its own adapter.

        Raises `InputError` when a prompt and `max_tokens` do not fit the model's context.
        """
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        """Continue every prompt with these options; `on_text` is given the text while it is made, in this thread.

        Raises `InputError` when a prompt and `max_tokens` do not fit the model's context, for options out of range,
        and for tools that the model's chat template does not know.
        """
        ids = [self.encode(p) for p in prompts]
        tokens = self._tokens([len(i) for i in ids], decoding.max_tokens)
        sampling = Sampling(temperature=decoding.temperature, seed=decoding.seed, top_p=decoding.top_p)
        transcript = Transcript(self._text, len(ids), stop=decoding.stop, on_text=on_text)
        with self.lock:
            done = generate(
                self.stack,
                ids,
                self._applied(prompts),
                max_new_tokens=tokens,
                stop_ids=self.stop_ids,
                pad_id=self.pad_id,
                sampling=sampling,
                on_token=None if transcript.idle else transcript.token,
                between=self.lock.give_way,
                top=decoding.top_logprobs or 0,
            )
        return [
            self._completion(len(i), g, transcript.close(row, g.ids), self._logprobs(g, transcript, decoding))
            for row, (i, g) in enumerate(zip(ids, done, strict=True))
        ]

    def check(self, prompt: Prompt, decoding: Decoding) -> None:
        """Raises what `talk` would raise of this prompt and these options, before anything is computed."""
        Sampling(temperature=decoding.temperature, seed=decoding.seed, top_p=decoding.top_p)
        self._tokens([len(self.encode(prompt))], decoding.max_tokens)

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """The log-probability of each target text after its prompt, end of turn not counted.

        A target without tokens scores minus infinity. Raises `InputError` when a prompt and its target do
        not fit the model's context.
        """
        rows = [self.encode_row(p.messages, target, end=False) for p, target in requests]
        for row in rows:
            self._check_fits(row.prompt_length, row.target_length)
        adapters = self._applied([p for p, _ in requests])
        first_seen: dict[int, int] = {}  # not the object's address: the order is the same in every run
        owners = [first_seen.setdefault(id(a), n) for n, a in enumerate(adapters)]
        scores: list[Score] = [Score(-math.inf, 0.0, 0)] * len(rows)
        device = next(self.model.parameters()).device
        with self.lock, torch.inference_mode():
            for batch in micro_batches(
                rows, owners, token_budget=SCORE_TOKEN_BUDGET, pad_id=self.pad_id, device=device
            ):
                self.lock.give_way()
                with self.stack.rows([adapters[i] for i in batch.index]):
                    logprobs = target_logprobs(self.model, batch)
                for b, i in enumerate(batch.index):
                    own = logprobs[batch.row_of_target == b]
                    if not len(own):
                        continue
                    likely = float((own > math.log(0.5)).float().mean())
                    scores[i] = Score(float(own.mean()), likely, len(own))
        return scores

    # -- tokens -----------------------------------------------------------------------------------

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt. Raises `InputError` for tools that the chat template does not know, empty raw text."""
        if prompt.raw is None:
            return self.encode_prompt(prompt.messages, tools=prompt.tools)
        ids = list(self.tokenizer(prompt.raw, add_special_tokens=False)["input_ids"])
        if not ids:
            raise InputError("The prompt is empty; expected text to continue.")
        return ids

    def encode_prompt(self, messages: Messages, *, tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Token ids of the rendered chat, up to where the assistant begins to speak."""
        text = self._rendered(messages, tools)
        if tools and text == self._rendered(messages, ()):
            raise InputError("This model's chat template has no place for tools; ask without them.")
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _rendered(self, messages: Messages, tools: Sequence[Mapping[str, Any]]) -> str:
        text: str = self.tokenizer.apply_chat_template(
            [dict(m) for m in messages],
            tools=[dict(t) for t in tools] or None,
            add_generation_prompt=True,
            tokenize=False,
        )
        return text

    def encode_row(self, messages: Messages, target: str, *, end: bool = True) -> Row:
        """A row to train or score: the loss counts the target and, with `end`, the end of turn."""
        prompt = self.encode_prompt(messages)
        ids = list(self.tokenizer(target, add_special_tokens=False)["input_ids"])
        if end:
            ids.append(int(self.tokenizer.eos_token_id))
        return Row(tuple(prompt + ids), len(prompt))

    def encode_text(self, text: str) -> Row:
        """A row of plain text, all of it counted by the loss, cut where the model's context ends."""
        ids = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], int(self.tokenizer.eos_token_id)]
        return Row(tuple(ids[: self.max_length]), 0)

    def count_tokens(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _check_fits(self, prompt_tokens: int, more: int) -> None:
        if prompt_tokens + more > self.max_length:
            raise PromptTooLongError(
                f"The prompt has {prompt_tokens} tokens and {more} are to follow, but this model's context "
                f"is {self.max_length}: shorten the text or retrieve fewer passages."
            )

    def _tokens(self, prompts: Sequence[int], wanted: int | None) -> int:
        """How many tokens may follow prompts of these lengths."""
        longest = max(prompts, default=0)
        if wanted is None:
            wanted = max(1, min(DEFAULT_TOKENS, self.max_length - longest))
        self._check_fits(longest, wanted)
        return wanted

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _completion(
        self, prompt_tokens: int, generated: Generated, text: str, tokens: tuple[TokenLogprob, ...]
    ) -> Completion:
        mean = sum(generated.logprobs) / max(1, len(generated.logprobs))
        finish: Finish = "stop" if generated.stopped else "length"
        return Completion(text, prompt_tokens, len(generated.ids), math.exp(mean), finish, tokens)

    def _logprobs(self, generated: Generated, transcript: Transcript, decoding: Decoding) -> tuple[TokenLogprob, ...]:
        if decoding.top_logprobs is None:
            return ()
        top = generated.top or ((),) * len(generated.ids)
        kept = range(transcript.kept(generated.ids))
        return tuple(
            TokenLogprob(
                self._text([generated.ids[n]]),
                generated.logprobs[n],
                tuple((self._text([i]), logprob) for i, logprob in top[n]),
            )
            for n in kept
        )

    def _stop_ids(self) -> frozenset[int]:
        ids = {self.tokenizer.eos_token_id}
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        ids.update(configured if isinstance(configured, list) else [configured])
        vocabulary = self.tokenizer.get_vocab()  # asked itself: SmolLM2's unknown token is <|endoftext|>
        ids.update(vocabulary.get(token) for token in ("<|im_end|>", "<|eot_id|>", "<|endoftext|>"))
        return frozenset(i for i in ids if isinstance(i, int))
