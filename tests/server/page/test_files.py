"""The page's files: served whole, under a strict policy, with nothing from elsewhere and no way to markup from data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory.server.page_files import page_files
from seal_memory.server.running import page_address

Site = Any  # conftest's
FOLDER = Path(__file__).resolve().parents[3] / "seal_memory" / "server" / "page"
NAMES = sorted(path.name for path in FOLDER.iterdir())
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
LONGEST = 400  # lines
MARKUP_OR_CODE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|setHTML|srcdoc|\beval\b|Function\("
    r"|text/html|javascript:|\.cookie|localStorage|on\w+=[\"']"
)


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def test_every_file_is_served(site: Site) -> None:
    """As what it is, under the policy, to whoever asks: none of them holds data."""
    assert set(page_files()) == set(NAMES)
    for path in ["/", *(f"/page/{name}" for name in NAMES)]:
        answer = site.http.get(path)
        name = path.rpartition("/")[2] or "index.html"
        assert (answer.status_code, answer.content) == (200, (FOLDER / name).read_bytes())
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert (
            kind
            == {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[
                name.rpartition(".")[2]
            ]
        )
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_files_are_asked_for_again_but_sent_once(site: Site) -> None:
    first = site.http.get("/page/page.js")
    assert first.headers["Cache-Control"] == "no-cache"
    for known in (first.headers["ETag"], f'"x", W/{first.headers["ETag"]}'):
        again = site.http.get("/page/page.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert site.http.get("/page/page.js", headers={"If-None-Match": '"old"'}).status_code == 200
    head = site.http.head("/")
    assert (head.status_code, head.content) == (200, b"")


def test_there_is_nothing_but_the_page(site: Site) -> None:
    for path in ("/page/nothing.js", "/page/..%2fapp.py", "/page/__init__.py", "/page/", "/index.html"):
        answer = site.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path


def test_the_page_asks_for_nothing_before_it_has_a_key(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A server with keys shows everybody the empty page, and nobody a memory."""
    site = make_site(tmp_path)
    site.server.keys.create(namespaces=["anna"])
    assert site.http.get("/").status_code == 200
    assert site.http.get("/v1/memory/access").status_code == 401


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No address but the name of SVG's namespace; nothing inline that the policy would refuse."""
    found = [url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", text(name)) if "w3.org" not in url]
    assert found == []
    assert re.findall(r"@import|url\(|\bstyle=|<style|<script(?! type=\"module\" src=)", text(name)) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_no_markup_from_text(name: str) -> None:
    """There is no way from a memory's text to an element, a script or a store that outlives the tab."""
    assert MARKUP_OR_CODE.findall(text(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_files_are_short_and_all_they_use_is_there(name: str) -> None:
    assert len(text(name).splitlines()) < LONGEST
    assert max(map(len, text(name).splitlines())) <= (120 if name != "icon.svg" else 400)
    used = re.findall(r"from \"\./([\w.]+)\"|/page/([\w.]+)", text(name))
    assert {one or other for one, other in used} <= set(NAMES)


def test_every_script_is_used() -> None:
    """From the page's one script, directly or not."""
    reached, waiting = set(), ["page.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += re.findall(r"from \"\./([\w.]+)\"", text(name))
    assert reached == set(SCRIPTS)


def test_the_wheel_takes_the_page_along(pytestconfig: pytest.Config) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    included = builder.WheelBuilder(str(pytestconfig.rootpath)).recurse_included_files()
    taken = {Path(one.path).name for one in included if Path(one.path).parent == FOLDER}
    assert taken == set(NAMES)


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("::", "localhost"), ("::1", "[::1]")]
)
def test_the_pages_address_can_be_opened(host: str, shown: str) -> None:
    assert page_address(host, 8377) == f"http://{shown}:8377/"
