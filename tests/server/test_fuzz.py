"""Whatever is sent, the server answers: schemathesis over the OpenAPI finds no server error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from seal_memory.server.state import Limits

Site = Any  # conftest's
EXAMPLES = 3  # of each endpoint
unhurried = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A server that trains nothing, so that no job is followed for long."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    made = make_site(folder, train="never", limits=Limits(rate=0))
    made.learn("default")
    return made


def test_no_valid_request_is_a_server_error(site: Site) -> None:
    """What the OpenAPI allows is never answered by a 5xx, and what is refused all the same has OpenAI's shape.

    The requests are sent by our own client: schemathesis' would start and end the app with each.
    """
    schema = schemathesis.openapi.from_dict(site.get("/openapi.json").json())
    answered: dict[str, set[int]] = {}

    def check(case: Any) -> None:
        answer = _send(site, case)
        _check(answer)
        answered.setdefault(f"{case.method} {case.operation.path}", set()).add(answer.status_code)

    for operation in (found.ok() for found in schema.get_all_operations()):
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            unhurried(hypothesis.given(case=operation.as_strategy())(check))()
    assert len(answered) >= 20
    assert sum(any(code < 300 for code in codes) for codes in answered.values()) >= 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def test_no_wrong_request_is_a_server_error(site: Site) -> None:
    """Every example of the OpenAPI with one field replaced by anything. (schemathesis' own wrong ones take minutes.)"""
    schemas = site.get("/openapi.json").json()
    bodies = [
        (path, schemas["components"]["schemas"][ref.rpartition("/")[2]]["examples"][0])
        for path, operations in schemas["paths"].items()
        if (ref := _body_of(operations)) is not None
    ]
    assert len(bodies) > 10

    @hypothesis.settings(unhurried, max_examples=60)
    @hypothesis.given(case=st.sampled_from(bodies), anything=JSON, pick=st.integers(0, 9))
    def check(case: tuple[str, dict[str, Any]], anything: Any, pick: int) -> None:
        path, body = case
        wrong = anything if pick == 9 else {**body, sorted(body)[pick % len(body)]: anything}
        content = json.dumps(wrong).encode()
        _check(site.http.post(path, content=content, headers={"Content-Type": "application/json"}))

    check()


def _body_of(operations: dict[str, Any]) -> str | None:
    content = operations.get("post", {}).get("requestBody", {}).get("content", {})
    found: str | None = content.get("application/json", {}).get("schema", {}).get("$ref")
    return found


def _check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def _send(site: Site, case: Any) -> Any:
    asked = case.as_transport_kwargs(base_url="http://127.0.0.1")
    for name in ("allow_redirects", "cookies"):
        asked.pop(name, None)
    data = asked.pop("data", None)
    if isinstance(data, str | bytes):
        asked["content"] = data
    asked["headers"] = {
        name: str(value).encode("latin-1", errors="replace") for name, value in asked["headers"].items()
    }
    return site.http.request(**{name: value for name, value in asked.items() if value is not None})
