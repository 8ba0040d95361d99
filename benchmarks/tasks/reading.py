"""Reading data files of others: text, and the fields of JSON objects, with errors that say what was expected.

Not covered: what the fields mean (`squad`, `locomo`), and anything that a memory is told (`seal_memory.intake.files`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seal_memory.errors import InputError


def read_text(path: Path) -> str:
    """The file's text. Raises `InputError` for a missing file, a folder, and bytes that are not UTF-8."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from error


def parse(text: str, where: str) -> Any:
    """The JSON value in a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: invalid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{where}: JSON that cannot be read: {type(error).__name__}") from error


def as_object(value: object, where: str) -> dict[str, Any]:
    """The value, when it is a JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: {kind_of(value)}; expected an object")
    return value


def list_in(record: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list under a key."""
    value = _present(record, key, where)
    if not isinstance(value, list):
        raise InputError(f"{where}: '{key}' is {kind_of(value)}; expected a list")
    return value


def text_in(record: dict[str, Any], key: str, where: str) -> str:
    """The words under a key, as they stand."""
    value = _present(record, key, where)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: '{key}' is {kind_of(value)}; expected a text")
    return value


def at_least_one(value: int | None, name: str) -> None:
    """Refuses a limit of nothing; None is no limit."""
    if value is not None and value < 1:
        raise InputError(f"{name} is {value}; expected 1 or more, or none for all")


def kind_of(value: object) -> str:
    """A bad value for a message: its kind, never its words."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "a text" if value.strip() else "an empty text"
    kinds = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _present(record: dict[str, Any], key: str, where: str) -> Any:
    if key not in record:
        keys = ", ".join(sorted(map(str, record))[:8]) or "none"
        raise InputError(f"{where}: no '{key}' (keys: {keys})")
    return record[key]
