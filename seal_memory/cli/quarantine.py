"""Command `quarantine`: lists, approves or rejects interactions that instruct the model.

Not here: detecting them (`seal_memory.safety.injection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, say, shorten, table

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.records import Interaction

__all__ = ["quarantine"]

Action = Literal["list", "approve", "reject"]


def quarantine(
    call: Invocation,
    action: Annotated[Action, typer.Argument(help="The action.")] = "list",
    id: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Ids to approve or reject.")] = None,
    reason: Annotated[str | None, typer.Option(help="Reason for the decision, kept on record.")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="List rejected interactions instead.")] = False,
) -> Output:
    """List, approve or reject quarantined interactions.

    Quarantined interactions instruct the model and are not learned. The next consolidate learns approved ones; rejected
    ones stay on record and are never learned.
    """
    if (action == "list") == bool(id):
        raise typer.BadParameter("approve and reject need ids, list takes none")
    if (reason and action == "list") or (rejected and action != "list"):
        raise typer.BadParameter("--reason goes with approve and reject, --rejected with list")
    with call.memory() as memory:
        if action == "list":
            found = memory.quarantine(rejected=rejected)
        else:
            found = (memory.approve if action == "approve" else memory.reject)(id or [], reason=reason)
    data = {
        {"list": "rejected" if rejected else "quarantined", "approve": "approved", "reject": "rejected"}[action]: found
    }
    return Output(data, lambda out: _show(action, found, out))


def _show(action: Action, found: Sequence[Interaction], out: Console) -> None:
    from seal_memory.safety.obfuscation import escape_invisible

    if not found:
        say(out, "None.")
        return
    rows: list[tuple[Any, ...]] = [
        (one.id, one.role.value, one.source, one.reason, one.sightings, shorten(escape_invisible(one.text), 60))
        for one in found
    ]
    out.print(table(["id!", "role", "source", "because", "seen>", "text"], rows))
    if action == "approve":
        say(out, "The next consolidate learns them.")
