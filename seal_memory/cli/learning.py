"""Commands `consolidate` and `quiz`. Not here: training and the publish gate (`seal_memory.learning`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.asking import AnswerMode
from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, fields_of, say, shorten, table

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.answering.quiz_report import QuizReport
    from seal_memory.learning.consolidate import ConsolidateReport
    from seal_memory.memory import SealMemory
    from seal_memory.records import Decision, GenreYield

__all__ = ["consolidate", "quiz", "yields_table"]

SHOWN_ITEMS = 12


def consolidate(
    call: Invocation,
    core: Annotated[
        bool, typer.Option("--core", help="Also rebuild the core adapter over everything learned.")
    ] = False,
) -> Output:
    """Learn all pending interactions; publish the shards that pass the gate."""
    with call.loaded("consolidating") as memory:
        report = memory.consolidate(core=core)
        names = _episode_names(memory, report.decisions)
    return Output(fields_of(report), lambda out: _show_report(report, names, out))


def _episode_names(memory: SealMemory, decisions: Sequence[Decision]) -> dict[str | None, str]:
    """A label for each decision's episode: title or beginning of its first interaction."""
    from seal_memory.learning.episodes import CORE_EPISODE

    names: dict[str | None, str] = {}
    for decision in decisions:
        edits = memory.ledger.self_edits(episode_id=decision.episode_id)
        ids = edits[-1].interaction_ids if edits else ()
        if ids:
            first = memory.ledger.interactions(ids=ids[:1])[0]
            more = f" (+{len(ids) - 1})" if len(ids) > 1 else ""
            core = "core: " if decision.episode_id == CORE_EPISODE else ""
            names[decision.episode_id] = core + shorten(first.title or first.text, 40) + more
    return names


def _show_report(report: ConsolidateReport, names: Mapping[str | None, str], out: Console) -> None:
    if not report.episodes and not report.decisions:
        say(out, "Nothing to learn: no pending interaction states anything.")
        return
    rows = [
        ("published" if d.accepted else "refused", names.get(d.episode_id, d.episode_id), " ".join(d.reasons))
        for d in report.decisions
    ]
    out.print(table(["", "episode", "because"], rows))
    if report.yields:
        out.print(yields_table(report.yields))
    say(
        out,
        f"held-out recall {report.recall_before:.2f} before, {report.recall_after:.2f} after, "
        f"over {report.held_out_items} questions",
    )
    say(out, ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items()))
    published = f"Version {report.version} is published." if report.version else "Nothing was published."
    refused = " Refused episodes can still be answered from their text (retrieval, hybrid)." if report.refused else ""
    say(out, published + refused)


def yields_table(yields: Sequence[GenreYield]) -> Any:
    """A table of the training items made by each genre, and of those that passed the checks against their source."""
    return table(["genre", "made>", "kept>"], [(y.genre.value, y.made, y.kept) for y in yields])


def quiz(
    call: Invocation,
    mode: Annotated[AnswerMode, typer.Option(help="Where answers may come from.")] = "weights",
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of questions.")] = None,
) -> Output:
    """Ask the held-out questions and grade the answers."""
    with call.loaded("answering the quiz") as memory:
        report = memory.quiz(mode=mode, limit=limit)
    return Output(_quiz_data(report, mode), lambda out: _show_quiz(report, mode, out))


def _graded(report: QuizReport) -> list[dict[str, Any]]:
    from seal_memory.language.metrics import contains

    return [
        {
            "question": item.question,
            "expected": item.answer,
            "answer": answer.text,
            "correct": contains(answer.text, item.answer),
            "origin": item.origin,
            "interaction_ids": item.interaction_ids,
            "mode": answer.mode,
            "confidence": answer.confidence,
        }
        for item, answer in report.items
    ]


def _quiz_data(report: QuizReport, mode: str) -> dict[str, Any]:
    return {**fields_of(report), "mode": mode, "items": _graded(report)}


def _show_quiz(report: QuizReport, mode: str, out: Console) -> None:
    if not report.questions:
        say(out, "There are no held-out questions yet: consolidate makes some, or use ingest --with-questions.")
        return
    rows = [
        ("right" if i["correct"] else "wrong", shorten(i["question"], 48), i["expected"], shorten(i["answer"], 40))
        for i in _graded(report)[:SHOWN_ITEMS]
    ]
    out.print(table(["", "question", "expected", "answer"], rows))
    if report.questions > SHOWN_ITEMS:
        say(out, f"… and {report.questions - SHOWN_ITEMS} more (--json has all)")
    version = f"version {report.snapshot}" if report.snapshot else "the untouched base"
    say(
        out,
        f"{mode}, {version}, {report.questions} held-out questions: accuracy {report.accuracy:.2f}, "
        f"F1 {report.f1:.2f}, exact {report.exact:.2f}, router accuracy {report.router_accuracy:.2f}",
    )
