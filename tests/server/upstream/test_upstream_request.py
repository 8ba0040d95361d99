"""A request for the upstream: the same bytes, or the same fields but for what the memory changes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.prompts import remembered
from seal_memory.server.upstream_request import parse_request

_plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
_values = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(["tools", "tool_choice", "stop", "n", "x"]) | st.text(max_size=6)
_fields = st.dictionaries(_names.filter(lambda n: n not in ("model", "messages", "seal_memory")), _values, max_size=5)
_users = st.lists(
    st.builds(lambda text: {"role": "user", "content": text}, st.text(max_size=9)), min_size=1, max_size=3
)
_spaces = st.sampled_from([None, 1, "\t"])


@given(fields=_fields, messages=_users, indent=_spaces, escaped=st.booleans())
def test_only_what_the_memory_changes_is_changed(fields: Any, messages: Any, indent: Any, escaped: bool) -> None:
    """Numbers keep their value, and texts every character, also halves of one."""
    asked = {**fields, "model": "big", "messages": messages}
    text = json.dumps(asked, indent=indent, ensure_ascii=escaped)
    raw = text.encode("utf-8", "surrogatepass") if escaped or text.isascii() else json.dumps(asked).encode()
    request = parse_request(raw)
    assert request.body("big") == raw
    note = {"role": "system", "content": remembered(["It is red."])}
    assert json.loads(request.body("big", ["It is red."])) == {**asked, "messages": [note, *messages]}
    assert json.loads(request.body("other")) == {**asked, "model": "other"}
    own = json.dumps({**asked, "seal_memory": {"session": "s"}}).encode()
    assert json.loads(parse_request(own).body("big")) == asked
