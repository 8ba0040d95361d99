"""Tool calls in a model's text: every form is read, nothing else is, and what is streamed is never part of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.answering.tool_calls import certain_text, parse_calls

NAMES = ("tide", "send")
ARGUMENTS = {"where": "Korrin Bay", "day": 3}
CALL = {"name": "tide", "arguments": ARGUMENTS}


def _read(text: str) -> tuple[str, list[tuple[str, Any]]]:
    content, calls = parse_calls(text, NAMES)
    assert all(call.id.startswith("call_") for call in calls)
    assert len({call.id for call in calls}) == len(calls)
    return content, [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        f"<tool_call>{json.dumps(CALL)}",  # the model stopped without the end
        f"<tool_call>{json.dumps({'name': 'tide', 'arguments': json.dumps(ARGUMENTS)})}</tool_call>",
        json.dumps({"name": "tide", "parameters": ARGUMENTS}),  # Llama 3
        f"<|python_tag|>{json.dumps({'name': 'tide', 'parameters': ARGUMENTS})}",
        json.dumps(CALL),
        json.dumps([CALL]),
        f"```json\n{json.dumps(CALL, indent=2)}\n```",
    ],
)
def test_every_form_is_read(text: str) -> None:
    assert _read(text) == ("", [("tide", ARGUMENTS)])


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{json.dumps(CALL)}</tool_call>\n<tool_call>{json.dumps({'name': 'send'})}</tool_call>",
        f"{json.dumps(CALL)}; {json.dumps({'name': 'send', 'parameters': {}})}",
        json.dumps([CALL, {"name": "send"}]),
    ],
)
def test_several_calls_are_read_in_order(text: str) -> None:
    assert _read(text) == ("", [("tide", ARGUMENTS), ("send", {})])


def test_text_around_calls_is_kept() -> None:
    block = f"<tool_call>{json.dumps(CALL)}</tool_call>"
    assert _read(f"Let me see. {block}") == ("Let me see.", [("tide", ARGUMENTS)])


def test_a_number_beyond_floats_stays_json() -> None:
    (call,) = parse_calls('{"name": "tide", "arguments": {"day": 1e999, "hour": -1e999}}', NAMES)[1]
    assert "Infinity" not in call.arguments


def test_a_tagged_call_of_an_unknown_tool_is_a_call() -> None:
    """The agent can tell the model that there is none of that name; JSON without tags may be an answer."""
    other = json.dumps({"name": "ghost", "arguments": {}})
    assert _read(f"<tool_call>{other}</tool_call>") == ("", [("ghost", {})])
    assert _read(other) == (other, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The tide comes at 12:10.",
        '{"name": "Maud"}',
        '<tool_call>{"name": "tide", "arguments": {"day": NaN}}</tool_call>',
        "[1, 2]",
        "{}",
        "<tool_call>{oops</tool_call>",
        "<tool_call></tool_call>",
        f"<tool_call>{json.dumps(CALL)} and more</tool_call>",
        f"<tool_call>{json.dumps({'name': 'tide', 'arguments': 'none'})}</tool_call>",
        f"<tool_call>{json.dumps({'name': 5})}</tool_call>",
        f"{json.dumps(CALL)} is how I would call it.",
        "[" * 10_000,
    ],
    ids=lambda text: text[:40],
)
def test_anything_else_stays_text(text: str) -> None:
    assert _read(text) == (text, [])


PIECES = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "_call>",
        json.dumps(CALL),
        "{",
        "}",
        "[",
        "`",
        "```json\n",
        "\n",
        " ",
        ";",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=8).map("".join)


@given(TEXTS)
def test_no_text_breaks_the_parser(text: str) -> None:
    """Law: arguments are JSON objects, and without calls the text is what it was."""
    content, calls = _read(text)
    assert all(isinstance(arguments, dict) for _, arguments in calls)
    if not calls:
        assert content == text.strip()


@given(TEXTS, st.integers(0, 80))
def test_what_is_certain_stays_the_beginning_of_the_text(text: str, cut: int) -> None:
    """Law: whatever the model adds, what was streamed is a beginning of the content, and it only grows."""
    content, _ = _read(text)
    certain = certain_text(text[:cut])
    assert content.startswith(certain)
    assert certain_text(text).startswith(certain)


def test_plain_text_is_certain_at_once() -> None:
    assert certain_text("The tide comes") == "The tide comes"
    assert certain_text("At 5 <tool") == "At 5"
    assert certain_text('{"name') == certain_text("<too") == ""


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.dictionaries(st.text(max_size=5), st.text(max_size=9)))))
def test_written_calls_are_read_back(calls: list[tuple[str, dict[str, str]]]) -> None:
    """Law: Hermes' form, any arguments, unless they hold the closing tag itself."""
    written = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    if not any("</tool_call>" in one for one in written):
        text = "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in written)
        assert _read(text) == ("", calls)
