"""Printing of results and errors: tables for people, one JSON line for programs; maps errors to exit codes.

Not here: progress bars (`progress`), the results' contents (the commands).
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from seal_memory._internal.jsonable import fields_of, jsonable
from seal_memory.errors import SealMemoryError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "console", "fields_of", "jsonable", "plain", "handle_errors", "say", "shorten", "table", "when"]


@dataclass(frozen=True, slots=True)
class Output:
    """A command's result: `data` for `--json`, `show` prints it for people."""

    data: Mapping[str, Any]
    show: Callable[[Console], None]

    def print(self, *, as_json: bool) -> None:
        if as_json:
            _print_json(self.data)
        else:
            self.show(console())


def console(*, stderr: bool = False) -> Console:
    """A rich console without markup, so that brackets in a memory print as they are."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


@contextlib.contextmanager
def handle_errors(as_json: bool) -> Iterator[None]:
    """Turn an error in the block into one message (or JSON line) and exit code 1; Ctrl-C into 130.

    With `as_json`, other output of the block to standard output goes to standard error.
    """
    quiet = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    try:
        with quiet:
            yield
    except SealMemoryError as error:
        _fail(as_json, type(error).__name__, str(error))
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a folder without permission: the message names the file
        _fail(as_json, type(error).__name__, str(error))
    except typer.Abort:
        _fail(as_json, "Abort", "Stopped: not confirmed.")
    except KeyboardInterrupt:
        _fail(as_json, "KeyboardInterrupt", "Interrupted. Everything observed or published before is kept.", code=130)


def _fail(as_json: bool, kind: str, message: str, *, code: int = 1) -> None:
    if as_json:
        _print_json({"error": {"type": kind, "message": message}})
    else:
        say(console(stderr=True), f"error: {message}", style="red")
    raise typer.Exit(code) from None


def _print_json(data: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(jsonable(data), allow_nan=False) + "\n")
    sys.stdout.flush()


# -- tables and text ----------------------------------------------------------------------------------


def plain(text: str) -> str:
    """The text with control characters replaced, which could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(out: Console, text: str, *, style: str | None = None) -> None:
    """Print a text without wrapping, so that ids stay whole in a pipe."""
    out.print(plain(text), style=style, soft_wrap=True)


def shorten(text: str, width: int = 72) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(plain(text).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def when(seconds: float) -> str:
    """A Unix time in the local time zone."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Any:
    """A rich table. A heading ending in `>` right-aligns its column (numbers), one in `!` never cuts it (ids).

    None prints as a dash.
    """
    from rich import box
    from rich.table import Table

    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        right, whole = heading.endswith(">"), heading.endswith("!")
        grid.add_column(heading.rstrip(">!"), justify="right" if right else "left", no_wrap=right or whole)
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    return grid


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return plain(str(value))
