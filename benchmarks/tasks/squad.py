"""The SQuAD task: passages with questions, from a file in the shape of SEAL's passages.

A line of the file is {"id", "title", "context", "questions": [{"question", "answer"}]} and may carry notes that
other models wrote about the passage, under names like "notes_gpt41". The file is the user's; none is shipped.
Not covered: unanswerable questions (SQuAD 2) and several gold answers to one question.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.tasks.base import Chunk, Question, Task, Unit, file_sha256
from benchmarks.tasks.reading import as_object, at_least_one, kind_of, list_in, parse, read_text, text_in
from seal_memory.errors import InputError


def load(path: Path, *, limit: int | None = None, start: int = 0) -> Task:
    """The passages from the `start`-th (from 0) on, at most `limit`, each a unit of one chunk.

    Raises `InputError` for a file that cannot be read or has another shape, and for a start beyond its end.
    """
    at_least_one(limit, "limit")
    units = [_unit(record, where) for where, record in _records(path).items()]
    if not 0 <= start < len(units):
        raise InputError(f"{path} has {len(units)} passages; expected a start from 0 to {len(units) - 1}, not {start}")
    end = None if limit is None else start + limit
    return Task("squad", tuple(units[start:end]), file_sha256(path), {"start": start, "limit": limit})


def notes(path: Path, field: str) -> dict[str, str]:
    """What another model noted about each passage, by unit id: the first note where a field holds several.

    Raises `InputError` for a field that is not in the file, and names those that are.
    """
    records = _records(path)
    fields = sorted({key for record in records.values() for key in record if key.startswith("notes_")})
    if field not in fields:
        raise InputError(f"{path}: no notes under '{field}'; in the file: {', '.join(fields) or 'none'}")
    held = {where: record for where, record in records.items() if field in record}
    return {_unit_id(record, where): _note(record[field], f"{where}, '{field}'") for where, record in held.items()}


def every_note(path: Path) -> dict[str, list[str]]:
    """All notes that other models wrote about each passage, by unit id, in the order of the fields' names."""
    found: dict[str, list[str]] = {}
    for where, record in _records(path).items():
        fields = sorted(key for key in record if key.startswith("notes_"))
        values = [record[f] if isinstance(record[f], list) else [record[f]] for f in fields]
        found[_unit_id(record, where)] = [_note(v, where) for several in values for v in several]
    return found


def _records(path: Path) -> dict[str, dict[str, Any]]:
    """Every line's record, under the words that name the line in an error."""
    records: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            record = as_object(parse(line, where), where)
            unit = _unit_id(record, where)
            if unit in seen:
                raise InputError(f"{where}: the id of {seen[unit]} again; expected every passage to have its own")
            seen[unit], records[where] = where, record
    if not records:
        raise InputError(f"{path} is empty; expected passages, one JSON object a line")
    return records


def _unit_id(record: dict[str, Any], where: str) -> str:
    number = record.get("id")
    if isinstance(number, bool) or not isinstance(number, int | str) or not str(number).strip():
        problem = f"'id' is {kind_of(number)}" if "id" in record else "no 'id'"
        raise InputError(f"{where}: {problem}; expected a number or a text")
    return f"squad-{number}"


def _unit(record: dict[str, Any], where: str) -> Unit:
    unit = _unit_id(record, where)
    title = text_in(record, "title", where)
    chunk = Chunk(f"{unit}-text", text_in(record, "context", where), "document", title, unit)
    questions = tuple(
        _question(one, chunk, number, f"{where}, question {number}")
        for number, one in enumerate(list_in(record, "questions", where), start=1)
    )
    return Unit(unit, (chunk,), questions)


def _question(raw: object, chunk: Chunk, number: int, where: str) -> Question:
    record = as_object(raw, where)
    text, answer = text_in(record, "question", where).strip(), text_in(record, "answer", where).strip()
    return Question(f"{chunk.source}-q{number}", text, (answer,), (chunk.id,))


def _note(value: object, where: str) -> str:
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, str):
        raise InputError(f"{where}: {kind_of(first)}; expected a text or a list of texts")
    return first
