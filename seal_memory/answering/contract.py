"""What an answer may be: the tools that it may or must call, and the JSON schema of its text, in OpenAI's terms.

A forced call is exactly one call, whose JSON decoding follows by a schema; a free one is written by the model and
parsed. Where tools are offered beside a `response_format`, the answer is one JSON object: a call, or an answer of that
format. Not here: parsing calls (`tool_calls`), following schemas (`engines.schemas`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seal_memory.answering.answerer import Answer
from seal_memory.answering.tool_calls import parse_calls
from seal_memory.engines.base import Prompt
from seal_memory.engines.tool_prompts import CallForm
from seal_memory.errors import InputError

Json = Mapping[str, Any]
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_OPEN_TO_MORE = (
    "additionalProperties",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "patternProperties",
    "unevaluatedProperties",
)


@dataclass(frozen=True, slots=True)
class Contract:
    """`tools`: those that the prompt shows. `forced`: names of which exactly one must be called; empty: none need be.

    `parallel`: whether an answer may hold several calls. `schema`: of the answer's text, None for free text.
    """

    tools: tuple[Json, ...] = ()
    forced: tuple[str, ...] = ()
    parallel: bool = True
    schema: Json | None = None

    @property
    def names(self) -> list[str]:
        """Names of the offered tools."""
        return [tool["function"]["name"] for tool in self.tools]

    def with_tools(self, prompt: Prompt, form: CallForm) -> Prompt:
        """The prompt with the tools, and with the schema that its answer must follow, if any."""
        if prompt.raw is not None:
            raise InputError("tools: a text to continue has no place for them; send messages")
        if self.forced:
            called = [tool for tool in self.tools if tool["function"]["name"] in self.forced]
            return replace(prompt, tools=self.tools, schema=call_schema(called, form), opening=form.opening)
        schema = None if self.schema is None else call_schema(self.tools, form, self.schema)
        return replace(prompt, tools=self.tools, schema=schema)

    def read(self, answer: Answer) -> Answer:
        """The answer with its calls apart from its text, and the finish "tool_calls" where there are some."""
        if not self.tools:
            return answer
        text, calls = parse_calls(answer.text, self.names)
        if not calls:
            return answer
        kept = tuple(calls if self.parallel else calls[:1])
        return replace(answer, text=text, tool_calls=kept, finish="tool_calls")


FREE = Contract()


def parse_contract(
    *,
    tools: Sequence[Json] = (),
    tool_choice: str | Json | None = None,
    parallel_tool_calls: bool | None = None,
    response_format: Json | None = None,
) -> Contract:
    """The contract of OpenAI's fields. Raises `InputError` that begins with the name of a field that cannot be used."""
    offered, forced = _chosen(parse_tools(tools), tool_choice)
    return Contract(offered, forced, parallel_tool_calls is not False, parse_response_format(response_format))


def parse_tools(tools: Sequence[Json]) -> tuple[Json, ...]:
    """The tools, checked. Raises `InputError` for another type than "function", a missing or a repeated name."""
    names: set[str] = set()
    for place, tool in enumerate(tools):
        where, kind = f"tools.{place}", tool.get("type", "function")
        if kind != "function":
            raise InputError(f"{where}.type: it is {kind!r}; only 'function' is supported")
        function = tool.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
            raise InputError(f"{where}.function: expected an object with a name")
        if name in names:
            raise InputError(f"{where}.function.name: {name!r} is the name of two tools")
        if not isinstance(function.get("parameters") or {}, Mapping):
            raise InputError(f"{where}.function.parameters: expected a JSON schema")
        names.add(name)
    return tuple(tools)


def parse_response_format(value: Json | None) -> Json | None:
    """The schema of a `response_format`, None for text. Raises `InputError` for an unknown type or no schema."""
    kind = "text" if value is None else value.get("type", "text")
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise InputError(f"response_format: type {kind!r} is not known; expected text, json_object or json_schema")
    described = value.get("json_schema")
    schema = described.get("schema", {"type": "object"}) if isinstance(described, Mapping) else None
    if not isinstance(schema, Mapping):
        raise InputError("response_format: json_schema needs an object with a name and a schema")
    return schema


def _chosen(tools: tuple[Json, ...], choice: str | Json | None) -> tuple[tuple[Json, ...], tuple[str, ...]]:
    """The tools to offer and the names of which one must be called."""
    if choice == "none":
        return (), ()
    names = tuple(tool["function"]["name"] for tool in tools)
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        wanted = [_named(one, names) for one in allowed.get("tools") or ()]
        tools = tuple(tool for tool in tools if tool["function"]["name"] in wanted)
        return _chosen(tools, allowed.get("mode", "auto"))
    if choice is None or choice == "auto":
        return tools, ()
    if choice in ("required", "any"):
        if not names:
            raise InputError(f"tool_choice: {choice!r} needs at least one tool")
        return tools, names
    return tools, (_named(choice, names),)


def _named(choice: str | Json, names: Sequence[str]) -> str:
    """The tool's name in a choice. Raises `InputError` where no such tool is offered."""
    inner = choice.get("function", choice) if isinstance(choice, Mapping) else {"name": choice}
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if name not in names:
        known = ", ".join(["auto", "none", "required", *names])
        raise InputError(f"tool_choice: there is no tool {name!r}; expected one of {known}")
    return str(name)


# -- schemas of calls -----------------------------------------------------------------------------


def call_schema(tools: Sequence[Json], form: CallForm, answer: Json | None = None) -> dict[str, Any]:
    """The JSON schema of one call of one of the tools, or of an answer of the given schema.

    Each schema is a definition of its own, so that references inside it keep their meaning.
    """
    parts = [_closed(tool["function"].get("parameters") or _NO_PARAMETERS) for tool in tools]
    parts += [answer] if answer is not None else []
    definitions = {f"s{n}": _rebased(part, f"#/$defs/s{n}") for n, part in enumerate(parts)}
    key = form.arguments_key
    options: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["function"]["name"]}, key: {"$ref": f"#/$defs/s{n}"}},
            "required": ["name", key],
            "additionalProperties": False,
        }
        for n, tool in enumerate(tools)
    ]
    if answer is not None:
        options.append({"$ref": f"#/$defs/s{len(tools)}"})
    whole: dict[str, Any] = options[0] if len(options) == 1 else {"anyOf": options}
    return {**whole, "$defs": definitions}


def _closed(parameters: Json) -> Json:
    """Plain parameters without others than the named ones, so that a small model invents none."""
    if "properties" not in parameters or any(key in parameters for key in _OPEN_TO_MORE):
        return parameters
    return {"type": "object", **parameters, "additionalProperties": False}


def _rebased(schema: Any, root: str) -> Any:
    """The schema with its references turned to `root`, where it stands inside another one."""
    if isinstance(schema, list):
        return [_rebased(one, root) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: root + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _rebased(value, root)
        for key, value in schema.items()
    }
