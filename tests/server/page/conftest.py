"""A server on a real port and a headless Chromium; what the browser complains about fails the test."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from seal_memory.pool import MemoryPool
from seal_memory.server.app import make_app
from seal_memory.server.keys import KeyStore
from seal_memory.server.state import Limits

CHROMIUM_OPTIONS = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WAIT = 30_000  # milliseconds; a busy machine is no bug
HEARD = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

SETTLED = """
(hash) => {
  const [main, sections] = [document.querySelector("main"), document.querySelector("#sections")];
  const there = sections.hidden || sections.querySelector("[aria-current]")?.hash === hash;
  return there && main.querySelector("h1") && !main.textContent.includes("Loading …");
}
"""


@dataclass(frozen=True)
class Served:
    """A server that listens, and its parts."""

    address: str
    pool: MemoryPool
    keys: KeyStore

    def observe(self, text: str, *, namespace: str = "default", **about: Any) -> str:
        with self.pool.memory(namespace) as memory:
            return memory.observe(text, **about)[0].id

    def observe_with_quiz(self, text: str, question: str, answer: str, **about: Any) -> str:
        seen = self.observe(text, **about)
        with self.pool.memory("default") as memory:
            memory.add_quiz([(question, answer)], interaction_ids=[seen])
        return seen

    def adapters(self) -> set[str]:
        """On the disk."""
        with self.pool.memory("default") as memory:
            return set(memory.store.ids())


@pytest.fixture(scope="module")
def serve(tiny_engine: Any, easy_settings: Callable[..., Any]) -> Iterator[Callable[..., Served]]:
    """Starts servers over folders; they end with the module's tests."""
    with ExitStack() as stack:

        def start(folder: Path, **settings: Any) -> Served:
            pool = MemoryPool(folder, model="tiny", settings=easy_settings(**settings), engine=tiny_engine)
            keys = KeyStore(folder)
            app = make_app(pool, keys, limits=Limits(rate=0), train="asked", name="tiny")
            return Served(stack.enter_context(_listening(app)), pool, keys)

        yield start


@contextmanager
def _listening(app: Any) -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            app.state.server.stop_soon()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium of this machine for a module's tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on this machine; install it, or name it in the variable CHROMIUM")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield started
        started.close()


@dataclass
class Tab:
    """An open page, and everything that went wrong in it."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, section: str) -> None:
        """Open a section, and wait until it is there."""
        self.page.goto(f"{self.address}/#{section}")
        self.settled(section.partition("?")[0] or "overview")

    def settled(self, section: str) -> None:
        self.page.wait_for_function(SETTLED, arg=f"#{section}")

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def dialog(self) -> Any:
        return self.page.get_by_role("dialog")


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens the page of a server in a tab of its own; afterwards nothing may have gone wrong in it."""
    tabs: list[Tab] = []

    def open_(served: Served, *, section: str = "", may_fail: bool = False, **options: Any) -> Tab:
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(WAIT)
        page.add_init_script(HEARD)
        tab = Tab(page, served.address)
        page.on("pageerror", lambda error: tab.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: tab.complaints.append(f"a dialog of the browser: {dialog.message}"))
        page.on("request", lambda request: tab.asked.append(request.url))
        if not may_fail:
            page.on("console", lambda said: said.type in ("error", "warning") and tab.complaints.append(said.text))
        tabs.append(tab)
        tab.go(section)
        return tab

    yield open_
    for tab in tabs:
        tab.complaints += tab.page.evaluate("window.violations")
        tab.page.context.close()
        assert tab.complaints == []
        assert [url for url in tab.asked if not url.startswith(tab.address)] == []
        assert [url for url in tab.asked if "sm-" in url] == []
