"""Error translation: a framework's own exceptions in place of seal-memory's, by a table that the integration gives.

Not here: the tables, and LangChain's, whose errors are instances of our classes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seal_memory.errors import SealMemoryError

__all__ = ["ErrorTable", "translate_errors"]

ErrorTable = tuple[tuple[type[SealMemoryError], Callable[[str], Exception]], ...]


@contextmanager
def translate_errors(table: ErrorTable) -> Iterator[None]:
    """Raise the framework's error of the first row whose class fits, with the same message; else ours passes on."""
    try:
        yield
    except SealMemoryError as error:
        for ours, theirs in table:
            if isinstance(error, ours):
                raise theirs(str(error)) from error
        raise
