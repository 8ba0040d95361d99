"""Command `sleep`: merges shards of one topic and builds the core.

Not here: merging and its gate (`seal_memory.sleep.sleeper`), sleep in the background (`seal_memory.training.worker`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, fields_of, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.sleep.sleeper import SleepReport

__all__ = ["sleep"]


def sleep(
    call: Invocation,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="Merge shards of one topic.")] = True,
    core: Annotated[bool, typer.Option("--core/--no-core", help="Build the core over everything.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Also try merges that were refused before.")] = False,
) -> Output:
    """Merge shards of one topic and build the core; the gate refuses a merge or core that loses recall."""
    with call.loaded("sleeping") as memory:
        report = memory.sleep(merge=merge, core=core, again=again)
    return Output(fields_of(report), lambda out: _show(report, out))


def _show(report: SleepReport, out: Console) -> None:
    if not report.decisions:
        say(out, "Nothing to merge that was not tried before, and nothing to build a core from.")
        return
    merges = len(report.decisions) - (report.core is not None)
    rows = [
        ("published" if d.accepted else "refused", "merge" if n < merges else "core", " ".join(d.reasons))
        for n, d in enumerate(report.decisions)
    ]
    out.print(table(["", "what", "because"], rows))
    (before, after), (large, small) = report.shards, report.adapter_bytes
    say(out, f"{before} shards, {large / 1e6:.1f} MB before; {after} shards, {small / 1e6:.1f} MB after.")
    say(out, f"Version {report.version} is published." if report.version else "Nothing was published.")
