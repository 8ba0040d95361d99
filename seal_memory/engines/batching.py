"""Dynamic batching: requests that wait for the model at the same time are answered in one batch.

The request that gets the lock first takes along all waiting ones with the same decoding options. An answer does not
depend on the rest of its batch, except for rounding (see `local`): sampled requests for the same prompt are not joined,
as their draws would depend on their order. Not here: joining a batch that already runs, and threads of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, proxy

from seal_memory.engines.base import NO_LIMIT, Completion, Decoding, OnText, Prompt, Score
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import SealMemoryError

MAX_ROWS = 32  # per batch


@dataclass(eq=False, slots=True)
class _Request:
    """One caller's prompts, and their answers or error."""

    prompts: Sequence[Prompt]
    decoding: Decoding
    on_text: OnText | None
    done: list[Completion] = field(default_factory=list)
    error: Exception | None = None
    streamed: bool = False

    def send(self, row: int, piece: str) -> None:
        """Stream a piece of text; an exception of the listener ends this request only."""
        if self.on_text is not None and self.error is None:
            try:
                self.on_text(row, piece)
            except Exception as error:  # noqa: BLE001 (the listener's own error, raised to its caller)
                self.error = error
            self.streamed = self.streamed or bool(piece)


class DynamicBatcher:
    """A `ChatEngine` that joins concurrent requests to one engine. Get the engine's own with `batcher_of`."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine: TransformersEngine = proxy(engine)  # weak: `_batchers` must not keep the engine alive
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """As `TransformersEngine.complete`."""
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """As `TransformersEngine.score`; scores are not batched."""
        return self._engine.score(requests)

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        """As `TransformersEngine.talk`; `on_text` may be called in another caller's thread."""
        if not prompts or decoding.top_logprobs or decoding.max_tokens in (None, NO_LIMIT):
            return self._engine.talk(prompts, decoding, on_text=on_text)
        request = _Request(prompts, decoding, on_text)
        with self._lock:
            self._waiting.append(request)
        with self._engine.lock:
            if not request.done and request.error is None:
                self._run(self._collect_batch(request))
        if request.error is not None:
            raise request.error
        return request.done

    def _collect_batch(self, request: _Request) -> list[_Request]:
        """This request and the waiting ones that fit its batch, oldest first."""
        with self._lock:
            self._waiting = [r for r in self._waiting if r is not request]
            taken, rows = [request], len(request.prompts)
            for other in self._waiting:
                fits = other.decoding == request.decoding and rows + len(other.prompts) <= MAX_ROWS
                if fits and not (request.decoding.temperature and any(_share_a_prompt(r, other) for r in taken)):
                    taken.append(other)
                    rows += len(other.prompts)
            self._waiting = [r for r in self._waiting if r not in taken]
            return taken

    def _run(self, requests: Sequence[_Request]) -> None:
        """Run one batch; where it fails, run each request alone, so that one bad request does not fail the others."""
        try:
            self._batch(requests)
        except SealMemoryError as error:
            if len(requests) == 1 or any(r.streamed for r in requests):
                self._fail(requests, error)
            else:
                for request in requests:
                    self._run([request])
        except Exception as error:  # noqa: BLE001 (raised to every caller of the batch)
            self._fail(requests, error)

    def _batch(self, requests: Sequence[_Request]) -> None:
        owners = [(request, row) for request in requests for row in range(len(request.prompts))]

        def send(place: int, piece: str) -> None:
            request, row = owners[place]
            request.send(row, piece)
            if all(r.error is not None for r in requests):
                raise _NoListenersError

        prompts, decoding = [p for r in requests for p in r.prompts], requests[0].decoding
        try:
            if decoding.is_plain and decoding.max_tokens is not None and all(r.on_text is None for r in requests):
                done = self._engine.complete(prompts, max_tokens=decoding.max_tokens)
            else:
                done = self._engine.talk(prompts, decoding, on_text=send)
        except _NoListenersError:
            return
        for (request, _), completion in zip(owners, done, strict=True):
            request.done.append(completion)

    @staticmethod
    def _fail(requests: Sequence[_Request], error: Exception) -> None:
        for request in requests:
            request.error = request.error or error


def _share_a_prompt(one: _Request, other: _Request) -> bool:
    """Whether both requests continue the same prompt under the same adapter."""
    return any(p in other.prompts for p in one.prompts)


class _NoListenersError(Exception):
    """Every listener has failed: ends the batch. Caught here."""


_batchers: WeakKeyDictionary[TransformersEngine, DynamicBatcher] = WeakKeyDictionary()
_batchers_lock = threading.Lock()


def batcher_of(engine: TransformersEngine) -> DynamicBatcher:
    """The engine's batcher; one per engine."""
    with _batchers_lock:
        return _batchers.setdefault(engine, DynamicBatcher(engine))
