"""Whatever is sent, the server answers: schemathesis over the OpenAPI finds no server error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error

from seal_memory.server.state import Limits

Site = Any  # conftest's
EXAMPLES = 5  # of each endpoint, valid ones and as many others
unhurried = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


@pytest.fixture(scope="module")
def operations(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Of a server that trains nothing, so that no job is followed for long."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    site = make_site(folder, train="never", limits=Limits(rate=0))
    site.learn("default")
    schema = schemathesis.openapi.from_asgi("/openapi.json", site.app)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_no_request_is_a_server_error(operations: list[Any], mode: Any) -> None:
    """Valid or not. (By its plug-in schemathesis would need an older pytest.)"""
    asked: set[str] = set()

    def check(case: Any) -> None:
        asked.add(f"{case.method} {case.operation.path}")
        case.call_and_validate(checks=[not_a_server_error])

    for operation in operations:
        strategy = operation.as_strategy(generation_mode=mode)
        try:
            unhurried(hypothesis.given(case=strategy)(check))()
        except hypothesis.errors.Unsatisfiable:  # without parameters nothing can be wrong
            continue
    assert len(asked) >= 15
