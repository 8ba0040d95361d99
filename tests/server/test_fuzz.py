"""Whatever is sent, the server answers: schemathesis over the OpenAPI finds no server error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from seal_memory.server.state import Limits

Site = Any  # conftest's
EXAMPLES = 6  # of each endpoint


@pytest.fixture(scope="module")
def schema(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that trains nothing, so that no job is followed for long."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    site = make_site(folder, train="never", limits=Limits(rate=0))
    site.learn("default")
    return schemathesis.openapi.from_asgi("/openapi.json", site.app)


loaded = schemathesis.pytest.from_fixture("schema")


@loaded.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_no_request_is_a_server_error(case: Any) -> None:
    """Valid or not; a followed job ends with the stream."""
    case.call_and_validate(checks=[not_a_server_error])
