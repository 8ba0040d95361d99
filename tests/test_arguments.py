"""Arguments of the wrong type or range: every verb of a memory raises `InputError`, never another exception."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.intake.messages import storable_name
from seal_memory.ledger.arguments import MAX_DEPTH
from seal_memory.pool import MemoryPool

FACT = "The key of the boathouse lies under the bell."
MESSAGES = [{"role": "user", "content": FACT}]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealMemory]:
    """A memory that no test writes to: every call is refused."""
    with SealMemory.open(tmp_path_factory.mktemp("memory")) as opened:
        yield opened


def _nested(levels: int) -> dict[str, Any]:
    made: Any = {}
    for level in range(levels - 2):
        made = {"inside": made} if level % 2 else [made]
    return {"inside": made}


@pytest.mark.parametrize("value", [5, 1.5, True, b"x", ["a", 5], {"a": 1}, "\ud800"])
def test_a_value_of_another_type_is_refused_by_every_verb(memory: SealMemory, tmp_path: Path, value: Any) -> None:
    """Names, texts, ids and messages; also half of a surrogate pair, which UTF-8 cannot carry."""
    for name in ("title", "session", "source", "role"):
        with pytest.raises(InputError, match=rf"{name} is|{name} holds|unknown role"):
            memory.observe(FACT, **{name: value})
    for name in ("session", "source"):
        with pytest.raises(InputError, match=name):
            memory.observe_messages(MESSAGES, **{name: value})
        with pytest.raises(SealMemoryError, match=name):
            memory.forget(**{name: value})
    for verb in (memory.observe, memory.observe_messages, memory.forget, memory.approve, memory.reject, memory.ask):
        with pytest.raises(SealMemoryError):
            verb(value)  # type: ignore[operator]
    with pytest.raises(SealMemoryError):
        memory.correct(value, FACT)
    with pytest.raises(InputError):
        memory.add_quiz(value, interaction_ids=[])
    with pytest.raises(InputError, match="namespace"):
        SealMemory.open(tmp_path, namespace=value)
    assert memory.ledger.interactions() == []


@pytest.mark.parametrize("value", [5, None, b"x", ["a"], {"a": 1}, True])
def test_a_query_that_is_no_string_is_refused(memory: SealMemory, value: Any) -> None:
    """A query may hold any characters, but it is a string; a limit is a whole number."""
    for verb in (memory.recall, memory.route):
        with pytest.raises(InputError, match=r"query|question"):
            verb(value)
    assert memory.recall("half \ud800 a pair") == []


@pytest.mark.parametrize("value", [None, "5", 1.5, True, 0, -1])
def test_a_limit_is_a_whole_number_of_at_least_one(memory: SealMemory, value: Any) -> None:
    with pytest.raises(InputError, match="limit"):
        memory.recall("key", limit=value)


@pytest.mark.parametrize("value", [5, None, b"x", ["a"], "a\x00b", "half \ud800"])
def test_a_folder_is_a_path(memory: SealMemory, value: Any) -> None:
    for verb in (SealMemory.open, memory.export, memory.report):
        with pytest.raises(InputError, match=r"folder|file"):
            verb(value)


@pytest.mark.parametrize("value", ["5", b"x", ["a"], {"a": 1}, True, -1])
def test_options_are_checked_when_a_memory_or_a_pool_opens(tmp_path: Path, value: Any) -> None:
    """Not when the first text comes, which an agent's run would leave out."""
    for options in ({"quota": value}, {"settings": value}):
        with pytest.raises(InputError, match=r"quota|settings"):
            SealMemory.open(tmp_path / "memory", **options)
    for options in ({"quota": value}, {"keep": value}):
        with pytest.raises(InputError, match=r"quota|keep"):
            MemoryPool(tmp_path / "memory", **options)
    assert not (tmp_path / "memory").exists()


@pytest.mark.parametrize("value", [5, 1.5, b"x", ["a", 5], {"a": 1}, _nested(3000)])
def test_a_mode_a_conversation_ids_and_limits_are_what_they_are_called(memory: SealMemory, value: Any) -> None:
    """Also what is nested too deeply to be shown."""
    refused = [
        lambda: memory.ask("Who?", mode=value),
        lambda: memory.quiz(mode=value),
        lambda: memory.converse(value),
        lambda: memory.add_quiz([("Who?", "Maud")], interaction_ids=value),
        lambda: memory.consolidate(rebuild=value),
        lambda: memory.observe(FACT, role=value),
        *(() if value == 5 else (lambda: memory.quiz(limit=value), lambda: memory.consolidate(limit=value))),
    ]
    for call in refused:
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("value", [1_700_000_000_000, 1.7e15, math.inf, math.nan, -1e12, "noon", True])
def test_a_time_is_in_seconds_between_the_years_1_and_5138(memory: SealMemory, value: Any) -> None:
    """Milliseconds since 1973 are none; the message says what to do."""
    hint = "milliseconds" if isinstance(value, int | float) and 1e11 < value < math.inf else "Unix seconds"
    for observe in (memory.observe, lambda _, **time: memory.observe_messages(MESSAGES, **time)):
        with pytest.raises(InputError, match=hint):
            observe(FACT, time=value)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (_nested(3000), "deeper than 100"),
        (_nested(MAX_DEPTH + 1), "deeper than 100"),
        ({"x": math.nan}, "JSON"),
        ({"x": {1, 2}}, "JSON"),
        ({"x": "\ud800"}, "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({"x": 1, 2: 3}, "JSON"),
        ([1], "mapping"),
    ],
)
def test_metadata_without_a_json_form_is_refused(memory: SealMemory, metadata: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        memory.observe(FACT, metadata=metadata)


def test_metadata_that_contains_itself_is_refused(memory: SealMemory) -> None:
    around: list[Any] = []
    around += [around, around]
    with pytest.raises(InputError, match="lists and mappings"):
        memory.observe(FACT, metadata={"x": around})


def test_metadata_of_the_greatest_depth_comes_back(tmp_path: Path) -> None:
    with SealMemory.open(tmp_path) as memory:
        memory.observe(FACT, metadata=_nested(MAX_DEPTH), time=-1000.0)
        (found,) = memory.ledger.interactions()
    assert (found.metadata, found.time) == (_nested(MAX_DEPTH), -1000.0)


def test_names_in_messages_that_no_ledger_takes_are_escaped_or_cut(tmp_path: Path) -> None:
    """A message's words are kept whatever its name, ids and parts are called."""
    parts = [{"type": "text", "text": FACT}, {"type": "\ud800"}]
    with SealMemory.open(tmp_path) as memory:
        memory.observe_messages([{"role": "user", "content": parts, "name": "\udfff", "id": "a" * 10**6}])
        (found,) = memory.ledger.interactions()
    assert found.text == FACT
    assert found.metadata == {"name": "\\udfff", "id": storable_name("a" * 10**6), "skipped_parts": ["\\ud800"]}
