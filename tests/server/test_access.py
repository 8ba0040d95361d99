"""Whose memory it is: every endpoint against every wrong key, and the keys' own laws."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.server.keys import FILE_NAME, SCOPES, KeyStore
from seal_memory.server.running import check_bind, is_loopback

Site = Any  # conftest's
OPEN = {"/openapi.json", "/healthz", "/readyz", "/", "/page/{name}"}  # what needs no key, and tells nothing of a memory
SECRET_TEXT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
CHAT = [{"role": "user", "content": "Who built the lighthouse at Korrin Bay?"}]

# A body that each endpoint would accept; every route that takes one has its line here.
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "tiny", "messages": CHAT, "max_tokens": 2},
    "/v1/completions": {"model": "tiny", "prompt": "x", "max_tokens": 2},
    "/v1/memory/observe": {"text": "x y z"},
    "/v1/memory/observe/batch": {"items": [{"text": "x y z"}]},
    "/v1/memory/ask": {"question": CHAT[0]["content"], "mode": "retrieval"},
    "/v1/memory/recall": {"query": "lighthouse"},
    "/v1/memory/quiz": {},
    "/v1/memory/correct": {"id": "ID", "text": "Nobody built it."},
    "/v1/memory/forget": {"ids": ["ID"]},
    "/v1/memory/forget/preview": {"ids": ["ID"]},
    "/v1/memory/rollback": {"version": 0},
    "/v1/memory/consolidate": {},
    "/v1/memory/quarantine/approve": {"ids": ["ID"]},
    "/v1/memory/quarantine/reject": {"ids": ["ID"]},
}


def routes(app: Any) -> list[tuple[str, str]]:
    """(method, path) of everything that the app answers, however it is nested."""
    found: list[tuple[str, str]] = []

    def walk(routes: Any) -> Iterator[Any]:
        for route in routes:
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            if inner is not None:
                yield from walk(inner.routes)
            else:
                yield route

    for route in walk(app.routes):
        found += [(method, route.path) for method in sorted(route.methods - {"HEAD"})]
    return found


@pytest.fixture(scope="module")
def guarded(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A server with keys, and a memory of Anna's that others want to see."""
    made = make_site(tmp_path_factory.mktemp("guarded"))
    made.learn("anna")
    with made.server.pool.memory("anna") as memory:
        memory.ledger.queue.enqueue_job("audit", {})
    return made


@pytest.fixture(scope="module")
def secrets(guarded: Site) -> dict[str, str]:
    keys = guarded.server.keys
    made = {"anna": keys.create(namespaces=["anna", "anna-2"], scopes=SCOPES)[1]}
    made["bert"] = keys.create(namespaces=["bert"], scopes=SCOPES)[1]
    revoked, made["revoked"] = keys.create(namespaces=["anna"], scopes=SCOPES)
    keys.revoke(revoked.id)
    for scope in SCOPES:
        made[scope] = keys.create(namespaces=["anna"], scopes=[scope])[1]
    return made


@pytest.fixture(scope="module")
def open_site(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A server without keys."""
    return make_site(tmp_path_factory.mktemp("open"))


def ask(site: Site, method: str, path: str, secret: str | None, namespace: str | None = None) -> Any:
    """Ask an endpoint about what is Anna's: her interaction, her job."""
    with site.server.pool.memory("anna") as memory:
        interaction, job = memory.ledger.interactions()[0].id, memory.ledger.queue.jobs()[0].id
    body = {
        k: (interaction if v == "ID" else [interaction] if v == ["ID"] else v) for k, v in BODIES.get(path, {}).items()
    }
    headers = {"Authorization": f"Bearer {secret}"} if secret is not None else {}
    if namespace is not None:
        headers["X-Seal-Memory-Namespace"] = namespace
    url = path.replace("{job_id}", job).replace("{model}", "tiny").replace("{picture}", "lineage")
    return site.http.request(method, url, json=body if method == "POST" else None, headers=headers)


def test_every_route_is_known_here(guarded: Site) -> None:
    """A new endpoint is in the tests below by itself; one that takes a body needs a line in BODIES."""
    found = routes(guarded.app)
    assert len(found) >= 32
    assert {path for method, path in found if method == "POST"} == set(BODIES)


def test_no_endpoint_leaks_to_a_foreign_key(guarded: Site, secrets: dict[str, str]) -> None:
    """No key, a wrong or revoked one, another's namespace, another's ids: never a word of Anna's memory."""
    before = guarded.texts("anna")
    for method, path in routes(guarded.app):
        if path in OPEN:
            continue
        for secret in (
            None,
            "",
            "sm-x",
            "sm-0123456789ab-x",
            secrets["revoked"],
            secrets["anna"] + "x",
            secrets["anna"][:-1],
        ):
            assert ask(guarded, method, path, secret).status_code == 401, (path, secret)
            assert ask(guarded, method, path, secret, "anna").status_code == 401, (path, secret)
        refused = ask(guarded, method, path, secrets["bert"], "anna")
        assert refused.status_code == 403, path
        assert refused.json()["error"]["code"] == "namespace_forbidden"
        own = ask(guarded, method, path, secrets["bert"])  # his own namespace, her ids
        assert own.status_code < 500, (path, own.text)
        for answer in (refused, own):
            assert "Ellery" not in answer.text, path
            assert "anna" not in answer.text, path
    assert guarded.texts("anna") == before


def test_every_endpoint_wants_its_scope(guarded: Site, secrets: dict[str, str]) -> None:
    """Each is open to exactly one scope beside admin."""
    for method, path in routes(guarded.app):
        if path in OPEN:
            continue
        opened = [
            s
            for s in SCOPES[:3]
            if ask(guarded, method, path, secrets[s], "nowhere").json()["error"]["code"] != "scope_missing"
        ]
        needs_admin = path.rpartition("/")[2] in (
            *("consolidate", "correct", "forget", "rollback", "export", "approve", "reject"),
        )
        assert len(opened) == (0 if needs_admin else 1), (path, opened)
        assert ask(guarded, method, path, secrets["admin"], "nowhere").json()["error"]["code"] == "namespace_forbidden"


def test_a_key_works_in_its_own_namespaces(guarded: Site, secrets: dict[str, str]) -> None:
    """Unasked in its first; the others by the header."""
    hits = guarded.post("/v1/memory/recall", {"query": "lighthouse"}, secret=secrets["anna"]).json()["hits"]
    assert [h["text"] for h in hits] == [SECRET_TEXT]
    second = guarded.post("/v1/memory/recall", {"query": "lighthouse"}, secret=secrets["anna"], namespace="anna-2")
    assert second.json() == {"hits": []}


def test_a_key_decides_whether_its_talk_is_recorded(guarded: Site) -> None:
    """A request may switch it off; on only with the scope for it."""
    keys = guarded.server.keys
    _, quiet = keys.create(namespaces=["quiet"], scopes=["chat"], observes=False)
    _, loud = keys.create(namespaces=["quiet"], scopes=["chat", "observe"], observes=False)
    body = BODIES["/v1/chat/completions"]
    assert guarded.post("/v1/chat/completions", body, secret=quiet).json()["seal_memory"]["observed"] is False
    wanted = {**body, "seal_memory": {"observe": True}}
    assert guarded.post("/v1/chat/completions", wanted, secret=quiet).status_code == 403
    assert guarded.texts("quiet") == []
    assert guarded.post("/v1/chat/completions", wanted, secret=loud).status_code == 200
    assert guarded.texts("quiet")


def test_a_server_whose_keys_are_revoked_stays_closed(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """It was open before the first key, and never is again."""
    site = make_site(tmp_path)
    assert site.get("/v1/models").status_code == 200
    key, secret = site.server.keys.create(namespaces=["default"])
    assert site.get("/v1/models").status_code == 401
    assert site.get("/v1/models", secret=secret).status_code == 200
    site.server.keys.revoke(key.id)
    assert site.get("/v1/models").status_code == site.get("/v1/models", secret=secret).status_code == 401


def test_without_keys_only_this_machines_names_are_answered(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A web page whose own name was made to lead here gets nothing."""
    site = make_site(tmp_path)
    for host, status in (("localhost:8377", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 403)):
        assert site.http.get("/v1/models", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
    ids=str,
)
def test_without_keys_no_other_sites_page_gets_in(open_site: Site, headers: dict[str, str], status: int) -> None:
    """A browser says which page sends; not even a body without a type, which needs no leave of ours, does anything."""
    before = open_site.texts("default")
    assert open_site.http.get("/v1/memory/history", headers=headers).status_code == status
    answer = open_site.http.post("/v1/memory/observe", content=b'{"text": "Ada came."}', headers=headers)
    assert answer.status_code in (200, 400) if status == 200 else answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["code"] == "origin_forbidden"
        assert open_site.texts("default") == before


def test_no_answer_lets_another_site_read_it(open_site: Site) -> None:
    """No CORS header, not even to a preflight; nothing is kept by a cache, or taken for another type."""
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        open_site.http.options("/v1/memory/forget", headers=asked),
        open_site.http.get("/v1/memory/history"),
        open_site.http.get("/v1/memory/nothing"),
        open_site.http.post("/v1/memory/observe", content=b"x" * (2 << 20)),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_behind_a_key_the_origin_does_not_matter(guarded: Site, secrets: dict[str, str]) -> None:
    """A proxy may have changed the host; a foreign page has no key to send."""
    headers = {"Authorization": f"Bearer {secrets['anna']}", "Origin": "https://memory.example"}
    assert guarded.http.get("/v1/memory/history", headers=headers).status_code == 200


def test_a_namespaces_name_may_have_any_letters(open_site: Site) -> None:
    """As UTF-8 in the header, where it is that; else as Latin-1."""
    for name, sent in (("größe", "größe".encode()), ("größe", "größe".encode("latin-1")), ("記憶", "記憶".encode())):
        answer = open_site.http.get("/v1/memory/access", headers={"X-Seal-Memory-Namespace": sent})
        assert answer.json()["namespace"] == name


# -- keys ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyStore]:
    with KeyStore(tmp_path_factory.mktemp("keys")) as store:
        yield store


def test_the_file_holds_no_secret(keys: KeyStore) -> None:
    """Nor is it readable by others."""
    _, secret = keys.create(namespaces=["a"], name="for the test")
    with sqlite3.connect(keys.path) as raw:
        stored = "\n".join(raw.iterdump())
    raw.close()
    assert "for the test" in stored
    assert secret not in stored
    assert secret.split("-", 2)[2] not in stored
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


@settings(max_examples=20)
@given(
    namespaces=st.lists(st.sampled_from(["a", "b", "größe"]), min_size=1, max_size=3),
    scopes=st.sets(st.sampled_from(SCOPES), min_size=1),
    observes=st.booleans(),
    noise=st.text(max_size=8),
)
def test_a_secret_opens_its_own_key_and_nothing_else(
    keys: KeyStore, namespaces: list[str], scopes: set[str], observes: bool, noise: str
) -> None:
    """Law: find is the inverse of create; anything but the whole secret finds nothing; a revoked one neither."""
    key, secret = keys.create(namespaces=namespaces, scopes=list(scopes), observes=observes)
    assert keys.find(secret) == key
    assert (set(key.scopes), key.observes, key.namespaces[0]) == (scopes, observes, namespaces[0])
    assert all(key.allows(s) == (s in scopes or "admin" in scopes) for s in SCOPES)
    for wrong in (noise, secret + noise + "x", secret[:-1], noise + secret + "-", secret.upper()):
        assert keys.find(wrong) is None
    assert keys.revoke(key.id) == keys.revoke(key.id)
    assert keys.find(secret) is None
    assert keys.in_use


@pytest.mark.parametrize(
    "bad", [{"scopes": ["root"]}, {"scopes": []}, {"namespaces": []}, {"namespaces": [""]}], ids=str
)
def test_keys_that_make_no_sense_are_refused(keys: KeyStore, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        keys.create(**{"namespaces": ["a"], **bad})
    with pytest.raises(UnknownIdError, match="keys list"):
        keys.revoke("nothing")


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("", False)],
)  # fmt: skip
def test_without_keys_only_this_machine_is_served(tmp_path: Path, host: str, here: bool) -> None:
    """Once there is a key, any address."""
    assert is_loopback(host) is here
    with KeyStore(tmp_path) as store:
        if here:
            check_bind(host, store)
            return
        with pytest.raises(InputError, match="keys create"):
            check_bind(host, store)
        key, _ = store.create(namespaces=["a"])
        check_bind(host, store)
        store.revoke(key.id)
        with pytest.raises(InputError):
            check_bind(host, store)
    assert (tmp_path / FILE_NAME).exists()
