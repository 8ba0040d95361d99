"""Whatever is sent, the server answers: schemathesis over the OpenAPI finds no server error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase

from seal_memory.server.state import Limits

Site = Any  # conftest's
EXAMPLES = 3  # of each endpoint, valid ones and as many others
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


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_no_request_is_a_server_error(site: Site, mode: Any) -> None:
    """Valid or not: never a 5xx, and what is refused has OpenAI's shape.

    The requests are sent by our own client: schemathesis' would start and end the app with each.
    """
    schema = schemathesis.openapi.from_dict(site.get("/openapi.json").json())
    answered: dict[str, set[int]] = {}

    def check(case: Any) -> None:
        answer = _send(site, case)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        answered.setdefault(f"{case.method} {case.operation.path}", set()).add(answer.status_code)

    for operation in (found.ok() for found in schema.get_all_operations()):
        strategy = operation.as_strategy(generation_mode=mode)
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # without parameters nothing can be wrong
            unhurried(hypothesis.given(case=strategy)(check))()
    bodies = {name for name in answered if name.startswith("POST")}
    assert len(bodies) == 11
    if mode.is_positive:
        assert len(answered) >= 20
        assert sum(any(code < 300 for code in codes) for codes in answered.values()) >= 10


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
