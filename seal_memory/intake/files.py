"""Reading files into documents: text, HTML, Markdown, JSONL of messages, JSON or JSONL of passages.

A file is read and checked whole before the first document is returned, so a bad line 900 leaves nothing half-ingested.
Not here: bytes to text (`decoding`), PDF and office formats (refused by name), folders (list their files), chunking
and the choice of what is learned (`admission`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seal_memory.errors import InputError
from seal_memory.intake.admission import check_provenance, check_text
from seal_memory.intake.decoding import html_text, looks_like_html, read_text
from seal_memory.intake.messages import parse_message, parse_role
from seal_memory.records import Provenance, Role

__all__ = ["Document", "Question", "read_file"]

_PASSAGE = '{"title": …, "context": …}'
_SHAPES = f'{_PASSAGE}, {{"role": …, "content": …}} or {{"messages": [...]}}'


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer, given with a passage for benchmarks."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a file to observe; `source` is the file's path as it was given, unless the file names one."""

    text: str
    role: Role = Role.DOCUMENT
    title: str | None = None
    source: str | None = None
    session: str | None = None
    questions: tuple[Question, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_file(path: Path | str) -> Iterator[Document]:
    """The documents in a file, by its ending: .md, .markdown, .jsonl, .ndjson, .json, .html; else HTML or plain text.

    Raises InputError, on the call itself, for a missing or unreadable file, a folder, a name or bytes that are not
    text, a PDF, RTF or office document, an empty file, and JSON that is broken or of another shape; it names the file,
    the line or item, and what was expected.
    """
    path = Path(path)
    text = read_text(path)
    reader = _READERS.get(path.suffix.lower(), _read_plain)
    if reader in (_read_plain, _read_markdown) and looks_like_html(text):
        reader = _read_html
    documents = list(reader(text, path))
    if not documents:
        raise InputError(f"{path}: nothing to read in it; expected at least one text, passage or message")
    for number, document in enumerate(documents, start=1):
        _check_recordable(document, f"{path}, text {number}" if len(documents) > 1 else str(path))
    return iter(documents)


def _check_recordable(document: Document, where: str) -> None:
    """Raises `InputError` for what the ledger would refuse, such as half a surrogate pair that JSON may spell."""
    try:
        check_text(document.text)
        check_provenance(
            Provenance(document.role, document.source, document.session, document.title, metadata=document.metadata)
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _read_plain(text: str, path: Path) -> Iterator[Document]:
    yield Document(text.strip(), source=str(path))


def _read_html(text: str, path: Path) -> Iterator[Document]:
    title, words = html_text(text)
    if not words:
        raise InputError(f"{path}: an HTML page without words; expected some text")
    yield Document(words, title=title, source=str(path))


# --- Markdown ----------------------------------------------------------------------------------

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S[^\n]*)$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)[ \t]*(\S*)")


def _read_markdown(text: str, path: Path) -> Iterator[Document]:
    """One document per section; its title is the first heading, then a dash and its own heading."""
    sections = _sections(text)
    title = next((heading for heading, _ in sections if heading), None)
    found = False
    for heading, body in sections:
        if body.strip():
            found = True
            full = f"{title} — {heading}" if title and heading and heading != title else title
            yield Document(body.strip(), title=full, source=str(path))
    if not found:  # headings only: take them as the text
        yield Document(text.strip(), title=title, source=str(path))


def _sections(text: str) -> list[tuple[str | None, str]]:
    """Pairs of a heading (None before the first one) and the text under it."""
    sections: list[tuple[str | None, list[str]]] = [(None, [])]
    fence = ""
    for line in text.splitlines():
        body = sections[-1][1]
        marker = _FENCE.match(line)
        if marker:
            fence = _next_fence(fence, marker.group(1), info=marker.group(2))
        heading = None if fence or marker else _HEADING.match(line)
        if heading:
            sections.append((_without_closing(heading.group(1)), []))
        elif not fence and _UNDERLINE.match(line) and _underlines(body):
            sections.append((body.pop().strip(), []))
        else:
            body.append(line)
    return [(heading, "\n".join(lines)) for heading, lines in sections]


def _without_closing(heading: str) -> str:
    """A heading's words without the closing marks of `## Title ##`; the mark of `# Learning C#` belongs to the word."""
    words = heading.rstrip()
    bare = words.rstrip("#")
    return bare.rstrip() if bare[-1:] in (" ", "\t") else words


def _next_fence(fence: str, marker: str, *, info: str) -> str:
    """The code fence that is open after a line with `marker`; "" when none is."""
    if not fence:
        return marker
    return "" if marker.startswith(fence) and not info else fence


def _underlines(body: list[str]) -> bool:
    """Whether a line of === or --- turns the line above it into a heading: a paragraph of one line."""
    if not body or not body[-1].strip() or body[-1].lstrip().startswith(("-", "*", "|", ">", "#")):
        return False
    return len(body) == 1 or not body[-2].strip()


# --- JSON --------------------------------------------------------------------------------------


def _read_jsonl(text: str, path: Path) -> Iterator[Document]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield from _read_record(_parse(line, where), path, where, number)


def _read_json(text: str, path: Path) -> Iterator[Document]:
    parsed = _parse(text, str(path))
    if not isinstance(parsed, list):
        yield from _read_record(parsed, path, str(path), 1)
        return
    for number, record in enumerate(parsed, start=1):
        yield from _read_record(record, path, f"{path}, item {number}", number)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise InputError(f"{where}{line}: invalid JSON at column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{where}: JSON that cannot be read: {type(error).__name__}") from error


def _read_record(record: Any, path: Path, where: str, number: int) -> Iterator[Document]:
    """The documents in one JSON object: a passage, a message, or a conversation."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: a JSON {_json_kind(record)}; expected an object like {_SHAPES}")
    if "messages" in record:
        yield from _read_conversation(record, path, where, number)
    elif "context" in record:
        yield _read_passage(record, path, where)
    elif "role" in record:
        session = _optional(record, "session", where) or path.stem
        yield from _read_message(record, path, where, session)
    else:
        keys = ", ".join(sorted(map(str, record))[:8]) or "none"
        raise InputError(f"{where}: unknown shape (keys: {keys}); expected {_SHAPES}")


def _read_passage(record: Mapping[str, Any], path: Path, where: str) -> Document:
    context = record["context"]
    if not isinstance(context, str) or not context.strip():
        raise InputError(f"{where}: 'context' is {_shown(context)}; expected a text")
    return Document(
        context.strip(),
        role=_role(record, where),
        title=_optional(record, "title", where),
        source=_optional(record, "source", where) or str(path),
        session=_optional(record, "session", where),
        questions=_questions(record.get("questions"), where),
    )


def _questions(value: object, where: str) -> tuple[Question, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(f"{where}: 'questions' is {_shown(value)}; expected a list")
    found: list[Question] = []
    for number, one in enumerate(value, start=1):
        question = one.get("question") if isinstance(one, dict) else None
        answer = one.get("answer") if isinstance(one, dict) else None
        if not (isinstance(question, str) and question.strip() and isinstance(answer, str) and answer.strip()):
            raise InputError(f'{where}, question {number}: expected {{"question": …, "answer": …}} with two texts')
        found.append(Question(question.strip(), answer.strip()))
    return tuple(found)


def _read_conversation(record: Mapping[str, Any], path: Path, where: str, number: int) -> Iterator[Document]:
    """A conversation is a session of its own: its 'session', else the file's name and number."""
    messages = record["messages"]
    if not isinstance(messages, list):
        raise InputError(f"{where}: 'messages' is {_shown(messages)}; expected a list")
    session = _optional(record, "session", where) or f"{path.stem}:{number}"
    for index, message in enumerate(messages):
        yield from _read_message(message, path, f"{where}, message {index}", session)


def _read_message(raw: object, path: Path, where: str, session: str) -> Iterator[Document]:
    """The message's document, or none when it holds no text (tool calls, images)."""
    message = parse_message(raw, where)
    if not message.text.strip():
        return
    text, metadata = message.text.strip(), message.recorded_metadata
    yield Document(text, message.role, source=str(path), session=session, metadata=metadata)


def _optional(record: Mapping[str, Any], key: str, where: str) -> str | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: '{key}' is {_shown(value)}; expected a text")
    return value.strip() or None


def _role(record: Mapping[str, Any], where: str) -> Role:
    try:
        return parse_role(record.get("role", Role.DOCUMENT))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _json_kind(value: object) -> str:
    kinds = {list: "array", str: "string", int: "number", float: "number", bool: "boolean"}
    return kinds.get(type(value), "null")


def _shown(value: object) -> str:
    """A bad value for an error message: its type, never its text."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return "an empty string" if not value.strip() else "a string"
    kind = _json_kind(value)
    return "null" if kind == "null" else f"{'an' if kind[0] == 'a' else 'a'} {kind}"


_READERS: dict[str, Callable[[str, Path], Iterator[Document]]] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".html": _read_html,
    ".htm": _read_html,
    ".xhtml": _read_html,
}
