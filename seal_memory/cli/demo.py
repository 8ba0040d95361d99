"""Command `demo`: the whole cycle. Observe a story session by session, consolidate, and ask in a new process.

The memory never stores or trains on the story's questions. Not here: the story (`demo_story`), asking
(`demo_answers`), the table (`demo_table`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, console, say
from seal_memory.errors import InputError, SealMemoryError

if TYPE_CHECKING:
    from seal_memory.cli.demo_answers import Inquiry
    from seal_memory.cli.demo_story import Chapter
    from seal_memory.cli.demo_table import Results
    from seal_memory.config import Settings
    from seal_memory.learning.consolidate import ConsolidateReport
    from seal_memory.memory import SealMemory
    from seal_memory.records import GenreYield

__all__ = ["demo"]

# Fewer epochs, so that the demo ends within six minutes on two slow cores.
DEFAULTS = {"learning.epochs": 6}


def demo(
    call: Invocation,
    data: Annotated[
        Path | None, typer.Option(help="A file of passages with questions, instead of the story; see ingest.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --data: use only the first passages.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="A new folder for the memory, kept. Default: a temporary one.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> Output:
    """Learn a story and answer questions about it in a new process.

    The table compares the untouched model, weights only, retrieval, hybrid, and an oracle (the text in the prompt).
    """
    from seal_memory.cli.demo_story import load_passages, load_story
    from seal_memory.cli.demo_table import demo_data, show_demo

    if limit is not None and data is None:
        raise typer.BadParameter("--limit needs --data: it counts the passages of a file")
    chapters = load_passages(data, limit) if data is not None else load_story()
    with _demo_folder(folder, keep) as place:
        settings = call.settings(place, seed=seed, **DEFAULTS)
        results = _run(call, chapters, place, settings)
        results = replace(results, folder=str(place) if folder or keep else None)
    return Output(demo_data(results), lambda out: show_demo(results, out))


@contextmanager
def _demo_folder(folder: Path | None, keep: bool) -> Iterator[Path]:
    """The demo's folder, given, kept or temporary. Raises `InputError` if the given one is not empty."""
    if folder is not None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is not an empty folder; the demo needs a new one.")
        yield folder
    elif keep:
        kept = Path(tempfile.mkdtemp(prefix="seal-memory-demo-"))
        say(console(stderr=True), f"the memory is kept in {kept}")
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="seal-memory-demo-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)


@dataclass(slots=True)
class _Story:
    """The results of observing and learning the story, under the settings that the model was given."""

    settings: Settings
    inquiries: list[Inquiry] = field(default_factory=list)
    reports: list[ConsolidateReport] = field(default_factory=list)
    seconds: float = 0.0
    after_first: float | None = None
    versions: int = 0


def _run(call: Invocation, chapters: Sequence[Chapter], place: Path, settings: Settings) -> Results:
    """Observe and learn the story, then ask in a new process."""
    from seal_memory.cli.demo_answers import peak_memory_mb
    from seal_memory.cli.demo_table import Results

    story = _observe_and_learn(call, chapters, place, settings)
    found = _ask_in_new_process(call, story.inquiries, place, settings)
    peaks = [peak for peak in (peak_memory_mb(), found["peak_memory_mb"]) if peak is not None]
    return Results(
        inquiries=tuple(story.inquiries),
        systems=found["systems"],
        router_accuracy=found["router_accuracy"],
        after_first=story.after_first,
        sessions=tuple(c.session for c in chapters),
        versions=story.versions,
        decisions=tuple(d for report in story.reports for d in report.decisions),
        yields=_sum_yields(story.reports),
        consolidate_seconds=story.seconds,
        peak_memory_mb=max(peaks, default=None),
        settings=story.settings,
        model=call.model,
        folder=None,
    )


def _observe_and_learn(call: Invocation, chapters: Sequence[Chapter], place: Path, settings: Settings) -> _Story:
    """Observe and consolidate session by session; after the first one, ask about it."""
    from seal_memory.engines.profile import suited
    from seal_memory.memory import SealMemory

    story = _Story(settings)
    with SealMemory.open(
        place, model=call.model, namespace=call.namespace, settings=settings, progress=call.bars
    ) as memory:
        with call.bars.step("loading the model"):
            story.settings = suited(settings, memory.engine.profile)
        for number, chapter in enumerate(chapters):
            asked = _observe(memory, chapter)
            _consolidate(call, memory, chapter, story)
            if number == 0 and asked:
                with call.bars.step("asking about the first session"):
                    story.after_first = _accuracy(memory, asked)
            story.inquiries += asked
        story.versions = len(memory.history())
    return story


def _observe(memory: SealMemory, chapter: Chapter) -> list[Inquiry]:
    """Observe a chapter's interactions; returns its questions, which stay outside the memory."""
    from seal_memory.cli.demo_answers import Inquiry

    ids = [
        tuple(
            o.id for o in memory.observe(t.text, role=t.role, source=t.source, title=t.title, session=chapter.session)
        )
        for t in chapter.interactions
    ]
    return [
        Inquiry(q.question, q.answer, chapter.interactions[q.interaction].text, ids[q.interaction], chapter.session)
        for q in chapter.questions
    ]


def _consolidate(call: Invocation, memory: SealMemory, chapter: Chapter, story: _Story) -> None:
    began = time.perf_counter()
    with call.bars.step(f"consolidating {chapter.session}"):
        report = memory.consolidate()
    took = time.perf_counter() - began
    story.seconds += took
    story.reports.append(report)
    say(
        console(stderr=True),
        f"session {chapter.session}: {len(chapter.interactions)} observed, {report.episodes} episodes, "
        f"{report.published} shards published, {report.refused} refused, {took:.0f} s",
    )


def _accuracy(memory: SealMemory, asked: Sequence[Inquiry]) -> float:
    from seal_memory.language.metrics import contains, mean

    answers = memory.ask([i.question for i in asked], mode="weights")
    return mean(float(contains(a.text, i.answer)) for a, i in zip(answers, asked, strict=True))


def _sum_yields(reports: Sequence[ConsolidateReport]) -> tuple[GenreYield, ...]:
    """Sum the yields of all consolidations, by genre."""
    from seal_memory.records import GenreYield

    made, kept = Counter[Any](), Counter[Any]()
    for y in (y for report in reports for y in report.yields):
        made[y.genre] += y.made
        kept[y.genre] += y.kept
    return tuple(GenreYield(genre, made[genre], kept[genre]) for genre in made)


def _ask_in_new_process(
    call: Invocation, inquiries: Sequence[Inquiry], place: Path, settings: Settings
) -> dict[str, Any]:
    """Run `demo_answers` in a new process. Raises `SealMemoryError` if it fails."""
    from seal_memory.cli.demo_answers import Request

    overrides = {**{name: str(value) for name, value in DEFAULTS.items()}, "seed": str(settings.seed), **call.overrides}
    request = Request(str(place.absolute()), call.model, call.namespace, overrides, tuple(inquiries), call.as_json)
    done = subprocess.run(
        [sys.executable, "-m", "seal_memory.cli.demo_answers"],
        input=json.dumps(asdict(request)),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        error = json.loads(lines[-1])["error"] if lines else f"exit code {done.returncode}"
        raise SealMemoryError(f"The answering process failed: {error}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
