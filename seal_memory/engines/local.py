"""In-process engine (the default): transformers, with adapters applied per row.

Adapters are added by id (`put`) or fetched on first use from a source. The most recently used stay in memory; beyond
them a `put` adapter stays usable as long as its owner holds it, as a candidate has no file to fetch. Several memories
may share one engine, each as a source. Not here: finding model files (`models`), training (`learning.inner_loop`),
routing.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import torch

from seal_memory.engines.base import Completion, Decoding, Messages, OnText, Prompt, Score
from seal_memory.engines.batches import Row, micro_batches, target_logprobs
from seal_memory.engines.decode import Sampling, generate
from seal_memory.engines.encoding import DEFAULT_LENGTH, Encoder
from seal_memory.engines.models import LoadedModel
from seal_memory.engines.priority_lock import PriorityLock
from seal_memory.engines.profile import inspect
from seal_memory.engines.schemas import SchemaCompiler
from seal_memory.errors import AdapterError, LedgerError, UnknownIdError
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

Fetch = Callable[[str], LoraAdapter]

SCORE_TOKEN_BUDGET = 4096  # padded tokens per forward pass without gradients


class TransformersEngine:
    """Generates, scores, and holds the stack that trains. One lock: one batch at a time, answers before training."""

    def __init__(self, loaded: LoadedModel, *, fetch: Fetch | None = None, keep: int = 64) -> None:
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.fingerprint = loaded.files.fingerprint
        self.hardware = loaded.hardware
        self.stack = StackedLora(loaded.model)
        self.lock = PriorityLock()
        self._sources: list[Fetch] = [] if fetch is None else [fetch]
        self._sources_lock = threading.Lock()
        self._keep = keep
        self._adapters: OrderedDict[str, LoraAdapter] = OrderedDict()
        # adapters from `put`, for as long as anybody holds them
        self._put_adapters: WeakValueDictionary[str, LoraAdapter] = WeakValueDictionary()
        self.encoder = _encoder(loaded)
        self.schemas = SchemaCompiler(self.tokenizer, self.encoder.stop_ids)
        self.profile = inspect(loaded.model, self.encoder)
        self.stop_ids, self.max_length = self.encoder.stop_ids, self.encoder.max_length
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else min(self.stop_ids)

    @property
    def device(self) -> torch.device:
        """The model's device."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def add_source(self, fetch: Fetch) -> None:
        """Add a source of adapters: `fetch` raises `UnknownIdError` for an id that is not its own."""
        with self._sources_lock:
            self._sources = [*self._sources, fetch]

    def remove_source(self, fetch: Fetch) -> None:
        """Remove a source; loaded adapters stay. Does not wait for the model's lock."""
        with self._sources_lock:
            self._sources = [s for s in self._sources if s is not fetch]

    # -- adapters ---------------------------------------------------------------------------------

    def put(self, adapter_id: str, adapter: LoraAdapter) -> None:
        """Make an adapter usable under an id, until dropped, or evicted (over `keep`) and held by nobody else."""
        with self.lock:
            self._put_adapters[adapter_id] = adapter
            self._remember(adapter_id, adapter)

    def _remember(self, adapter_id: str, adapter: LoraAdapter) -> None:
        """Cache an adapter; evicts the least recently used over `keep`."""
        self._adapters[adapter_id] = adapter
        self._adapters.move_to_end(adapter_id)
        while len(self._adapters) > self._keep:
            self._adapters.popitem(last=False)

    def drop(self, adapter_id: str) -> None:
        """Remove an adapter; unknown ids are ignored."""
        with self.lock:
            self._adapters.pop(adapter_id, None)
            self._put_adapters.pop(adapter_id, None)

    def holds(self, adapter_id: str) -> bool:
        """Whether an adapter is loaded; does not wait for the model's lock."""
        return adapter_id in self._adapters or adapter_id in self._put_adapters

    def adapter(self, adapter_id: str | None) -> LoraAdapter | None:
        """The adapter of an id. Raises `AdapterError` when it is neither loaded nor fetchable."""
        return None if adapter_id is None else self._get(adapter_id)

    def _get(self, adapter_id: str) -> LoraAdapter:
        with self.lock:
            found = self._adapters.get(adapter_id) or self._put_adapters.get(adapter_id)
            if found is None:
                found = self._fetch(adapter_id)
            self._remember(adapter_id, found)
            return found

    def _adapters_of(self, prompts: Sequence[Prompt]) -> list[LoraAdapter | None]:
        """The adapter of each prompt; prompts of one id share one object, so that their rows are adjacent."""
        found = {a: self._get(a) for a in dict.fromkeys(p.adapter for p in prompts) if a is not None}
        return [found[p.adapter] if p.adapter is not None else None for p in prompts]

    def _fetch(self, adapter_id: str) -> LoraAdapter:
        """Fetch from the first source that knows the id: ids are content-addressed, so all have the same bytes."""
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
        """Continue every prompt with these options; `on_text` receives the text as it is made, in this thread.

        Raises `InputError` when a prompt and `max_tokens` do not fit the model's context, for options out of range, and
        for a schema that cannot be followed.
        """
        ids = [self.encode(p) for p in prompts]
        tokens = self.encoder.max_new_tokens([len(i) for i in ids], decoding.max_tokens)
        sampling = _sampling(decoding)
        matchers = [None if p.schema is None else self.schemas.matcher(p.schema) for p in prompts]
        transcript = self.encoder.transcript(prompts, stop=decoding.stop, on_text=on_text)
        with self.lock:
            done = generate(
                self.stack,
                ids,
                self._adapters_of(prompts),
                max_new_tokens=tokens,
                stop_ids=self.stop_ids,
                pad_id=self.pad_id,
                sampling=sampling,
                on_token=None if transcript.is_idle else transcript.token,
                before_token=self.lock.give_way,
                top=decoding.top_logprobs or 0,
                greedy=[p.greedy for p in prompts],
                own_seeds=[p.seed for p in prompts],
                matchers=matchers,
            )
        return [
            self.encoder.completion(len(i), g, row=row, transcript=transcript, decoding=decoding)
            for row, (i, g) in enumerate(zip(ids, done, strict=True))
        ]

    def check(self, prompt: Prompt, decoding: Decoding) -> None:
        """Raises what `talk` would raise for this prompt and these options, before anything is computed."""
        _sampling(decoding)
        if prompt.schema is not None:
            self.schemas.check(prompt.schema)
        self.encoder.max_new_tokens([len(self.encode(prompt))], decoding.max_tokens)

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """Log-probability of each target text after its prompt, end of turn not counted.

        A target without tokens scores minus infinity. Raises `InputError` when a prompt and its target do not fit the
        model's context.
        """
        rows = [self._row(self.encode(p), target, end=False) for p, target in requests]
        for row in rows:
            self.encoder.check_fits(row.prompt_length, row.target_length)
        adapters = self._adapters_of([p for p, _ in requests])
        first_seen: dict[int, int] = {}  # not the object's address, which differs between runs
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
        """As `Encoder.encode`."""
        return self.encoder.encode(prompt)

    def encode_prompt(self, messages: Messages, *, tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """As `Encoder.encode_prompt`."""
        return self.encoder.encode_prompt(messages, tools=tools)

    def encode_row(self, messages: Messages, target: str, *, end: bool = True) -> Row:
        """A training or scoring row: the loss counts the target and, with `end`, the end of turn."""
        return self._row(self.encode_prompt(messages), target, end=end)

    def _row(self, prompt: list[int], target: str, *, end: bool) -> Row:
        ids = self.encoder.ids(target)
        if end:
            ids.append(self.encoder.end_of_turn)
        return Row(tuple(prompt + ids), len(prompt))

    def encode_text(self, text: str) -> Row:
        """A row of plain text, cut at the model's context; the loss counts all of it."""
        end = self.tokenizer.eos_token_id
        ids = self.encoder.plain_ids(text)
        given = len(ids) - len(self.encoder.ids(text))
        ids.append(self.encoder.end_of_turn if end is None else int(end))
        return Row(tuple(ids[: self.max_length]), given)

    def count_tokens(self, text: str) -> int:
        return len(self.encoder.ids(text))


def _sampling(decoding: Decoding) -> Sampling:
    return Sampling(decoding.temperature, top_k=decoding.top_k, seed=decoding.seed, top_p=decoding.top_p)


def _encoder(loaded: LoadedModel) -> Encoder:
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    length = int(getattr(loaded.model.config, "max_position_embeddings", DEFAULT_LENGTH))
    ends = configured if isinstance(configured, list) else [configured]
    return Encoder(loaded.tokenizer, max_length=length, end_ids=ends)
