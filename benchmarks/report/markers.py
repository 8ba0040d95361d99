"""Refreshes the tables of docs/results.md, each between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.

NAME is an experiment and a task, such as `sessions-squad`, or a sheet's: `policy`, `speed`. All text outside the
markers stays byte for byte; the same results give the same text. A marker without results is left as it is and
reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import tables
from benchmarks.report.load import SHEETS
from benchmarks.report.records import EXPERIMENTS, TASKS, Results
from benchmarks.report.sheets import Sheet
from benchmarks.report.tables import Cell, Table
from seal_memory.errors import InputError

NAMES = (*(f"{experiment}-{task}" for experiment in EXPERIMENTS for task in TASKS), *SHEETS)
_MARKER = re.compile(r"<!-- (/?)bench:(.*?) -->")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The new text, the tables that it has from results, and the markers that had none."""

    text: str
    tables: tuple[str, ...]
    without_results: tuple[str, ...]


def refresh_file(
    path: Path, results: Sequence[Results], *, sheets: Sequence[Sheet] = (), check: bool = False
) -> tuple[Refreshed, bool]:
    """Refresh such a file on disk, and tell whether it was stale. `check`: look, write nothing."""
    try:
        old = path.read_bytes().decode("utf-8")  # bytes, so that no line ending changes
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    new = refresh(old, results, sheets=sheets, name=str(path))
    stale = new.text != old
    if stale and not check:
        path.write_bytes(new.text.encode("utf-8"))
    return new, stale


def refresh(text: str, results: Sequence[Results], *, sheets: Sequence[Sheet] = (), name: str = "text") -> Refreshed:
    """The text with every table between known markers made anew."""
    by_name = {one.name: tables.compact(one) for one in results}
    by_name |= {sheet.name: sheet.compact for sheet in sheets}
    newline = "\r\n" if "\r\n" in text else "\n"
    out, done, missing, end = "", [], [], 0
    for marker, start, stop in _pairs(text, name):
        if marker in by_name:
            lines = markdown(by_name[marker])
            out += text[end:start] + newline + newline.join(lines) + newline
            done.append(marker)
        else:
            out += text[end:stop]
            missing.append(marker)
        end = stop
    return Refreshed(out + text[end:], tuple(done), tuple(missing))


def markdown(table: Table) -> list[str]:
    """The lines of a Markdown table; interval in brackets."""
    lines = [table.titles, tuple("---" for _ in table.titles)]
    lines += [tuple(_escape(_words(cell)) for cell in row) for row in table.rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _pairs(text: str, name: str) -> list[tuple[str, int, int]]:
    """(NAME, where its inside begins, where it ends) of every pair of markers."""
    found: list[tuple[str, int, int]] = []
    opened: tuple[str, int] | None = None
    for match in _MARKER.finditer(text):
        closing, marker = match[1] == "/", match[2].strip()
        if marker not in NAMES:
            raise InputError(f"{name}: unknown marker {match[0]}; the names are {', '.join(NAMES)}")
        if closing != (opened is not None) or (opened is not None and opened[0] != marker):
            waiting = f"<!-- /bench:{opened[0]} -->" if opened else "an opening marker"
            raise InputError(f"{name}: found {match[0]}, expected {waiting} first")
        if opened is None:
            opened = (marker, match.end())
        else:
            found.append((marker, opened[1], match.start()))
            opened = None
    if opened is not None:
        raise InputError(f"{name}: <!-- bench:{opened[0]} --> is never closed by <!-- /bench:{opened[0]} -->")
    return found


def _words(cell: Cell) -> str:
    return f"{cell.text} [{cell.detail}]" if cell.detail else cell.text


def _escape(text: str) -> str:
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", text) if not _PLAIN.fullmatch(text) else text


_PLAIN = re.compile(r"[\w .,:+%–−∞-]*(\[[\d.–+− to]+\])?")
