"""Running the app with uvicorn: bind checks, sockets, graceful shutdown.

On SIGTERM or Ctrl-C new connections are refused, running requests finish within `Limits.stop_seconds`, training is
handed back after its step (or loading), the ledger closes. Not here: the app (`app`); TLS and several processes need
a proxy.
"""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from seal_memory.errors import InputError
from seal_memory.server.keys import KeyStore

logger = logging.getLogger(__name__)


def check_bind(host: str, keys: KeyStore) -> None:
    """Raises `InputError` if a server without keys would be reachable from other machines."""
    if not is_loopback(host) and not keys.any_valid:
        raise InputError(
            f"Without API keys this server may only listen on this machine (127.0.0.1), not on {host!r}. Create a key "
            "first: seal-memory keys create --namespace default"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is loopback; a host name counts only if all its addresses are."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)} if host else set()
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(a).partition("%")[0]).is_loopback for a in found)


def run(app: FastAPI, *, host: str, port: int, on_address: Callable[[str], None] = lambda address: None) -> None:
    """Serve until stopped; `on_address` gets the page's address. Raises `InputError` if the address cannot be bound."""
    bound = _bind(host, port)
    limits = app.state.server.limits
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(limits.stop_seconds),
        timeout_keep_alive=5,
    )
    address = bound.getsockname()
    logger.info("listening on http://%s:%d", address[0], address[1], extra={"port": address[1]})
    on_address(page_address(address[0], address[1]))
    with _signals_ignored():
        _UvicornServer(config, app).run(sockets=[bound])


def page_address(host: str, port: int) -> str:
    """The page's URL on this machine."""
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise InputError(
            f"The address {host}:{port} cannot be bound: {error}. Choose another --host or --port."
        ) from None
    return bound


class _UvicornServer(uvicorn.Server):
    """uvicorn that notifies the app of a stop signal at once: open event streams would otherwise delay the shutdown."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.server.stop_soon()
        super().handle_exit(sig, frame)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore SIGTERM and SIGINT: uvicorn raises them again after its shutdown, which should exit with code 0."""
    before: dict[int, Any] = {n: signal.signal(n, lambda *_: None) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
