"""A chat server by hand on a real socket, whose every byte a test decides, and this server in front of it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

MODEL = "big-chat"


@dataclass
class Reply:
    """What the chat server sends. `hold`: waited for before the last piece; `breaks`: the connection is cut instead."""

    pieces: list[bytes]
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    breaks: bool = False
    wait: float = 0.0  # seconds before the head


@dataclass
class FakeChat:
    """The chat server: an ASGI app. `reply` is what it says next; `asked` what it was sent: path, headers, body."""

    reply: Reply = field(default_factory=lambda: Reply([]))
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)  # a client hung up
    url: str = ""

    def says(self, text: str | None, **message: Any) -> bytes:
        """Answer so from now on, with odd spaces, as another server may write it; the body."""
        told = {"role": "assistant", "content": text, **message}
        choices = [{"index": 0, "message": told, "finish_reason": "stop"}]
        self.sends([json.dumps({"id": "x", "object": "chat.completion", "choices": choices}, indent=1).encode()])
        return self.reply.pieces[0]

    def streams(self, *deltas: dict[str, Any], **more: Any) -> bytes:
        """Answer with an event for each delta from now on; all bytes."""
        head = {"id": "x", "object": "chat.completion.chunk", "model": MODEL}
        found = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        pieces = [f"data: {json.dumps(event)}\n\n".encode() for event in found]
        self.sends([*pieces, b"data: [DONE]\n\n"], kind="text/event-stream", **more)
        return b"".join(self.reply.pieces)

    def sends(self, pieces: list[bytes], **more: Any) -> None:
        """Answer with these bytes from now on."""
        self.reply = Reply(pieces, **more)

    @property
    def body(self) -> dict[str, Any]:
        """The last request's body."""
        found: dict[str, Any] = json.loads(self.asked[-1][2])
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["path"], headers, body))
        working = asyncio.ensure_future(self._answer(send))
        leaving = asyncio.ensure_future(self._leaves(receive))
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not working.done():
            working.cancel()
            return
        if self.reply.breaks:
            raise ConnectionError("cut")

    async def _leaves(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def _answer(self, send: Any) -> None:
        reply = self.reply
        await asyncio.sleep(reply.wait)
        headers = {"content-type": reply.kind, **reply.headers}
        head = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        for number, piece in enumerate(reply.pieces):
            if number + 1 == len(reply.pieces):
                while reply.hold is not None and not reply.hold.is_set():
                    await asyncio.sleep(0.01)
                if reply.breaks:
                    return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def listening(app: Any, *, lifespan: str = "off") -> Iterator[str]:
    """The app on a socket of its own; its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=5)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def on_a_socket() -> Callable[..., AbstractContextManager[str]]:
    """Serves an app on a socket of its own, inside a `with` block; gives its address."""
    return listening


@pytest.fixture(scope="session")
def _chat_server() -> Iterator[FakeChat]:
    chat = FakeChat()
    with listening(chat) as url:
        chat.url = url
        yield chat


@pytest.fixture
def chat(_chat_server: FakeChat) -> FakeChat:
    """The chat server, as new."""
    _chat_server.says("Yes.")
    _chat_server.asked.clear()
    _chat_server.left.clear()
    return _chat_server


@pytest.fixture(scope="module")
def front(make_site: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, _chat_server: FakeChat) -> Any:
    """This server in front of the chat server, in this process."""
    from seal_memory.server.upstream import Upstream

    upstream = Upstream.make(_chat_server.url, MODEL, "sk-upstream")
    return make_site(tmp_path_factory.mktemp("fronted"), upstream=upstream, name=None)


@pytest.fixture(scope="module")
def street(
    tiny_engine: Any,
    easy_settings: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    _chat_server: FakeChat,
) -> Iterator[tuple[str, Any]]:
    """This server in front of the chat server, on a socket: its address and its app."""
    from seal_memory.pool import MemoryPool
    from seal_memory.server.app import make_app
    from seal_memory.server.keys import KeyStore
    from seal_memory.server.upstream import Upstream

    folder = tmp_path_factory.mktemp("street")
    pool = MemoryPool(folder, model="tiny", settings=easy_settings(), engine=tiny_engine, keep=8)
    app = make_app(pool, KeyStore(folder), train="never", upstream=Upstream.make(_chat_server.url, MODEL))
    with ExitStack() as stack:
        yield stack.enter_context(listening(app, lifespan="on")), app
