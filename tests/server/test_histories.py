"""Whatever a history holds, a chat is answered or refused as documented, and the user's turn is never lost."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from seal_memory.intake.cleaning import clean_text
from seal_memory.server.state import Limits

Site = Any  # conftest's
DOCUMENTED = {200, 400}
SCRIPTS = [
    "Ada came on Monday.",
    "日本の首都は東京です。",
    "서울은 수도다.",
    "กรุงเทพเป็นเมืองหลวง",
    "Привет, Казань!",
    "مرحبا",
    "🧑‍🚀👍🏽",
    "e\u0301",
]

text = st.one_of(
    st.sampled_from(SCRIPTS),
    st.text(max_size=30),
    st.text(
        alphabet=st.sampled_from(["\x00", "\x01", "\x1b", "\ud83d", "\ude00", "\ufffd", " ", "a", "田"]), max_size=12
    ),
    st.sampled_from(["", " ", "\n", "\x00", "PNG\x00\x01data", "long word " * 300, "\ufeff"]),
)
part = st.one_of(
    st.builds(lambda t, kind: {"type": kind, "text": t}, text, st.sampled_from(["text", "input_text", "output_text"])),
    st.builds(lambda t: {"type": "refusal", "refusal": t}, text),
    st.builds(lambda t: {"type": "tool_result", "tool_use_id": "t", "content": t}, text | st.none()),
    st.builds(lambda t: {"type": "tool_use", "id": "t", "name": t, "input": {}}, text),
    st.just({"type": "thinking", "thinking": "hm"}),
    st.just({"type": "image_url", "image_url": {"url": "x"}}),
    st.just({"type": "text", "text": None}),
)
content = text | st.none() | st.lists(part, max_size=3)
role = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "nobody"])
call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
message = st.fixed_dictionaries(
    {"role": role, "content": content},
    optional={"name": st.just("ada"), "tool_call_id": st.just("c"), "tool_calls": st.just([call]) | st.none()},
)


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder: Path = tmp_path_factory.mktemp("histories")
    return make_site(folder, train="never", limits=Limits(rate=0))


def _words(content: Any) -> str:
    """A user's own words in a message's content, as OpenAI and Anthropic have them."""
    if isinstance(content, str):
        return content
    own = [p.get("text", p.get("refusal")) for p in content or [] if p["type"] not in ("tool_result", "tool_use")]
    return "\n".join(t for t in own if t and clean_text(t))


def _normal(said: str) -> str:
    return " ".join(unicodedata.normalize("NFC", said).split())


@hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@hypothesis.given(
    history=st.lists(message, max_size=4), last=text | st.lists(part, min_size=1, max_size=3), stream=st.booleans()
)
def test_no_history_is_a_server_error_or_loses_the_users_turn(
    site: Site, history: list[dict[str, Any]], last: Any, stream: bool
) -> None:
    """Roles, parts, nulls, scripts, surrogates, sizes: 200 or 400, and after 200 the ledger holds what was said."""
    messages = [*history, {"role": "user", "content": last}]
    body = {"model": "tiny", "messages": messages, "max_tokens": 1, "stream": stream}
    namespace = f"history-{abs(hash(json.dumps(body)))}"
    headers = {"Content-Type": "application/json", "X-Seal-Memory-Namespace": namespace}
    answer = site.http.post("/v1/chat/completions", content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in DOCUMENTED, answer.text
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert any(
            known in error["message"]
            for known in ("end with a user message", "unknown role", "part of type", "expected a string")
        ), error
        return
    assert '"error"' not in answer.text
    recorded = {_normal(t) for role, t, _ in site.texts(namespace) if role == "user"}
    for said in messages:
        words = _normal(clean_text(_words(said["content"]))) if said["role"] == "user" else ""
        if words:
            assert any(words in one for one in recorded) or len(words) > 4000, (words, recorded)
