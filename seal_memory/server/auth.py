"""Whose request it is: its key, what that may do, and the one namespace it works in.

The key decides: the header X-Seal-Memory-Namespace only chooses among the key's own. A server that never had a key
is open to whoever reaches it, which is this machine alone (`binding`). Not here: the keys (`keys`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from seal_memory.pool import check_name
from seal_memory.server.errors import ApiError
from seal_memory.server.keys import Key
from seal_memory.server.state import server_of

NAMESPACE_HEADER = "X-Seal-Memory-Namespace"
_NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in which namespace. `key` None: the server has no keys."""

    namespace: str
    key: Key | None = None

    def allows(self, scope: str) -> bool:
        return self.key is None or self.key.allows(scope)

    @property
    def id(self) -> str:
        """The key's public part, or a dash."""
        return self.key.id if self.key is not None else _NOBODY

    @property
    def observes(self) -> bool:
        return self.key is None or self.key.observes


def _allowed(scope: str) -> Callable[..., Caller]:
    def caller(
        request: Request,
        authorization: Annotated[str | None, Header(description="Bearer and the key's secret.")] = None,
        namespace: Annotated[
            str | None, Header(alias=NAMESPACE_HEADER, description="One of the key's namespaces.")
        ] = None,
    ) -> Caller:
        server = server_of(request)
        key = _key(request, authorization)
        if key is not None:
            server.rates.take(key.id)
            if not key.allows(scope):
                raise ApiError(403, "scope_missing", f"This key may not do that: it lacks the scope {scope!r}.")
        found = Caller(_namespace(key, _decoded(namespace), server.namespace), key)
        request.state.caller = found.id
        return found

    return caller


def _key(request: Request, authorization: str | None) -> Key | None:
    server = server_of(request)
    if not server.keys.in_use:
        _check_host(request)
        _check_origin(request)
        return None
    kind, _, secret = (authorization or "").partition(" ")
    key = server.keys.find(secret.strip()) if kind.lower() == "bearer" else None
    if key is None:
        raise ApiError(401, "invalid_api_key", "Missing or unknown API key; send it as: Authorization: Bearer sm-…")
    return key


def _check_host(request: Request) -> None:
    """Without keys only this machine's names are answered: a page elsewhere may make its own name lead here."""
    try:
        host = request.url.hostname or ""
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise ApiError(403, "host_forbidden", "Without API keys this server answers to localhost and 127.0.0.1 only.")


def _check_origin(request: Request) -> None:
    """Without keys a browser could be made to send requests by any page it shows: only the server's own may.

    Browsers say which page sends (`Origin` with what may change something, `Sec-Fetch-Site` with everything), and no
    script can make them lie; other programs send neither.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    own = request.headers.get("host", "").casefold()
    if site not in ("none", "same-origin") or (origin is not None and origin.casefold().partition("://")[2] != own):
        raise ApiError(
            403, "origin_forbidden", "Without API keys this server answers no requests of other sites' pages."
        )


def _decoded(name: str | None) -> str | None:
    """A header's bytes come as Latin-1; where they are UTF-8, that was meant: names may have any letters."""
    try:
        return name.encode("latin-1").decode("utf-8") if name else name
    except UnicodeError:
        return name


def _namespace(key: Key | None, wanted: str | None, unasked: str) -> str:
    if key is None:
        return check_name(wanted or unasked)
    if wanted and wanted not in key.namespaces:
        raise ApiError(403, "namespace_forbidden", "This key does not open that namespace.")
    return wanted or key.namespaces[0]


Chatting = Annotated[Caller, Depends(_allowed("chat"))]
Observing = Annotated[Caller, Depends(_allowed("observe"))]
Reading = Annotated[Caller, Depends(_allowed("read"))]
Administering = Annotated[Caller, Depends(_allowed("admin"))]
