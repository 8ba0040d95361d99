"""Whose memory it is: every endpoint against every wrong key, and the keys' own laws."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction, Role
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
    "/v1/responses": {"model": "tiny", "input": CHAT, "max_output_tokens": 2},
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
    url = path.replace("{job_id}", job).replace("{model:path}", "tiny").replace("{picture}", "lineage")
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


def test_a_sessions_name_may_have_any_letters(open_site: Site) -> None:
    """In the header as in the body: what was said is found and forgotten under its name."""
    for name in ("訪問-田中", "größe", "monday"):
        headers = {"X-Seal-Memory-Namespace": "sessions", "X-Seal-Memory-Session": name.encode()}
        body = {**BODIES["/v1/chat/completions"], "messages": [{"role": "user", "content": f"{name}: Ada came."}]}
        answer = open_site.http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.json()["seal_memory"]["session"] == name
        told = open_site.post("/v1/memory/forget", {"session": name}, namespace="sessions")
        assert told.status_code == 200, told.text
    assert open_site.texts("sessions") == []
    long = open_site.http.post("/v1/chat/completions", json=body, headers={"X-Seal-Memory-Session": "x" * 201})
    assert long.status_code == 400


def test_a_session_may_be_as_long_in_the_header_as_in_the_body(open_site: Site) -> None:
    """The limit counts characters, not bytes."""
    name = "田" * 200
    headers = {"X-Seal-Memory-Namespace": "long", "X-Seal-Memory-Session": name.encode()}
    answer = open_site.http.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"], headers=headers)
    assert answer.json()["seal_memory"]["session"] == name


# -- other sites, proxies -------------------------------------------------------------------------


def test_named_sites_may_use_the_api_and_no_others(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Their pages are told so, also before the request; "*" is not enough where there are no keys."""
    friend, foe = "https://chat.example", "https://evil.example"
    site = make_site(tmp_path / "named", origins=[friend])
    for origin, status in ((friend, 200), (foe, 403)):
        answer = site.http.get("/v1/models", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == status
        assert answer.headers.get("Access-Control-Allow-Origin") == (friend if origin == friend else None)
    asked = {
        "Origin": friend,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = site.http.options("/v1/chat/completions", headers=asked)
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    everyone = make_site(tmp_path / "everyone", origins=["*"])
    assert everyone.http.get("/v1/models", headers={"Origin": foe}).status_code == 403
    _, secret = everyone.server.keys.create(namespaces=["a"])
    keyed = {"Origin": foe, "Authorization": f"Bearer {secret}"}
    assert everyone.http.get("/v1/models", headers=keyed).status_code == 200


@pytest.mark.parametrize("bad", [{"origins": ["chat.example"]}, {"origins": ["https://a.b/c"]}, {"root_path": "a b"}])
def test_origins_and_paths_that_are_none_are_refused(
    make_site: Callable[..., Site], tmp_path: Path, bad: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="expected"):
        make_site(tmp_path, **bad)


@pytest.mark.parametrize("prefix", ["", "/memory"], ids=["stripped by the proxy", "passed on"])
def test_everything_works_under_a_proxys_path(make_site: Callable[..., Site], tmp_path: Path, prefix: str) -> None:
    """The page's files, the API, and what they link to."""
    site = make_site(tmp_path, root_path="/memory/")
    page = site.http.get(f"{prefix}/")
    assert 'src="/memory/page/page.js"' in page.text
    assert '="/page/' not in page.text
    assert site.http.get(f"{prefix}/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    for path in ("/page/page.js", "/v1/models", "/healthz", "/v1/memory/status"):
        assert site.http.get(f"{prefix}{path}").status_code == 200, path
    queued = site.http.post(f"{prefix}/v1/memory/consolidate", json={})
    assert queued.headers["Location"].startswith("/memory/v1/memory/jobs/")


def test_health_answers_head(open_site: Site) -> None:
    """As load balancers ask."""
    for path in ("/healthz", "/readyz", "/"):
        answer = open_site.http.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path


# -- keys ---------------------------------------------------------------------------------------------


def test_a_new_memory_is_its_owners_alone(tmp_path: Path) -> None:
    """Its folder, its ledger with SQLite's logs, its keys; a folder that was there keeps its permissions."""
    folder, shared = tmp_path / "made" / "memory", tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    for place in (folder, shared):
        with Ledger.open(place) as ledger, KeyStore(place):
            ledger.observe([NewInteraction("Ada came.", Role.USER)])
            files = sorted(place.iterdir())
            assert {"ledger.sqlite", "ledger.sqlite-wal", "keys.sqlite"} <= {f.name for f in files}
            assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    (shared / "ledger.sqlite").chmod(0o644)  # as an earlier version made it
    Ledger.open(shared).close()
    assert stat.S_IMODE((shared / "ledger.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("stream", [False, True])
def test_a_revoked_keys_running_answer_ends(
    make_site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Within a moment, though the model has not said a word yet; what was said is recorded."""
    site = make_site(tmp_path)
    monkeypatch.setattr("seal_memory.server.chat.POLL_SECONDS", 0.02)
    key, secret = site.server.keys.create(namespaces=["default"])
    answers: list[Any] = []
    body = {**BODIES["/v1/chat/completions"], "stream": stream}
    asking = threading.Thread(target=lambda: answers.append(site.post("/v1/chat/completions", body, secret=secret)))
    with site.server.pool.engine.lock:
        asking.start()
        site.until(lambda: site.server.slots.taken)
        site.server.keys.revoke(key.id)
        asking.join(30)
        assert not asking.is_alive()
    assert answers[0].status_code == (200 if stream else 401)
    assert "revoked" in answers[0].text
    site.until(lambda: not site.server.slots.taken)
    assert [text for _, text, _ in site.texts("default")] == [CHAT[0]["content"]]


def test_a_revoked_keys_followed_job_ends(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(tmp_path, train="never")
    key, secret = site.server.keys.create(namespaces=["default"], scopes=SCOPES)
    job = site.post("/v1/memory/consolidate", {}, secret=secret).json()["job"]["id"]
    told: list[Any] = []
    follow = threading.Thread(target=lambda: told.append(site.get(f"/v1/memory/jobs/{job}/events", secret=secret)))
    follow.start()
    time.sleep(0.3)
    site.server.keys.revoke(key.id)
    follow.join(30)
    assert "revoked" in told[0].text


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
