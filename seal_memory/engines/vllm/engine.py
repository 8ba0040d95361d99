"""vLLM engine: a vLLM server over HTTP, with adapters loaded under their content-addressed ids.

Prompts are rendered and tokenised here, with the model's own tokenizer, and sent as token ids; returned tokens are
decoded here: both engines see and produce the same text. The weights are never loaded in this process. The first
question connects to the server, so that a memory opens and observes without it.

vLLM 0.32 on a CPU gives rows without an adapter the adapter in its last slot once all slots were ever filled (unloading
frees no slot), so the base is requested as an adapter of zeros. Not here: HTTP (`http`), which adapters are loaded
(`slots`), training, embeddings.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from seal_memory.engines.base import Completion, Decoding, OnText, Prompt, Score
from seal_memory.engines.encoding import Encoder, Generated, load_encoder
from seal_memory.engines.models import DEFAULT_MODEL, ModelFiles, resolve
from seal_memory.engines.sampling import Sampling, row_seeds
from seal_memory.engines.transcript import Transcript
from seal_memory.engines.vllm import completions
from seal_memory.engines.vllm.blank import Blank, blank_of
from seal_memory.engines.vllm.http import ServedModel, UnknownModelError, VllmServer
from seal_memory.engines.vllm.slots import AdapterSlots
from seal_memory.engines.vllm.streams import merge
from seal_memory.errors import (
    AdapterError,
    BaseModelMismatchError,
    EngineUnavailableError,
    InputError,
    LedgerError,
    UnknownIdError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_REQUESTS = 32  # concurrent requests to the server
MIN_LORAS = 3  # --max-loras: one adapter, the base's zeros, and one to spare
REMEDY = (
    "restart it, which is certain, or (started with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1) POST "
    "/sleep?level=2, which discards the weights on the GPU"
)
_PROBE = "The lighthouse at Korrin Bay: 1887, 'K-7741' & naïve façade\n\n\t<|im_end|> 灯台"


class AdapterSource(Protocol):
    """A memory's adapter folders, as paths that the server sees.

    `find` returns the folder of an id; it raises `UnknownIdError` for an id that is not its own, `CorruptAdapterError`
    for damaged files. `store_blank` writes a blank's files and returns their folder.
    """

    def find(self, adapter_id: str) -> str: ...

    def store_blank(self, blank: Blank) -> str: ...


class VllmEngine:
    """Answers and scores with a vLLM server; a `ChatEngine`. Threads and several memories may share it."""

    def __init__(
        self,
        url: str,
        model: str = DEFAULT_MODEL,
        *,
        max_loras: int | None = None,
        key: str | None = None,
        timeout: float = 300.0,
        cache_dir: Path | None = None,
    ) -> None:
        """`model`: the served model, by this library's name for it.

        `max_loras`: the server's --max-loras, for servers whose metrics do not show it. Raises `InputError` for a bad
        address, `ModelUnavailableError`.
        """
        self._cache_dir = cache_dir
        self.files: ModelFiles = resolve(model, cache_dir=cache_dir)
        self.fingerprint = self.files.fingerprint
        self.server = VllmServer(url, key=key, timeout=timeout)
        self._max_loras = max_loras
        self._served: ServedModel | None = None
        self._slots: AdapterSlots | None = None
        self._connect_lock = threading.RLock()
        self._sources: list[AdapterSource] = []
        self._owners: dict[str, AdapterSource] = {}  # by loaded adapter
        self._threads = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="seal-memory-vllm")

    def close(self) -> None:
        """Close the connections; adapters stay loaded on the server."""
        self._threads.shutdown(wait=False)  # none is cancelled: every reader gets an end or an error
        self.server.close()

    @cached_property
    def encoder(self) -> Encoder:
        """The model's tokenizer. Raises `ModelUnavailableError`."""
        return load_encoder(self.files)

    @cached_property
    def _blank(self) -> Blank | None:
        return blank_of(self.files.folder)

    # -- adapters ---------------------------------------------------------------------------------

    def add_source(self, source: AdapterSource) -> None:
        """Add a source of adapters."""
        self._sources = [*self._sources, source]

    def remove_source(self, source: AdapterSource) -> None:
        """Remove a source; its loaded adapters stay until their slots are needed."""
        self._sources = [s for s in self._sources if s is not source]
        self._owners = {name: s for name, s in list(self._owners.items()) if s is not source}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters on the server, as far as known; least recently used first."""
        return self._slots.names if self._slots is not None else ()

    @property
    def max_adapters(self) -> int | None:
        """How many adapters may be loaded at once; None before the first connection."""
        return self._slots.limit if self._slots is not None else None

    def drop(self, adapter_id: str) -> None:
        """Unload a deleted adapter. An unreachable server is no error: its adapters went with it."""
        try:
            if self._slots is None or not self._slots.discard(adapter_id):
                self.server.unload(adapter_id)  # another process may have loaded it
        except EngineUnavailableError as error:
            logger.warning("adapter %s cannot be unloaded now: %s", adapter_id, error)

    def drop_and_verify(self, adapter_id: str) -> bool:
        """Unload a forgotten adapter and ask for it: whether the server no longer answers with it.

        False too where the server cannot be asked. That the name is gone does not say that the weights left its memory:
        vLLM may keep them until another adapter needs the place (vLLM issue 54839).
        """
        self.drop(adapter_id)
        try:
            self.server.complete(completions.minimal_body(adapter_id))
        except UnknownModelError:
            return True
        except (EngineUnavailableError, InputError) as error:
            logger.warning("whether adapter %s is unloaded cannot be asked: %s", adapter_id, error)
            return False
        logger.warning("%s still answers with the forgotten adapter %s; %s", self.server.url, adapter_id, REMEDY)
        return False

    def retain(self, source: AdapterSource, adapter_ids: Sequence[str]) -> None:
        """Unload the source's adapters that are not in `adapter_ids`: no published snapshot uses them."""
        for name in [n for n, s in list(self._owners.items()) if s is source and n not in adapter_ids]:
            self._owners.pop(name, None)
            self.drop(name)

    def _load(self, name: str) -> None:
        if self._blank is not None and name == self._blank.name:
            self.server.load(name, self._sources[0].store_blank(self._blank))
            return
        for source in self._sources:
            try:
                path = source.find(name)
            except UnknownIdError:
                continue
            except LedgerError:
                if source in self._sources:  # else its memory was closed meanwhile
                    raise
                continue
            self.server.load(name, path)
            self._owners[name] = source
            return
        raise AdapterError(f"No open memory holds the adapter {name!r}; it cannot be loaded into the vLLM server.")

    # -- the server -------------------------------------------------------------------------------

    def reachable(self) -> bool:
        """Whether the server answers now; takes some seconds at most where it does not."""
        return self.server.healthy()

    def connect(self) -> ServedModel:
        """The server's model and adapters, read at the first call.

        Raises `EngineUnavailableError`, `BaseModelMismatchError`.
        """
        with self._connect_lock:
            return self._served if self._served is not None else self._reconnect()

    def _reconnect(self) -> ServedModel:
        """Read the server's model and adapters again: it may be another server by now."""
        with self._connect_lock:
            served = self.server.served()
            self._check_model(served)
            limit = self._limit(served)
            if self._slots is None:
                self._slots = AdapterSlots(self._load, self.server.unload, limit=limit)
            self._slots.limit = limit
            ours = [n for n in served.adapters if completions.is_own_name(n)]
            self._slots.resync(ours, others=len(served.adapters) - len(ours))
            if served.max_length is not None:
                self.encoder.max_length = min(self.encoder.max_length, served.max_length)
            self._served = served
            return served

    def _check_model(self, served: ServedModel) -> None:
        """Raises `BaseModelMismatchError` where the server's files or tokenizer show another model."""
        if served.root and (Path(served.root) / "config.json").is_file():
            found = resolve(served.root, cache_dir=self._cache_dir).fingerprint
            if found != self.fingerprint:
                raise BaseModelMismatchError(
                    f"The vLLM server serves the model in {served.root} (fingerprint {found[:16]}…), but this memory "
                    f"uses {self.files.name!r} ({self.fingerprint[:16]}…): start it with --model {self.files.folder}"
                )
        if self.server.tokenize(served.base, _PROBE) != self.encoder.ids(_PROBE):
            raise BaseModelMismatchError(
                f"The vLLM server's model {served.base!r} has another tokenizer than {self.files.name!r}: start it "
                f"with --model {self.files.folder}"
            )

    def _limit(self, served: ServedModel) -> int:
        """How many adapters may be loaded: one less than the server's slots."""
        slots = self._max_loras or self.server.max_loras()
        if slots is None:
            self.server.complete(completions.minimal_body(served.base))  # metrics are empty before the first request
            slots = self.server.max_loras()
        if slots is None:
            raise EngineUnavailableError(
                f"{self.server.url} does not show its --max-loras: start it with --enable-lora and --max-loras 8, or "
                "give the number in the setting engine.max_loras."
            )
        if slots < MIN_LORAS:
            raise EngineUnavailableError(f"{self.server.url} has --max-loras {slots}; expected {MIN_LORAS} or more.")
        return slots - 1

    @contextmanager
    def _adapter_name(self, adapter_id: str | None) -> Iterator[str]:
        """The model name to request; its adapter stays loaded inside the block."""
        served = self.connect()
        name = adapter_id
        if name is None and self._blank is not None and self._sources:
            name = self._blank.name
        if name is None or self._slots is None:
            yield served.base
            return
        with self._slots.using(name):
            yield name

    def _with_adapter(self, adapter_id: str | None, ask: Callable[[str], T]) -> T:
        """`ask(name)`; where the server no longer knows the name, reconnect and try once more."""
        try:
            with self._adapter_name(adapter_id) as name:
                return ask(name)
        except UnknownModelError:
            self._reconnect()
        with self._adapter_name(adapter_id) as name:
            return ask(name)

    # -- the Engine protocol ----------------------------------------------------------------------

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """Continue every prompt, each under its own adapter. Raises as `talk`."""
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        """As `TransformersEngine.talk`; `on_text` is called in this thread. The server draws the samples.

        Raises `InputError` as there, `EngineUnavailableError` when the server is unreachable or breaks off.
        """
        sampling = _sampling(decoding)
        ids = [self.encoder.encode(p) for p in prompts]
        if ids:
            self.connect()  # it may have a shorter context
        tokens = self.encoder.max_new_tokens([len(i) for i in ids], decoding.max_tokens)
        transcript = self.encoder.transcript(prompts, stop=decoding.stop, on_text=on_text)
        seeds = row_seeds(
            sampling, ids, [p.adapter for p in prompts], [p.greedy for p in prompts], [p.seed for p in prompts]
        )
        request = completions.CompletionRequest(tokens, sampling, decoding, self.encoder.stop_ids, seeds)
        if not tokens:
            made = [Generated((), (), False)] * len(ids)
        elif on_text is None:
            made = self._generate(prompts, ids, request)
        else:
            made = self._generate_streaming(prompts, ids, request, transcript)
        return [
            self.encoder.completion(len(i), g, row=row, transcript=transcript, decoding=decoding)
            for row, (i, g) in enumerate(zip(ids, made, strict=True))
        ]

    def check(self, prompt: Prompt, decoding: Decoding) -> None:
        """Raises the errors of this prompt and these options that are known without the server."""
        _sampling(decoding)
        self.encoder.max_new_tokens([len(self.encoder.encode(prompt))], decoding.max_tokens)

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """As `TransformersEngine.score`, from the server's prompt log-probabilities.

        Raises `InputError` when a prompt, its target and one token do not fit, `EngineUnavailableError`.
        """
        if not requests:
            return []
        self.connect()
        rows = [(self.encoder.encode(p), self.encoder.ids(target)) for p, target in requests]
        for prompt, target in rows:
            self.encoder.check_fits(len(prompt), len(target) + 1)
        return self._map_rows([p.adapter for p, _ in requests], lambda n, name: self._scored(name, *rows[n]))

    def _scored(self, name: str, prompt: list[int], target: list[int]) -> Score:
        if not target:
            return Score(-math.inf, 0.0, 0)
        choice = self.server.complete(completions.scoring_body(name, [*prompt, *target]))
        own = completions.prompt_logprobs(choice, [*prompt, *target])[len(prompt) :]
        return Score(sum(own) / len(own), sum(x > math.log(0.5) for x in own) / len(own), len(own))

    # -- rows -------------------------------------------------------------------------------------

    def _map_rows(self, adapters: Sequence[str | None], work: Callable[[int, str], T]) -> list[T]:
        """`work(row, model name)` for every row, in parallel, grouped by adapter; results in order."""
        order = _by_adapter(adapters)
        tasks = [partial(self._with_adapter, adapters[n], partial(work, n)) for n in order]
        if len(tasks) == 1:
            return [tasks[0]()]
        futures = [self._threads.submit(task) for task in tasks]
        try:
            done = dict(zip(order, [f.result() for f in futures], strict=True))
        finally:
            for future in futures:
                future.cancel()
        return [done[n] for n in range(len(adapters))]

    def _generate(
        self, prompts: Sequence[Prompt], ids: Sequence[list[int]], request: completions.CompletionRequest
    ) -> list[Generated]:
        def one(n: int, name: str) -> Generated:
            choice = self.server.complete(request.body(name, ids[n], row=n, schema=prompts[n].schema))
            return completions.Row(request).add(choice).generated()

        return self._map_rows([p.adapter for p in prompts], one)

    def _generate_streaming(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[list[int]],
        request: completions.CompletionRequest,
        transcript: Transcript,
    ) -> list[Generated]:
        """As `_generate`, passing each token to the transcript."""
        rows = [completions.Row(request) for _ in ids]
        order = _by_adapter([p.adapter for p in prompts])
        makers = [partial(self._stream, prompts[n], request, ids[n], n) for n in order]
        with closing(merge(makers, self._threads)) as pieces:  # type: ignore[type-var]  # it is a generator
            for place, choice in pieces:
                n = order[place]
                before = len(rows[n].ids)
                for token in rows[n].add(choice).ids[before:]:
                    if transcript.token(n, token):
                        rows[n].end()
        return [row.generated() for row in rows]

    def _stream(
        self, prompt: Prompt, request: completions.CompletionRequest, ids: list[int], row: int
    ) -> Generator[dict[str, Any], None, None]:
        """A row's pieces; where the server no longer knows the adapter, reconnect once, before the first piece."""
        for last in (False, True):
            try:
                with self._adapter_name(prompt.adapter) as name:
                    yield from self.server.stream(request.body(name, ids, row=row, schema=prompt.schema))
                return
            except UnknownModelError:
                if last:
                    raise
            self._reconnect()


def _by_adapter(adapters: Sequence[str | None]) -> list[int]:
    """Row indices grouped by adapter, so that each loads once when slots are scarce."""
    first: dict[str | None, int] = {}
    places = [first.setdefault(a, n) for n, a in enumerate(adapters)]
    return sorted(range(len(adapters)), key=lambda n: (places[n], n))


def _sampling(decoding: Decoding) -> Sampling:
    """Raises `InputError` for options out of range, as the in-process engine does."""
    if decoding.top_logprobs is not None and not 0 <= decoding.top_logprobs <= completions.MAX_LOGPROBS:
        raise InputError(
            f"top_logprobs is {decoding.top_logprobs}; a vLLM server gives 0 to {completions.MAX_LOGPROBS}."
        )
    return Sampling(decoding.temperature, top_k=decoding.top_k, seed=decoding.seed, top_p=decoding.top_p)
