"""Writes the generated parts of docs/: the settings' tables from `Settings`, the command line from the Typer app.

Each stands between `<!-- generated -->` and `<!-- /generated -->` in its page; the text around is written by hand.
`python docs/generate.py` rewrites them, `--check` writes nothing and ends with 1 where a page is stale. Not here: the
Python API (mkdocstrings reads the docstrings when the site is built) and the results (`python -m benchmarks report`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from seal_memory.cli.app import app
from seal_memory.config import Settings

DOCS = Path(__file__).resolve().parent
_BLOCK = re.compile(r"(<!-- generated -->\n).*?(<!-- /generated -->)", re.DOTALL)
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"), ("min_length", "length ≥"))


def settings_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """(path, field) of every setting that is no group, depth first."""
    for name, field in model.model_fields.items():
        inner = _group(field)
        if inner is not None:
            yield from settings_of(inner, (*path, name))
        else:
            yield (*path, name), field


def configuration() -> str:
    """One table for the settings without a group, and one for each group."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for path, field in settings_of(Settings):
        cells = (_code(".".join(path)), _code(_shown(field)), _accepted(field), field.description or "")
        groups.setdefault(path[:-1], []).append("| " + " | ".join(_escape(cell) for cell in cells) + " |")
    parts = []
    for group, rows in sorted(groups.items(), key=lambda item: bool(item[0])):
        title = f"## {_code('.'.join(group))}" if group else "## Without a group"
        parts.append("\n".join([title, *_about(group), "", "| setting | default | accepts | meaning |", _RULE, *rows]))
    return "\n\n".join(parts) + "\n"


def command_line() -> str:
    """A section for each command: its help, as `--help` prints it."""
    root = typer.main.get_command(app)
    return "\n\n".join(_help(command, path) for path, command in commands_of(root)) + "\n"


def commands_of(command: Any, path: tuple[str, ...] = ("seal-memory",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of every command that does something, in the order of `--help`."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, sub in inner.items():
        yield from commands_of(sub, (*path, name))


PAGES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "command-line.md": command_line}
_RULE = "| --- | --- | --- | --- |"


def refreshed(page: str) -> tuple[str, str]:
    """A page's text as it is and as it should be. Raises `ValueError` where its markers are missing."""
    old = (DOCS / page).read_text(encoding="utf-8")
    new, found = _BLOCK.subn(lambda match: match[1] + "\n" + PAGES[page]() + "\n" + match[2], old)
    if found != 1:
        raise ValueError(f"{page} has {found} generated blocks, expected one between <!-- generated --> markers")
    return old, new


def main(arguments: list[str]) -> int:
    """Rewrite every page, or with `--check` say which are stale."""
    stale = [(page, new) for page in PAGES for old, new in [refreshed(page)] if old != new]
    for page, new in stale:
        if "--check" in arguments:
            print(f"docs/{page} is stale: run python docs/generate.py", file=sys.stderr)
        else:
            (DOCS / page).write_text(new, encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _about(group: tuple[str, ...]) -> list[str]:
    """The first sentence of a group's docstring."""
    model: type[BaseModel] = Settings
    for name in group:
        model = _group(model.model_fields[name]) or model
    said = (model.__doc__ or "").strip().split("\n\n")[0].split("\n")
    return ["", " ".join(line.strip() for line in said)] if group and said[0] else []


def _shown(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _accepted(field: FieldInfo) -> str:
    """Type, choices and bounds, such as `integer, ≥ 1, ≤ 512`."""
    kinds = _kinds(field.annotation)
    rules = [(rule, name, sign) for rule in field.metadata for name, sign in _BOUNDS]
    bounds = [f"{sign} {getattr(rule, name)}" for rule, name, sign in rules if hasattr(rule, name)]
    return ", ".join([" or ".join(kinds), *bounds])


def _kinds(annotation: Any) -> list[str]:
    names = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", type(None): "none"}
    if annotation in names:
        return [names[annotation]]
    inner = get_args(annotation)
    if inner and all(isinstance(one, str) for one in inner):
        return [_code(one) for one in inner]
    if Ellipsis in inner:
        return ["list"]
    return [kind for one in inner for kind in _kinds(one)] or [getattr(annotation, "__name__", str(annotation))]


def _help(command: Any, path: tuple[str, ...]) -> str:
    names = ["--help", "-h"]
    context = click.Context(command, info_name=" ".join(path), terminal_width=100, help_option_names=names)
    return f"## {' '.join(path[1:])}\n\n```text\n{command.get_help(context).rstrip()}\n```"


def _code(text: str) -> str:
    return f"`{text}`"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
