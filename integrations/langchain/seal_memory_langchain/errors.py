"""Where errors cross from seal-memory, and from its server, into LangChain's own.

Not here: what raises them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
from langchain_core import exceptions as theirs
from langchain_core.tools import ToolException

from seal_memory import errors as ours

__all__ = ["as_langchain", "crossing", "crossing_to_tool"]


# The first that fits. Busy is worth another try, as a server's 503 is.
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
    409: theirs.ModelAPIError,  # busy: worth another try
    429: theirs.ModelRateLimitError,
}


def _both(one: type[theirs.ModelError], other: type[Exception]) -> type[theirs.ModelError]:
    """LangChain's convention: code that catches the provider's own exception goes on working."""
    return cast("type[theirs.ModelError]", type(other.__name__, (one, other), {"__module__": __name__}))


def as_langchain(error: ours.SealMemoryError | httpx.HTTPError) -> theirs.ModelError:
    """The `ModelError` of an error: of ours it is also an instance of our own class; of HTTP it goes by the status."""
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
def crossing() -> Iterator[None]:
    """Around every call into a memory."""
    try:
        yield
    except (ours.SealMemoryError, httpx.HTTPError) as error:
        raise as_langchain(error) from error


@contextmanager
def crossing_to_tool() -> Iterator[None]:
    """Around a tool's work: the agent's model is told what was wrong and may try otherwise."""
    try:
        yield
    except (ours.SealMemoryError, httpx.HTTPError) as error:
        raise ToolException(str(as_langchain(error))) from error
