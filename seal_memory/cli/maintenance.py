"""Commands `correct`, `forget`, `history`, `rollback`, `export` and `status`.

Not here: the extent of a deletion (`forgetting`), the contents of an export (`runtime.export`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, fields_of, say, shorten, table, when
from seal_memory.errors import InputError
from seal_memory.forgetting.edits import ids_to_forget

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.forgetting.deletion import ForgetReport
    from seal_memory.memory import SealMemory
    from seal_memory.records import Interaction, Snapshot
    from seal_memory.results import Correction, MemoryStatus

__all__ = ["correct", "export", "forget", "history", "rollback", "status"]

LATEST = 5  # interactions listed by status and by the confirmation of forget


def correct(
    call: Invocation,
    id: Annotated[str, typer.Argument(metavar="ID", help="The interaction's id, as observe and recall show it.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The new wording.")],
) -> Output:
    """Replace an interaction's text.

    Adapters trained on the old wording are destroyed; the next consolidate learns the new wording.
    """
    with call.memory() as memory, call.bars.step("correcting"):
        done = memory.correct(id, text)
    return Output(fields_of(done), lambda out: _show_correction(done, out))


def _show_correction(done: Correction, out: Console) -> None:
    say(out, f"{done.old_id} is superseded by {done.new_id}.")
    _show_still_served(done.still_served, out)
    if done.adapters:
        versions = ", ".join(map(str, done.snapshots))
        say(out, f"Destroyed: {len(done.adapters)} adapters, and the versions {versions} that held them.")
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
    """Destroy interactions and everything derived from them, for good.

    Destroys their text, notes and questions, and every adapter and version trained on them. Asks for confirmation on a
    terminal.
    """
    if bool(id) == bool(session or source):
        raise typer.BadParameter("give either ids, or --session and/or --source")
    with call.memory() as memory:
        if not yes and _is_interactive():
            _confirm(_chosen(memory, id, session, source))
        with call.bars.step("forgetting"):
            done = memory.forget(id or None, session=session, source=source)
    return Output(fields_of(done), lambda out: _show_forget(done, out))


def _is_interactive() -> bool:
    """Whether standard input is a terminal, so that a person can confirm."""
    return sys.stdin.isatty()


def _chosen(memory: SealMemory, id: list[str] | None, session: str | None, source: str | None) -> list[Interaction]:
    return memory.ledger.interactions(ids=ids_to_forget(memory.ledger, id or None, session=session, source=source))


def _confirm(chosen: Sequence[Interaction]) -> None:
    """List the interactions and ask for confirmation. Raises `InputError` if it is refused."""
    for one in chosen[:LATEST]:
        typer.echo(f"  {one.id}  {shorten(one.text)}", err=True)
    if len(chosen) > LATEST:
        typer.echo(f"  … and {len(chosen) - LATEST} more", err=True)
    if not typer.confirm(f"Forget {len(chosen)} interactions for good?", err=True):
        raise InputError("Nothing was forgotten: not confirmed.")


def _show_forget(done: ForgetReport, out: Console) -> None:
    say(
        out,
        f"Forgotten: {done.interactions} interactions, {done.self_edits} self-edits, {done.quiz_items} questions, "
        f"{len(done.adapters)} adapters, {len(done.snapshots)} versions.",
    )
    if done.kept:
        say(out, f"{done.kept} interactions were seen elsewhere, too; they stay there.")
    if done.to_relearn:
        say(
            out,
            f"{len(done.to_relearn)} interactions shared an adapter with them; the next consolidate relearns these.",
        )
    if done.recall_after is not None:
        row = (done.recall_before, done.recall_after, done.recall_base)
        out.print(
            table(
                ["recall before>", "after>", "untouched base>"],
                [row],
                title="recall from the weights",
            )
        )
    say(out, f"Version {done.version} is published." if done.version else "The untouched base is in use.")
    if not done.wiped:
        say(
            out,
            "The deleted bytes are not overwritten yet: another process reads the ledger, or the disk has no room to "
            "rebuild it. Stop the reader or free space; the worker and the next command try again.",
        )
    _show_still_served(done.still_served, out)


def _show_still_served(adapters: Sequence[str], out: Console) -> None:
    if adapters:
        say(out, f"The vLLM server may still answer with {', '.join(adapters)}: restart it, or sleep at level 2.")


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
        say(out, "Nothing is published yet; consolidate publishes the first version.")
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
        int, typer.Argument(metavar="VERSION", min=0, help="A version listed by history; 0 is the untouched base.")
    ],
) -> Output:
    """Publish an earlier version again."""
    with call.memory() as memory:
        snapshot = memory.rollback(version)
    data = {"version": snapshot.version if snapshot else 0, "shards": len(snapshot.manifest.shards) if snapshot else 0}
    message = f"Version {snapshot.version} is published." if snapshot else "The untouched base is in use (version 0)."
    return Output(data, lambda out: say(out, message))


def export(
    call: Invocation,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    merged: Annotated[bool, typer.Option("--merged", help="Write one model with the core merged in.")] = False,
) -> Output:
    """Write the published adapters as PEFT folders."""
    with call.memory() as memory, call.bars.step("exporting"):
        done = memory.export(target, merged=merged)

    def show(out: Console) -> None:
        say(out, f"Version {done.version} is in {done.folder}: {len(done.files)} entries.")

    return Output(fields_of(done), show)


def status(call: Invocation) -> Output:
    """Show counts, the published version, refusals with their reasons, and the job queue."""
    from seal_memory.records import Status

    with call.memory() as memory:
        found = memory.status()
        shown = (Status.REFUSED, Status.SKIPPED, Status.QUARANTINED)
        summaries = {s.value: _summary(memory.ledger.interactions(status=s)) for s in shown}
    data = {**fields_of(found), **summaries}
    return Output(data, lambda out: _show_status(found, data, out))


def _summary(interactions: Sequence[Interaction]) -> dict[str, Any]:
    """The number of interactions, the count of each reason, and the latest ones."""
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
            rows = [(one["id"], one["reason"], shorten(one["text"], 48)) for one in summary["latest"]]
            out.print(table([f"latest {status}!", "reason", "text"], rows))
    _show_background(found, out)
    if found.interactions.get("quarantined"):
        say(out, "Decide on quarantined ones with `seal-memory quarantine approve ID` or `reject ID`.")
    if found.interactions.get("pending"):
        say(out, f"{found.interactions['pending']} are pending; consolidate learns them.")


def _show_background(found: MemoryStatus, out: Console) -> None:
    """Print the job queue, jobs given up, the note-writer, and audits."""
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
        say(out, f"note-writer: {writer}; {tried} (see report)")
    if found.audits_due:
        say(out, f"{found.audits_due} audits are due; the worker runs them.")
    elif found.next_audit is not None:
        say(out, f"next audit: {when(found.next_audit)}")
