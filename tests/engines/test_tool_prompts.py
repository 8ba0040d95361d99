"""Tools in prompts: the template's own place where it has one, else the system turn in Hermes' form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.tool_prompts import CallForm, form_of

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"where": "Oslo"}'}}
HISTORY = [
    {"role": "user", "content": "Tide?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "12:10", "tool_call_id": "c1"},
    {"role": "tool", "content": "and 0:40", "tool_call_id": "c2"},
]
SHOWS_TOOLS = (
    "{% for tool in tools or [] %}<tool>{{ tool | tojson }}</tool>{% endfor %}"
    "{% for m in messages %}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>"
    "{% endfor %}{{ m.content }}|{% endfor %}"
)


@pytest.fixture
def engine(load_tiny: Callable[[], Any]) -> TransformersEngine:
    return TransformersEngine(load_tiny())


def _shown(engine: TransformersEngine, messages: Any, tools: Any = ()) -> str:
    return str(engine.tokenizer.decode(engine.encode_prompt(messages, tools=tools)))


def test_a_template_without_tools_gets_them_in_the_system_turn(engine: TransformersEngine) -> None:
    """Behind the client's own words, or in a system turn of their own; the form of a call is told."""
    assert engine.encoder.call_form is CallForm.HERMES
    for messages in (HISTORY, [{"role": "system", "content": "Be kind."}, *HISTORY]):
        system, *_ = _shown(engine, messages, [TOOL]).split("<|im_end|>")
        assert system.startswith("<|im_start|>system\n")
        assert "look_up" in system
        assert "<tool_call>" in system
        assert system.count("Be kind.") == (len(messages) > len(HISTORY))


@pytest.mark.parametrize("tools", [(), [TOOL]])
def test_a_template_without_tools_gets_calls_and_results_as_text(engine: TransformersEngine, tools: Any) -> None:
    """Also where the tools are gone from the request: what was called stays in the history."""
    shown = _shown(engine, HISTORY, tools)
    assert '<tool_call>\n{"name": "look_up", "arguments": {"where": "Oslo"}}\n</tool_call><|im_end|>' in shown
    assert "<|im_start|>user\n<tool_response>\n12:10\n</tool_response>\n<tool_response>\nand 0:40" in shown
    assert "<|im_start|>tool" not in shown


def test_a_template_with_tools_gets_them_as_they_are(engine: TransformersEngine) -> None:
    """Arguments of earlier calls as JSON, not as JSON in a string."""
    engine.tokenizer.chat_template = SHOWS_TOOLS
    shown = _shown(engine, HISTORY, [TOOL])
    assert shown.startswith("<tool>{")
    assert '"arguments": {"where": "Oslo"}' in shown
    assert "You can call tools" not in shown
    assert engine.encoder.call_form is CallForm.HERMES


@pytest.mark.parametrize("arguments", ["{oops", "[1]", None, "", {"where": "Oslo"}])
def test_any_arguments_of_an_earlier_call_can_be_shown(engine: TransformersEngine, arguments: Any) -> None:
    """A model wrote them: they may be broken."""
    call = {**CALL, "function": {"name": "look_up", "arguments": arguments}}
    history = [HISTORY[0], {**HISTORY[1], "tool_calls": [call]}, HISTORY[2]]
    assert "look_up" in _shown(engine, history)
    engine.tokenizer.chat_template = SHOWS_TOOLS
    assert "look_up" in _shown(engine, history)


def test_the_form_is_what_the_template_teaches() -> None:
    llama = '{"name": f, "parameters": {}} Environment: ipython'
    assert form_of(llama, shows_tools=True) is CallForm.LLAMA
    assert form_of("[TOOL_CALLS]", shows_tools=True) is CallForm.JSON
    assert form_of("<tool_call>", shows_tools=True) is form_of(llama, shows_tools=False) is CallForm.HERMES
    assert (CallForm.LLAMA.arguments_key, CallForm.LLAMA.opening) == ("parameters", "")
