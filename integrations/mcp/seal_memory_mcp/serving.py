"""Transports of the MCP server: standard input and output, or streamable HTTP with bearer keys.

Without a key only this machine may connect. Not here: tools and resources (`server`), OAuth, TLS (use a proxy).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import Protocol

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette

from seal_memory import SealMemory
from seal_memory.errors import InputError
from seal_memory_mcp.server import make_server

__all__ = ["Keys", "StaticKey", "http_app", "is_loopback", "serve_http", "serve_stdio"]


class Keys(Protocol):
    """A check of bearer keys."""

    def verify(self, secret: str) -> str | None:
        """The principal of a bearer key; None for an unknown key."""
        ...


class StaticKey:
    """One shared key. Raises `InputError` when it is shorter than 16 characters."""

    def __init__(self, secret: str, *, principal: str = "owner") -> None:
        if len(secret) < 16:
            raise InputError(f"The key has {len(secret)} characters; expected at least 16, and hard to guess.")
        self._secret, self._principal = secret.encode(), principal

    def verify(self, secret: str) -> str | None:
        return self._principal if hmac.compare_digest(secret.encode(), self._secret) else None


class _Verifier:
    """`Keys` as the SDK's `TokenVerifier`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def verify_token(self, token: str) -> AccessToken | None:
        principal = await asyncio.to_thread(self._keys.verify, token)
        return AccessToken(token=token, client_id=principal, scopes=[]) if principal is not None else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def http_app(memory: SealMemory, *, host: str, port: int, keys: Keys | None = None) -> Starlette:
    """Make the ASGI application, at the path /mcp. Raises `InputError` for a public address without keys."""
    if keys is None:
        if not is_loopback(host):
            raise InputError(
                f"{host} can be reached by others and there is no key: set SEAL_MEMORY_MCP_KEY, or use 127.0.0.1."
            )
        server = make_server(memory)
    else:
        address = AnyHttpUrl(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        auth = AuthSettings(issuer_url=address, resource_server_url=None)  # keys, not OAuth: nobody issues tokens
        server = make_server(memory, token_verifier=_Verifier(keys), auth=auth)
    return server.streamable_http_app(host=host, transport_security=_loopback_only() if is_loopback(host) else None)


def _loopback_only() -> TransportSecuritySettings:
    """Protection against DNS rebinding: a web page in a local browser must not reach the memory by another name."""
    names = ("127.0.0.1", "localhost", "[::1]")
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}:*" for name in names],
        allowed_origins=[f"http://{name}:*" for name in names],
    )


def serve_http(memory: SealMemory, *, host: str = "127.0.0.1", port: int = 8765, keys: Keys | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises `InputError` for a public address without keys."""
    import uvicorn

    uvicorn.run(http_app(memory, host=host, port=port, keys=keys), host=host, port=port, log_level="warning")


def serve_stdio(memory: SealMemory) -> None:
    """Serve the client at standard input and output until it closes them."""
    make_server(memory).run("stdio")
