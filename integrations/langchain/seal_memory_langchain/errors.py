"""Translation of errors of seal-memory and its server into LangChain's `ModelError`s and `ToolException`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
from langchain_core import exceptions as theirs
from langchain_core.tools import ToolException

from seal_memory import errors as ours

__all__ = ["as_langchain", "langchain_errors", "tool_errors"]


# The first row that fits. A busy memory is worth a retry, like a server's 503.
_OURS: tuple[tuple[type[ours.SealMemoryError], type[theirs.ModelError]], ...] = (
    (ours.BusyError, theirs.ModelAPIError),
    (ours.PromptTooLongError, theirs.ContextOverflowError),
    (ours.ModelUnavailableError, theirs.ModelNotFoundError),
    (ours.InputError, theirs.ModelInvalidRequestError),
    (ours.SealMemoryError, theirs.ModelError),
)
_STATUS: dict[int, type[theirs.ModelError]] = {
    401: theirs.ModelAuthenticationError,
    403: theirs.ModelPermissionDeniedError,
    404: theirs.ModelNotFoundError,
    408: theirs.ModelTimeoutError,
    409: theirs.ModelAPIError,  # busy: worth a retry
    429: theirs.ModelRateLimitError,
}


def _both(one: type[theirs.ModelError], other: type[Exception]) -> type[theirs.ModelError]:
    """A class that is both, as LangChain wants it: code that catches the provider's own exception keeps working."""
    return cast("type[theirs.ModelError]", type(other.__name__, (one, other), {"__module__": __name__}))


def as_langchain(error: ours.SealMemoryError | httpx.HTTPError) -> theirs.ModelError:
    """The `ModelError` for an error: also an instance of our own class, or chosen by the HTTP status."""
    if isinstance(error, ours.SealMemoryError):
        kind = next(theirs_ for ours_, theirs_ in _OURS if isinstance(error, ours_))
        return _both(kind, type(error))(*error.args)
    if isinstance(error, httpx.TimeoutException):
        return theirs.ModelTimeoutError(f"The memory server did not answer in time: {error}")
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        by_class = theirs.ModelAPIError if status >= 500 else theirs.ModelInvalidRequestError
        return _STATUS.get(status, by_class)(f"The memory server answered {status}: {error.response.text[:500]}")
    return theirs.ModelConnectionError(f"The memory server cannot be reached: {error}")


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Raise LangChain's errors around a call of a memory."""
    try:
        yield
    except (ours.SealMemoryError, httpx.HTTPError) as error:
        raise as_langchain(error) from error


@contextmanager
def tool_errors() -> Iterator[None]:
    """Raise `ToolException` around a tool's work, so that the agent's model sees the error and may retry."""
    try:
        yield
    except (ours.SealMemoryError, httpx.HTTPError) as error:
        raise ToolException(str(as_langchain(error))) from error
