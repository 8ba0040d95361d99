"""Commands `worker` (the background trainer in its own process) and `report` (an HTML page of a memory's state).

Not here: the jobs (`seal_memory.training.worker`), the page (`seal_memory.report`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, fields_of, say

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.training.worker import WorkReport

__all__ = ["report", "worker"]


def worker(
    call: Invocation,
    once: Annotated[bool, typer.Option("--once", help="Run the jobs that are ready now, and exit.")] = False,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two checks for work.")] = 2.0,
) -> Output:
    """Run background training until stopped: learn, audit, and optionally refine and sleep.

    Learns pending interactions and runs due audits; refining and sleep run if their settings say so. SIGTERM or Ctrl-C
    stops it within seconds; the next worker takes over unfinished jobs.
    """
    from seal_memory.training.signals import stopping_on_signals
    from seal_memory.training.worker import Worker

    with call.memory() as memory:
        trainer = Worker(memory, poll_seconds=poll)
        with stopping_on_signals(trainer):
            done = trainer.run(once=once)
    return Output(fields_of(done), lambda out: _show_work(done, out))


def _show_work(done: WorkReport, out: Console) -> None:
    say(out, f"{done.done} jobs done, {done.failed} failed, {done.dead} given up, {done.handed_back} handed back.")
    if done.failed or done.dead:
        say(out, "See status for the errors; failed jobs are retried later.")


def report(
    call: Invocation,
    file: Annotated[Path, typer.Argument(metavar="OUT.html", help="The file to write; replaced if it exists.")],
) -> Output:
    """Write an HTML report: adapters, retention, job queue, refusals.

    The page loads nothing from the network. It quotes the memory: keep it as private as the memory itself.
    """
    with call.memory() as memory:
        written = memory.report(file)
    size = written.stat().st_size
    return Output({"file": str(written), "bytes": size}, lambda out: say(out, f"{written}: {size:,} bytes."))
