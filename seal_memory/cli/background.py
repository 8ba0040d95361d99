"""`worker` and `report`: the background trainer in a process of its own, and the page that shows a memory's state.

Not covered: what the worker does (`seal_memory.training.worker`), and what the page holds (`seal_memory.report`).
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
    once: Annotated[bool, typer.Option("--once", help="Do what can be done now, and end.")] = False,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks for work.")] = 2.0,
) -> Output:
    """Learn what is pending, audit what is due, and if they are set `refine` and `sleep`, until stopped.

    SIGTERM or Ctrl-C stop it within seconds; what was not finished is done by the next worker.
    """
    from seal_memory.training.worker import Worker, stopping_on_signals

    with call.memory() as memory:
        made = Worker(memory, poll_seconds=poll)
        with stopping_on_signals(made):
            done = made.run(once=once)
    return Output(fields_of(done), lambda out: _show_worked(done, out))


def _show_worked(done: WorkReport, out: Console) -> None:
    say(out, f"{done.done} jobs done, {done.failed} failed, {done.dead} given up, {done.handed_back} handed back.")
    if done.failed or done.dead:
        say(out, "status says why; what failed is tried again later.")


def report(
    call: Invocation,
    file: Annotated[Path, typer.Argument(metavar="OUT.html", help="The file to write; it is replaced.")],
) -> Output:
    """Write one HTML page: adapters, what is kept, queue, refusals.

    It loads nothing from anywhere, and quotes the memory: keep it as private as the memory itself.
    """
    with call.memory() as memory:
        written = memory.report(file)
    size = written.stat().st_size
    return Output({"file": str(written), "bytes": size}, lambda out: say(out, f"{written}: {size:,} bytes."))
