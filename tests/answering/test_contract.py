"""What an answer may be: OpenAI's fields, checked by name, and the schemas of calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seal_memory.answering.answerer import Answer, Mode
from seal_memory.answering.contract import call_schema, parse_contract
from seal_memory.engines.base import Prompt
from seal_memory.engines.tool_prompts import CallForm
from seal_memory.errors import InputError

jsonschema = pytest.importorskip("jsonschema_rs")


def _tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TIDE, SEND = _tool("tide", where={"type": "string"}), _tool("send", text={"type": "string"})
NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}}}
TREE = {
    "type": "function",
    "function": {
        "name": "tree",
        "parameters": {"type": "object", "properties": {"root": {"$ref": "#/$defs/N"}}, "$defs": {"N": NODE}},
    },
}
NAMED = {"type": "function", "function": {"name": "send"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}


@pytest.mark.parametrize(
    ("choice", "offered", "forced"),
    [
        (None, ["tide", "send"], []),
        ("auto", ["tide", "send"], []),
        ("none", [], []),
        ("required", ["tide", "send"], ["tide", "send"]),
        (NAMED, ["tide", "send"], ["send"]),
        ({"type": "function", "name": "send"}, ["tide", "send"], ["send"]),
        ("send", ["tide", "send"], ["send"]),
        (ALLOWED, ["send"], ["send"]),
    ],
    ids=str,
)
def test_a_choice_says_what_is_offered_and_what_is_forced(choice: Any, offered: list[str], forced: list[str]) -> None:
    contract = parse_contract(tools=[TIDE, SEND], tool_choice=choice)
    assert (contract.names, list(contract.forced)) == (offered, forced)
    asked = contract.with_tools(Prompt([]), CallForm.HERMES)
    assert (asked.schema is not None) == bool(forced)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools.0.type: it is 'web_search'"),
        ({"tools": [{"type": "function"}]}, "tools.0.function: expected an object with a name"),
        ({"tools": [TIDE, TIDE]}, "tools.1.function.name: 'tide' is the name of two tools"),
        ({"tools": [{"function": {"name": "f", "parameters": [1]}}]}, "tools.0.function.parameters"),
        ({"tools": [TIDE], "tool_choice": "ghost"}, "tool_choice: there is no tool 'ghost'"),
        ({"tools": [TIDE], "tool_choice": {"type": "function"}}, "tool_choice: there is no tool None"),
        ({"tool_choice": "required"}, "tool_choice: 'required' needs"),
        ({"response_format": {"type": "xml"}}, "response_format: type 'xml'"),
        ({"response_format": {"type": "json_schema"}}, "response_format: json_schema needs"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_by_its_field(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_contract(**fields)
    assert str(error.value).startswith(told)


@pytest.mark.parametrize("form", list(CallForm))
def test_a_calls_schema_takes_calls_of_the_tools_only(form: CallForm) -> None:
    """No other tool, no invented argument; references inside a tool's schema keep their meaning."""
    schema, key = call_schema([TIDE, TREE], form), form.arguments_key
    good = [
        {"name": "tide", key: {"where": "Oslo"}},
        {"name": "tree", key: {"root": {"next": {"next": None}}}},
    ]
    bad = [
        {"name": "send", key: {"text": "x"}},
        {"name": "tide", key: {}},
        {"name": "tide", key: {"where": "Oslo", "when": "now"}},
        {"name": "tree", key: {"root": {"next": 5}}},
        {"name": "tide"},
    ]
    assert all(jsonschema.is_valid(schema, one) for one in good)
    assert not any(jsonschema.is_valid(schema, one) for one in bad)


def test_tools_beside_a_format_allow_either() -> None:
    answer = {"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"]}
    contract = parse_contract(
        tools=[TIDE], response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": answer}}
    )
    schema = contract.with_tools(Prompt([]), CallForm.HERMES).schema
    assert jsonschema.is_valid(schema, {"done": True})
    assert jsonschema.is_valid(schema, {"name": "tide", "arguments": {"where": "Oslo"}})


def test_a_tool_without_parameters_takes_none() -> None:
    schema = call_schema([{"type": "function", "function": {"name": "now"}}], CallForm.JSON)
    assert jsonschema.is_valid(schema, {"name": "now", "arguments": {}})
    assert not jsonschema.is_valid(schema, {"name": "now", "arguments": {"zone": "utc"}})


def test_one_call_is_kept_where_several_are_not_wanted() -> None:
    calls = [json.dumps({"name": n, "arguments": {}}) for n in ("tide", "send")]
    said = Answer("".join(f"<tool_call>{c}</tool_call>" for c in calls), 1.0, Mode.WEIGHTS, None)
    for parallel in (True, False):
        read = parse_contract(tools=[TIDE, SEND], parallel_tool_calls=parallel).read(said)
        assert [c.name for c in read.tool_calls] == ["tide", "send"][: 2 if parallel else 1]
        assert (read.finish, read.text) == ("tool_calls", "")
