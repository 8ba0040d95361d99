"""Answers that wait for the model at the same time are made in one batch: what arrives while one runs shares the next.

Whoever gets the turn first takes along all who wait with the same way of decoding; each then finds its answer made.
An answer does not depend on who else is in the batch (but for rounding: see `local`): two who sample from one prompt,
whose draws would follow from who comes first, are not joined. Not here: joining a batch that runs, and any thread of
its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, proxy

from seal_memory.engines.base import Completion, Decoding, OnText, Prompt, Score
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import SealMemoryError

MOST_ROWS = 32  # of one batch


@dataclass(eq=False, slots=True)
class _Request:
    """One caller's prompts, and what became of them."""

    prompts: Sequence[Prompt]
    decoding: Decoding
    on_text: OnText | None
    done: list[Completion] = field(default_factory=list)
    error: Exception | None = None
    told: bool = False

    def tell(self, row: int, piece: str) -> None:
        """A listener that raises ends its own answer, not the others'."""
        if self.on_text is not None and self.error is None:
            try:
                self.on_text(row, piece)
            except Exception as error:  # noqa: BLE001 (it is the listener's, and raised to its caller)
                self.error = error
            self.told = self.told or bool(piece)


class DynamicBatcher:
    """An engine's answers, joined; an `Engine` that `Talks`. Get an engine's one with `together`."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine: TransformersEngine = proxy(engine)  # it must not be kept alive by what is kept for it
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """As `TransformersEngine.complete`."""
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """As `TransformersEngine.score`; scores are not joined."""
        return self._engine.score(requests)

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        """As `TransformersEngine.talk`; `on_text` may be called in another caller's thread."""
        if not prompts or decoding.top_logprobs or decoding.max_tokens is None:
            return self._engine.talk(prompts, decoding, on_text=on_text)
        mine = _Request(prompts, decoding, on_text)
        with self._lock:
            self._waiting.append(mine)
        with self._engine.lock:
            if not mine.done and mine.error is None:
                self._run(self._taken(mine))
        if mine.error is not None:
            raise mine.error
        return mine.done

    def _taken(self, mine: _Request) -> list[_Request]:
        """This request, and the others that wait and go with it, oldest first."""
        with self._lock:
            self._waiting = [r for r in self._waiting if r is not mine]
            taken, rows = [mine], len(mine.prompts)
            for other in self._waiting:
                fits = other.decoding == mine.decoding and rows + len(other.prompts) <= MOST_ROWS
                if fits and not (mine.decoding.temperature and any(_meet(r, other) for r in taken)):
                    taken.append(other)
                    rows += len(other.prompts)
            self._waiting = [r for r in self._waiting if r not in taken]
            return taken

    def _run(self, requests: Sequence[_Request]) -> None:
        """One batch; where it cannot be made, each alone, so that one's trouble is not the others'."""
        try:
            self._batch(requests)
        except SealMemoryError as error:
            if len(requests) == 1 or any(r.told for r in requests):
                self._fail(requests, error)
            else:
                for request in requests:
                    self._run([request])
        except Exception as error:  # noqa: BLE001 (raised to every caller whose answer it was)
            self._fail(requests, error)

    def _batch(self, requests: Sequence[_Request]) -> None:
        owners = [(request, row) for request in requests for row in range(len(request.prompts))]

        def listen(place: int, piece: str) -> None:
            request, row = owners[place]
            request.tell(row, piece)
            if all(r.error is not None for r in requests):
                raise _Unheard

        prompts, decoding = [p for r in requests for p in r.prompts], requests[0].decoding
        try:
            if decoding.is_plain and decoding.max_tokens is not None and all(r.on_text is None for r in requests):
                done = self._engine.complete(prompts, max_tokens=decoding.max_tokens)
            else:
                done = self._engine.talk(prompts, decoding, on_text=listen)
        except _Unheard:
            return
        for (request, _), completion in zip(owners, done, strict=True):
            request.done.append(completion)

    @staticmethod
    def _fail(requests: Sequence[_Request], error: Exception) -> None:
        for request in requests:
            request.error = request.error or error


def _meet(one: _Request, other: _Request) -> bool:
    """Whether both continue some prompt under the same adapter."""
    return any(p in other.prompts for p in one.prompts)


class _Unheard(Exception):
    """Every listener has gone: ends the batch. Not an error."""


_of: WeakKeyDictionary[TransformersEngine, DynamicBatcher] = WeakKeyDictionary()
_of_lock = threading.Lock()


def together(engine: TransformersEngine) -> DynamicBatcher:
    """The one place where an engine's answers meet."""
    with _of_lock:
        return _of.setdefault(engine, DynamicBatcher(engine))
