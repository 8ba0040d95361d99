"""A memory's verbs from threads and from async code: `in_turn` for threads, `aside` for an event loop.

What holds without it: any thread may call any verb (the ledger's connection has a lock, the engine takes turns). What
does not: two threads that both ask first load the model twice, and of two that consolidate at once the second gets
`BusyError`, as if it were another process. Here the first is loaded once and the second waits.

Here and not in one integration, because the MCP server, OpenAI Agents, LlamaIndex, pydantic-ai, Google ADK and
Microsoft Agent Framework all cross from an event loop. Not here: what the verbs do; other processes (they get
`BusyError`); cancelling: a cancelled `await aside(...)` stops waiting, the thread ends its verb.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["aside", "in_turn"]

_ASKING = frozenset({"ask", "chat", "quiz"})
_TRAINING = frozenset({"consolidate", "refine", "sleep"})

_guard = threading.Lock()
_training: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()  # one per memory


def in_turn(verb: Callable[P, T]) -> Callable[P, T]:
    """A bound verb of a memory (`memory.ask`), safe to call from any number of threads at once.

    Verbs that train wait for each other; all others run at once.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        memory, name = getattr(verb, "__self__", None), getattr(verb, "__name__", "")
        if memory is not None and name in _ASKING:
            with _guard:
                _ = memory.engine  # loads the model, once
        with _turn(memory, name):
            return verb(*args, **kwargs)

    return run


async def aside(verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a bound verb of a memory, or any other function, in a thread, so that the event loop goes on.

    Raises what the verb raises. Context variables go along.
    """
    return await asyncio.to_thread(in_turn(verb), *args, **kwargs)


def _turn(memory: Any, name: str) -> AbstractContextManager[object]:
    if memory is None or name not in _TRAINING:
        return nullcontext()
    with _guard:
        return _training.setdefault(memory, threading.RLock())
