"""Authentication of requests: API key, scopes, and the namespace of the request.

The header X-Seal-Memory-Namespace only chooses among the key's own namespaces. A server that never had a key accepts
every request that reaches it, and it listens on this machine only (`running.check_bind`). Not here: storing keys
(`keys`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from seal_memory.pool import check_name
from seal_memory.server.errors import ApiError
from seal_memory.server.headers import DECODED
from seal_memory.server.keys import Key, KeyStore
from seal_memory.server.state import NO_KEY, server_of

NAMESPACE_HEADER = "X-Seal-Memory-Namespace"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request and its namespace. `key` None: the server has no keys."""

    namespace: str
    key: Key | None = None

    def allows(self, scope: str) -> bool:
        return self.key is None or self.key.allows(scope)

    def is_valid(self, keys: KeyStore) -> bool:
        """Whether the key is still valid: streams end when it is revoked."""
        return self.key is None or keys.is_valid(self.key.id)

    @property
    def id(self) -> str:
        """The key's public part, or "-" without a key."""
        return self.key.id if self.key is not None else NO_KEY

    @property
    def observes(self) -> bool:
        return self.key is None or self.key.observes


def revoked() -> ApiError:
    """The error that ends a stream whose key was revoked."""
    return ApiError(401, "invalid_api_key", "This API key was revoked.")


def _require(scope: str) -> Callable[..., Caller]:
    """A FastAPI dependency: the caller, checked for `scope` and the rate limit. Raises `ApiError` (401, 403, 429)."""

    def caller(
        request: Request,
        authorization: Annotated[str | None, Header(description="`Bearer` and the key's secret.")] = None,
        namespace: Annotated[
            str | None, DECODED, Header(alias=NAMESPACE_HEADER, description="One of the key's namespaces.")
        ] = None,
    ) -> Caller:
        server = server_of(request)
        key = _key(request, authorization)
        if key is not None:
            server.rates.take(key.id)
            if not key.allows(scope):
                raise ApiError(403, "scope_missing", f"This key lacks the scope {scope!r}.")
        found = Caller(_namespace(key, namespace, server.namespace), key)
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
    """Reject a Host header other than localhost: against DNS rebinding while there are no keys."""
    try:
        host = request.url.hostname or ""
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise ApiError(403, "host_forbidden", "Without API keys this server accepts only localhost and 127.0.0.1.")


def _check_origin(request: Request) -> None:
    """Reject requests from other sites' pages: against cross-site request forgery while there are no keys.

    Browsers send `Sec-Fetch-Site` with every request and `Origin` with those that may change something; scripts cannot
    forge either. Other programs send neither.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    own = request.headers.get("host", "").casefold()
    if origin is not None and origin in server_of(request).origins:
        return
    if site not in ("none", "same-origin") or (origin is not None and origin.casefold().partition("://")[2] != own):
        raise ApiError(
            403, "origin_forbidden", "Without API keys this server rejects requests from other sites' pages."
        )


def _namespace(key: Key | None, wanted: str | None, default: str) -> str:
    if key is None:
        return check_name(wanted or default)
    if wanted and wanted not in key.namespaces:
        raise ApiError(403, "namespace_forbidden", "This key has no access to that namespace.")
    return wanted or key.namespaces[0]


ChatCaller = Annotated[Caller, Depends(_require("chat"))]
ObserveCaller = Annotated[Caller, Depends(_require("observe"))]
ReadCaller = Annotated[Caller, Depends(_require("read"))]
AdminCaller = Annotated[Caller, Depends(_require("admin"))]
