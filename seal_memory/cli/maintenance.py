"""`correct`, `forget`, `history`, `rollback`, `export` and `status`: keeping a memory right, and looking at it.

Not here: what a deletion reaches (`forgetting`) and what an export holds (`runtime.export`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, fields_of, say, shortened, table, when
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.forgetting.deletion import ForgetReport
    from seal_memory.memory import SealMemory
    from seal_memory.records import Interaction, Snapshot
    from seal_memory.results import Correction, MemoryStatus

__all__ = ["correct", "export", "forget", "history", "rollback", "status"]

LATEST = 5  # refused and skipped interactions that status names


def correct(
    call: Invocation,
    id: Annotated[str, typer.Argument(metavar="ID", help="The interaction's id, as observe and recall show it.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it should say instead.")],
) -> Output:
    """Replace what an interaction says.

    What was trained on the old wording goes; the next consolidate learns the new one.
    """
    with call.memory() as memory, call.bars.step("correcting"):
        done = memory.correct(id, text)
    return Output(fields_of(done), lambda out: _show_correction(done, out))


def _show_correction(done: Correction, out: Console) -> None:
    say(out, f"{done.old_id} is superseded by {done.new_id}.")
    if done.adapters:
        versions = ", ".join(map(str, done.snapshots))
        say(out, f"Dropped: {len(done.adapters)} adapters, and the versions {versions} that held them.")
    if done.status.value == "pending":
        say(out, "The next consolidate learns the new wording.")
    else:
        say(out, f"The new wording is {done.status.value}: {done.reason}.")


def forget(
    call: Invocation,
    id: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of interactions.")] = None,
    session: Annotated[str | None, typer.Option(help="Forget everything of this session.")] = None,
    source: Annotated[str | None, typer.Option(help="Forget everything from this source.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> Output:
    """Destroy interactions, and all that came of them, for good.

    Text, notes and questions go, and every adapter and version trained on them. Asks for confirmation on a terminal.
    """
    if bool(id) == bool(session or source):
        raise typer.BadParameter("name either ids, or a --session and/or --source, to forget")
    with call.memory() as memory:
        if not yes and _somebody_is_there():
            _confirm(_chosen(memory, id, session, source))
        with call.bars.step("forgetting"):
            done = memory.forget(id or None, session=session, source=source)
    return Output(fields_of(done), lambda out: _show_forgotten(done, out))


def _somebody_is_there() -> bool:
    """Whether a person can be asked: standard input is a terminal."""
    return sys.stdin.isatty()


def _chosen(memory: SealMemory, id: list[str] | None, session: str | None, source: str | None) -> list[Interaction]:
    return memory.ledger.interactions(ids=id or None, session=session, source=source)


def _confirm(chosen: Sequence[Interaction]) -> None:
    """Show what would go, and ask. Raises `InputError` when it was not confirmed."""
    for one in chosen[:LATEST]:
        typer.echo(f"  {one.id}  {shortened(one.text)}", err=True)
    if len(chosen) > LATEST:
        typer.echo(f"  … and {len(chosen) - LATEST} more", err=True)
    if not typer.confirm(f"Forget {len(chosen)} interactions for good?", err=True):
        raise InputError("Nothing was forgotten: it was not confirmed.")


def _show_forgotten(done: ForgetReport, out: Console) -> None:
    say(
        out,
        f"Forgotten: {done.interactions} interactions, {done.self_edits} self-edits, {done.quiz_items} questions, "
        f"{len(done.adapters)} adapters, {len(done.snapshots)} versions.",
    )
    if done.to_relearn:
        say(
            out,
            f"{len(done.to_relearn)} interactions shared an adapter with them: the next consolidate relearns these.",
        )
    if done.recall_after is not None:
        row = (done.recall_before, done.recall_after, done.recall_base)
        out.print(table(["recall before>", "after>", "untouched base>"], [row], title="what the weights say about it"))
    say(out, f"Version {done.version} is published." if done.version else "The untouched base is in use.")


def history(call: Invocation) -> Output:
    """Show the published versions, newest first."""
    with call.memory() as memory:
        versions = memory.history()
        current = memory.ledger.current()
    now = current.version if current else 0
    data = {"current": now, "versions": [_version(s) for s in versions]}
    return Output(data, lambda out: _show_history(versions, now, out))


def _version(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "parent": snapshot.parent,
        "created": snapshot.created,
        "shards": len(snapshot.manifest.shards),
        "interactions": len(snapshot.manifest.holders),
        "core": snapshot.manifest.core,
        "base_fingerprint": snapshot.base_fingerprint,
        "note": snapshot.note,
    }


def _show_history(versions: Sequence[Snapshot], now: int, out: Console) -> None:
    if not versions:
        say(out, "Nothing is published yet: consolidate publishes the first version.")
        return
    rows = [
        ("→" if s.version == now else "", s.version, when(s.created), len(s.manifest.shards),
         s.manifest.core is not None, s.parent, s.note)
        for s in versions
    ]  # fmt: skip
    out.print(table(["", "version>", "published", "shards>", "core", "parent>", "note"], rows))
    if not now:
        say(out, "In use: the untouched base (version 0).")


def rollback(
    call: Invocation,
    version: Annotated[
        int, typer.Argument(metavar="VERSION", min=0, help="A version that history shows; 0 is the untouched base.")
    ],
) -> Output:
    """Make an earlier version the published one."""
    with call.memory() as memory:
        snapshot = memory.rollback(version)
    data = {"version": snapshot.version if snapshot else 0, "shards": len(snapshot.manifest.shards) if snapshot else 0}
    told = f"Version {snapshot.version} is published." if snapshot else "The untouched base is in use (version 0)."
    return Output(data, lambda out: say(out, told))


def export(
    call: Invocation,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    merged: Annotated[bool, typer.Option("--merged", help="One model folder, with the core merged into it.")] = False,
) -> Output:
    """Write the published adapters as PEFT folders."""
    with call.memory() as memory, call.bars.step("exporting"):
        done = memory.export(target, merged=merged)

    def show(out: Console) -> None:
        say(out, f"Version {done.version} is in {done.folder}: {len(done.files)} entries.")

    return Output(fields_of(done), show)


def status(call: Invocation) -> Output:
    """Show what is held, and what was refused, skipped or quarantined and why."""
    from seal_memory.records import Status

    with call.memory() as memory:
        found = memory.status()
        shown = (Status.REFUSED, Status.SKIPPED, Status.QUARANTINED)
        summaries = {s.value: _summary(memory.ledger.interactions(status=s)) for s in shown}
    data = {**fields_of(found), **summaries}
    return Output(data, lambda out: _show_status(found, data, out))


def _summary(interactions: Sequence[Interaction]) -> dict[str, Any]:
    """How many there are for each reason, and the latest of them."""
    reasons = Counter(i.reason or "no reason recorded" for i in interactions)
    latest = [{"id": i.id, "reason": i.reason, "text": i.text} for i in reversed(interactions[-LATEST:])]
    return {"count": len(interactions), "reasons": dict(reasons.most_common()), "latest": latest}


def _show_status(found: MemoryStatus, data: dict[str, Any], out: Console) -> None:
    say(out, f"{found.folder}, namespace {found.namespace}, model {found.model}")
    version = f"version {found.version}" if found.version else "the untouched base"
    core = ", a core" if found.core else ""
    say(
        out,
        f"published: {version} ({found.shards} shards{core}; {found.adapter_bytes / 1e6:.1f} MB of adapters, "
        f"{found.versions} versions); {found.quiz_items} quiz questions",
    )
    out.print(table(["interactions", "count>"], found.interactions.items()))
    for status in ("refused", "skipped", "quarantined"):
        summary = data[status]
        if summary["count"]:
            out.print(table([f"{status} because", "count>"], list(summary["reasons"].items())[:LATEST]))
            rows = [(one["id"], one["reason"], shortened(one["text"], 48)) for one in summary["latest"]]
            out.print(table([f"latest {status}!", "reason", "text"], rows))
    _show_background(found, out)
    if found.interactions.get("quarantined"):
        say(out, "What is quarantined waits for you: `seal-memory quarantine approve ID` or `reject ID`.")
    if found.interactions.get("pending"):
        say(out, f"{found.interactions['pending']} are pending: consolidate learns them.")


def _show_background(found: MemoryStatus, out: Console) -> None:
    """What the worker has before it, and what it gave up."""
    if found.queue:
        rows = [
            (j.id, j.kind, j.state.value, f"{j.attempts}/{j.max_attempts}", when(j.not_before), j.error)
            for j in found.queue
        ]
        out.print(table(["job!", "kind", "state", "attempts>", "not before", "last error"], rows))
    if found.dead:
        out.print(table(["given up", "because"], [(j.kind, j.error) for j in found.dead[:LATEST]]))
    if found.policy_versions or found.arms_tried:
        writer = f"version {found.note_writer}" if found.note_writer else "the untouched model"
        tried = f"{found.policy_versions} versions and {found.arms_tried} arms tried"
        say(out, f"notes are written by {writer}; {tried}: report shows them")
    if found.audits_due:
        say(out, f"{found.audits_due} audits are due: the worker makes them.")
    elif found.next_audit is not None:
        say(out, f"next audit: {when(found.next_audit)}")
