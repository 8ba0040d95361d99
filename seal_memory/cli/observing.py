"""Commands `observe` and `ingest`: record texts and files in the ledger. Needs no model.

Not here: file formats (`intake.files`), admission (`intake.admission`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.intake.files import Document
    from seal_memory.memory import SealMemory
    from seal_memory.records import Observed

__all__ = ["ingest", "observe"]


def observe(
    call: Invocation,
    text: Annotated[
        list[str],
        typer.Argument(metavar="TEXT...", help="Texts, each one interaction; - reads standard input."),
    ],
    role: Annotated[str, typer.Option(help="Who said it: user, assistant, system, tool or document.")] = "user",
    session: Annotated[str | None, typer.Option(help="The session it belongs to.")] = None,
    source: Annotated[str | None, typer.Option(help="The origin, such as a file or a tool.")] = None,
    title: Annotated[str | None, typer.Option(help="The title of its document.")] = None,
) -> Output:
    """Record texts that the agent saw. The next consolidate learns them, except those that state nothing."""
    texts = [_standard_input() if one == "-" else one for one in text]
    with call.memory(create=True) as memory:
        seen = memory.observe(texts, role=role, session=session, source=source, title=title)
    return Output({"observed": seen}, lambda out: _show_observed(seen, out))


def _standard_input() -> str:
    """The text of standard input; of an HTML page its words."""
    from seal_memory.intake.decoding import decode, html_text, looks_like_html

    text = decode(sys.stdin.buffer.read(), "Standard input")
    return html_text(text)[1] if looks_like_html(text) else text


def _show_observed(seen: Sequence[Observed], out: Console) -> None:
    rows = [(o.id, "new" if o.new else "known", o.status.value, o.reason) for o in seen]
    out.print(table(["id!", "", "status", "reason"], rows))


@dataclass(slots=True)
class _Tally:
    """Counts of one ingested file."""

    file: str
    documents: int = 0
    ids: list[str] = field(default_factory=list)
    new: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    questions_left_out: int = 0

    def add(self, seen: Iterable[Observed]) -> None:
        for one in seen:
            self.ids.append(one.id)
            self.new += one.new
            self.statuses[one.status.value] += 1
            if one.reason:
                self.reasons[one.reason] += 1


def ingest(
    call: Invocation,
    file: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Files; the ending gives the format: .md, .html, .jsonl, .json, else text."
        ),
    ],
    session: Annotated[str | None, typer.Option(help="The session of texts that name none themselves.")] = None,
    with_questions: Annotated[
        bool, typer.Option("--with-questions", help="Add the passages' questions as held-out quiz items.")
    ] = False,
) -> Output:
    """Record files of text, Markdown, messages or passages.

    Passages are JSON objects like {"title": …, "context": …, "questions": […]}, messages {"role": …, "content": …}.
    All files are checked before the first is recorded; each is recorded whole or not at all.
    """
    from seal_memory.intake.files import read_file

    files = [(path, list(read_file(path))) for path in file]
    tallies = []
    with call.memory(create=True) as memory:
        for path, documents in files:
            with memory.ledger.atomic():
                tallies.append(_ingest_file(memory, path, documents, session, with_questions, call))
    return Output(_ingest_data(tallies), lambda out: _show_ingested(tallies, out))


def _ingest_file(
    memory: SealMemory,
    path: Path,
    documents: Sequence[Document],
    session: str | None,
    with_questions: bool,
    call: Invocation,
) -> _Tally:
    tally = _Tally(str(path), len(documents))
    for number, document in enumerate(documents, start=1):
        seen = memory.observe(
            document.text,
            role=document.role,
            source=document.source,
            session=document.session or session,
            title=document.title,
            metadata=document.metadata,
        )
        tally.add(seen)
        if with_questions and document.questions:
            tally.questions += _add_questions(memory, document, [o.id for o in seen])
        else:
            tally.questions_left_out += len(document.questions)
        call.bars(path.name, number, len(documents))
    return tally


def _add_questions(memory: SealMemory, document: Document, ids: Sequence[str]) -> int:
    """Add the document's questions that the memory does not hold yet; returns their number."""
    known = {item.question for item in memory.ledger.quiz_items(interaction_ids=ids)}
    pairs = [(q.question, q.answer) for q in document.questions if q.question not in known]
    return len(memory.add_quiz(pairs, interaction_ids=ids)) if pairs else 0


def _ingest_data(tallies: Sequence[_Tally]) -> dict[str, Any]:
    return {
        "files": tallies,
        "observed": sum(len(t.ids) for t in tallies),
        "new": sum(t.new for t in tallies),
        "pending": sum(t.statuses["pending"] for t in tallies),
        "skipped": sum(t.statuses["skipped"] for t in tallies),
        "quarantined": sum(t.statuses["quarantined"] for t in tallies),
        "questions": sum(t.questions for t in tallies),
    }


def _show_ingested(tallies: Sequence[_Tally], out: Console) -> None:
    rows = [
        (t.file, t.documents, len(t.ids), t.new, t.statuses["pending"], t.statuses["skipped"], t.questions)
        for t in tallies
    ]
    out.print(table(["file", "texts>", "recorded>", "new>", "pending>", "skipped>", "questions>"], rows))
    reasons = sum((t.reasons for t in tallies), Counter[str]())
    if reasons:
        out.print(table(["not learned because", "count>"], reasons.most_common(5)))
    held = sum(t.statuses["quarantined"] for t in tallies)
    if held:
        say(out, f"{held} are quarantined; `seal-memory quarantine` lists them.")
    left_out = sum(t.questions_left_out for t in tallies)
    if left_out:
        say(out, f"{left_out} questions in the files were left out; --with-questions adds them as quiz items.")
