"""The second engine: a vLLM server over HTTP, adapters loaded into it by their content-addressed ids.

Prompts are rendered and tokenised here, with the model's own tokenizer, and sent as token ids; the tokens that come
back become text here: both engines see and say the same. The weights are never loaded in this process. The server is
first spoken to when something is asked, so that a memory opens and observes without it.

vLLM 0.32 on a CPU gives rows without an adapter the adapter in its last slot, once all slots were ever filled (to
unload frees no slot), so the base is asked for as an adapter of zeros. Not here: HTTP (`http`), which adapters
are loaded (`slots`), training, embeddings.
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
from seal_memory.engines.vllm import completions as form
from seal_memory.engines.vllm.blank import Blank, blank_of
from seal_memory.engines.vllm.http import ServedModel, UnknownModelError, VllmServer
from seal_memory.engines.vllm.slots import AdapterSlots
from seal_memory.engines.vllm.streams import merged
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
AT_ONCE = 32  # requests to the server
LEAST_LORAS = 3  # --max-loras: one adapter, the base's zeros, and one to spare
_PROBE = "The lighthouse at Korrin Bay: 1887, 'K-7741' & naïve façade\n\n\t<|im_end|> 灯台"


class AdapterSource(Protocol):
    """Where adapters lie: `find` gives the folder of an id as the server sees it, `keep` stores a blank's files there.

    `find` raises `UnknownIdError` for an id that is not its own, `CorruptAdapterError` for damaged files.
    """

    def find(self, adapter_id: str) -> str: ...

    def keep(self, blank: Blank) -> str: ...


class VllmEngine:
    """Answers and scores with a vLLM server; an `Engine` that `Talks`. Threads may share it; several memories too."""

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
        """`model`: what the server serves, by the name this library knows it by. `max_loras`: its --max-loras, where
        its metrics do not tell. Raises `InputError` for a bad address, `ModelUnavailableError`.
        """
        self._cache_dir = cache_dir
        self.files: ModelFiles = resolve(model, cache_dir=cache_dir)
        self.fingerprint = self.files.fingerprint
        self.server = VllmServer(url, key=key, timeout=timeout)
        self._given_loras = max_loras
        self._served: ServedModel | None = None
        self._slots: AdapterSlots | None = None
        self._greeting = threading.RLock()
        self._shelves: list[AdapterSource] = []
        self._owners: dict[str, AdapterSource] = {}  # of what was loaded
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="seal-memory-vllm")

    def close(self) -> None:
        """Let go of the connections; adapters stay loaded on the server."""
        self._threads.shutdown(wait=False)  # none is cancelled: each reader is told its end, by an error if need be
        self.server.close()

    @cached_property
    def encoder(self) -> Encoder:
        """The model's tokenizer. Raises `ModelUnavailableError`."""
        return load_encoder(self.files)

    @cached_property
    def _blank(self) -> Blank | None:
        return blank_of(self.files.folder)

    # -- adapters ---------------------------------------------------------------------------------

    def add_source(self, shelf: AdapterSource) -> None:
        """One more place that adapters come from."""
        self._shelves = [*self._shelves, shelf]

    def remove_source(self, shelf: AdapterSource) -> None:
        """No longer ask this place; what is loaded stays until room is wanted."""
        self._shelves = [s for s in self._shelves if s is not shelf]
        self._owners = {name: s for name, s in list(self._owners.items()) if s is not shelf}

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of the adapters that the server holds, as far as known; least recently used first."""
        return self._slots.names if self._slots is not None else ()

    @property
    def most_adapters(self) -> int | None:
        """How many may be loaded at once; None before the server was greeted."""
        return self._slots.limit if self._slots is not None else None

    def drop(self, adapter_id: str) -> None:
        """Unload an adapter that is gone for good; a server that is away is no error: what it held went with it."""
        try:
            if self._slots is None or not self._slots.discard(adapter_id):
                self.server.unload(adapter_id)  # what another process may have loaded
        except EngineUnavailableError as error:
            logger.warning("adapter %s cannot be unloaded now: %s", adapter_id, error)

    def retain(self, shelf: AdapterSource, adapter_ids: Sequence[str]) -> None:
        """Unload what came from this place and is none of `adapter_ids`: no published snapshot uses it."""
        for name in [n for n, s in list(self._owners.items()) if s is shelf and n not in adapter_ids]:
            self._owners.pop(name, None)
            self.drop(name)

    def _load(self, name: str) -> None:
        if self._blank is not None and name == self._blank.name:
            self.server.load(name, self._shelves[0].keep(self._blank))
            return
        for shelf in self._shelves:
            try:
                path = shelf.find(name)
            except UnknownIdError:
                continue
            except LedgerError:
                if shelf in self._shelves:  # else its memory was closed meanwhile
                    raise
                continue
            self.server.load(name, path)
            self._owners[name] = shelf
            return
        raise AdapterError(f"No open memory holds the adapter {name!r}; it cannot be loaded into the vLLM server.")

    # -- the server -------------------------------------------------------------------------------

    def reachable(self) -> bool:
        """Whether the server answers now; takes some seconds at most where it does not."""
        return self.server.healthy()

    def greet(self) -> ServedModel:
        """What the server has, looked at once. Raises `EngineUnavailableError`, `BaseModelMismatchError`."""
        with self._greeting:
            return self._served if self._served is not None else self._greet()

    def _greet(self) -> ServedModel:
        """Also after the server forgot what it was told: it may be another one by now."""
        with self._greeting:
            served = self.server.served()
            self._check_model(served)
            limit = self._limit(served)
            if self._slots is None:
                self._slots = AdapterSlots(self._load, self.server.unload, limit=limit)
            self._slots.limit = limit
            ours = [n for n in served.adapters if form.is_ours(n)]
            self._slots.resync(ours, others=len(served.adapters) - len(ours))
            if served.max_length is not None:
                self.encoder.max_length = min(self.encoder.max_length, served.max_length)
            self._served = served
            return served

    def _check_model(self, served: ServedModel) -> None:
        """Raises `BaseModelMismatchError` where the server's model is another one, as far as can be seen from here."""
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
        slots = self._given_loras or self.server.max_loras()
        if slots is None:
            self.server.complete(form.first_token(served.base))  # its metrics tell nothing before it computed something
            slots = self.server.max_loras()
        if slots is None:
            raise EngineUnavailableError(
                f"{self.server.url} does not tell its --max-loras: start it with --enable-lora and --max-loras 8, or "
                "say how many with the setting engine.max_loras."
            )
        if slots < LEAST_LORAS:
            raise EngineUnavailableError(f"{self.server.url} has --max-loras {slots}; expected {LEAST_LORAS} or more.")
        return slots - 1

    @contextmanager
    def _model(self, adapter_id: str | None) -> Iterator[str]:
        """The name to ask for, which stays loaded inside the block."""
        served = self.greet()
        name = adapter_id
        if name is None and self._blank is not None and self._shelves:
            name = self._blank.name
        if name is None or self._slots is None:
            yield served.base
            return
        with self._slots.using(name):
            yield name

    def _asked(self, adapter_id: str | None, ask: Callable[[str], T]) -> T:
        """`ask(name)`; a server that has forgotten the name is told it again, once."""
        try:
            with self._model(adapter_id) as name:
                return ask(name)
        except UnknownModelError:
            self._greet()
        with self._model(adapter_id) as name:
            return ask(name)

    # -- the Engine protocol ----------------------------------------------------------------------

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """Continue every prompt, each under its own adapter. Raises as `talk`."""
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        """As `TransformersEngine.talk`, `on_text` called in this thread. Samples are drawn by the server.

        Raises `InputError` as there, `EngineUnavailableError` when the server is gone or breaks off.
        """
        sampling = _sampling(decoding)
        ids = [self.encoder.encode(p) for p in prompts]
        if ids:
            self.greet()  # it may have a shorter context
        tokens = self.encoder.room([len(i) for i in ids], decoding.max_tokens)
        transcript = Transcript(self.encoder.text, len(ids), stop=decoding.stop, on_text=on_text)
        seeds = row_seeds(sampling, ids, [p.adapter for p in prompts], [p.greedy for p in prompts])
        asked = form.CompletionRequest(tokens, sampling, decoding, self.encoder.stop_ids, seeds)
        if not tokens:
            made = [Generated((), (), False)] * len(ids)
        elif on_text is None:
            made = self._whole(prompts, ids, asked)
        else:
            made = self._spoken(prompts, ids, asked, transcript)
        return [
            self.encoder.completion(len(i), g, row=row, transcript=transcript, decoding=decoding)
            for row, (i, g) in enumerate(zip(ids, made, strict=True))
        ]

    def check(self, prompt: Prompt, decoding: Decoding) -> None:
        """Raises what can be known to be wrong with this prompt and these options without the server."""
        _sampling(decoding)
        self.encoder.room([len(self.encoder.encode(prompt))], decoding.max_tokens)

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """As `TransformersEngine.score`, by the server's prompt log-probabilities.

        Raises `InputError` when a prompt, its target and one token do not fit, `EngineUnavailableError`.
        """
        if not requests:
            return []
        self.greet()
        rows = [(self.encoder.encode(p), self.encoder.ids(target)) for p, target in requests]
        for prompt, target in rows:
            self.encoder.check_fits(len(prompt), len(target) + 1)
        return self._each([p.adapter for p, _ in requests], lambda n, name: self._scored(name, *rows[n]))

    def _scored(self, name: str, prompt: list[int], target: list[int]) -> Score:
        if not target:
            return Score(-math.inf, 0.0, 0)
        choice = self.server.complete(form.scoring(name, [*prompt, *target]))
        own = form.prompt_logprobs(choice, [*prompt, *target])[len(prompt) :]
        return Score(sum(own) / len(own), sum(x > math.log(0.5) for x in own) / len(own), len(own))

    # -- rows -------------------------------------------------------------------------------------

    def _each(self, adapters: Sequence[str | None], work: Callable[[int, str], T]) -> list[T]:
        """`work(row, model's name)` for every row, rows of one adapter beside each other; results in order."""
        order = _by_adapter(adapters)
        tasks = [partial(self._asked, adapters[n], partial(work, n)) for n in order]
        if len(tasks) == 1:
            return [tasks[0]()]
        futures = [self._threads.submit(task) for task in tasks]
        try:
            done = dict(zip(order, [f.result() for f in futures], strict=True))
        finally:
            for future in futures:
                future.cancel()
        return [done[n] for n in range(len(adapters))]

    def _whole(
        self, prompts: Sequence[Prompt], ids: Sequence[list[int]], asked: form.CompletionRequest
    ) -> list[Generated]:
        def one(n: int, name: str) -> Generated:
            choice = self.server.complete(asked.body(name, ids[n], row=n))
            return form.Row(asked).add(choice).generated()

        return self._each([p.adapter for p in prompts], one)

    def _spoken(
        self, prompts: Sequence[Prompt], ids: Sequence[list[int]], asked: form.CompletionRequest, transcript: Transcript
    ) -> list[Generated]:
        """The same, told piece by piece."""
        rows = [form.Row(asked) for _ in ids]
        order = _by_adapter([p.adapter for p in prompts])
        makers = [partial(self._stream, prompts[n].adapter, asked, ids[n], n) for n in order]
        with closing(merged(makers, self._threads)) as pieces:  # type: ignore[type-var]  # it is a generator
            for place, choice in pieces:
                n = order[place]
                before = len(rows[n].ids)
                for token in rows[n].add(choice).ids[before:]:
                    if transcript.token(n, token):
                        rows[n].end()
        return [row.generated() for row in rows]

    def _stream(
        self, adapter_id: str | None, asked: form.CompletionRequest, ids: list[int], row: int
    ) -> Generator[dict[str, Any], None, None]:
        """A row's pieces; a server that has forgotten the adapter is told it again, once, before the first."""
        for last in (False, True):
            try:
                with self._model(adapter_id) as name:
                    yield from self.server.stream(asked.body(name, ids, row=row))
                return
            except UnknownModelError:
                if last:
                    raise
            self._greet()


def _by_adapter(adapters: Sequence[str | None]) -> list[int]:
    """The rows, those of one adapter beside each other: where there is little room each is loaded once."""
    first: dict[str | None, int] = {}
    places = [first.setdefault(a, n) for n, a in enumerate(adapters)]
    return sorted(range(len(adapters)), key=lambda n: (places[n], n))


def _sampling(decoding: Decoding) -> Sampling:
    """Raises `InputError` for options out of range, the same as in process."""
    if decoding.top_logprobs is not None and not 0 <= decoding.top_logprobs <= form.MOST_LOGPROBS:
        raise InputError(f"top_logprobs is {decoding.top_logprobs}; a vLLM server gives 0 to {form.MOST_LOGPROBS}.")
    return Sampling(temperature=decoding.temperature, seed=decoding.seed, top_p=decoding.top_p)
