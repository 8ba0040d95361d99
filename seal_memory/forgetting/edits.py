"""Keeping a memory right: another wording for an interaction, what a forget means, an earlier version again.

None waits for a trainer: each is one transaction, and what is trained meanwhile is not published over it. Not here: the
derivatives of an interaction (`forgetting.deletion`), damaged snapshots (`runtime.loading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seal_memory.config import Settings
from seal_memory.errors import InputError, UnknownIdError
from seal_memory.intake.admission import reworded
from seal_memory.ledger import Ledger
from seal_memory.records import Snapshot, Status
from seal_memory.results import Correction

if TYPE_CHECKING:  # needs torch
    from seal_memory.forgetting.deletion import Deletion


def corrected(ledger: Ledger, deletion: Deletion, id: str, text: str, *, settings: Settings) -> Correction:
    """Put `text` in the place of interaction `id`; it may have to wait in quarantine.

    Raises `UnknownIdError`, or `InputError` when nothing changes or the text is no single passage.
    """
    old = ledger.interactions(ids=[id])[0]
    new = reworded(old, text, learn_roles=settings.learning.roles, quarantine_roles=settings.safety.quarantine_roles)
    with ledger.atomic():
        adapters, snapshots = deletion.drop_derivatives([id])
        observed = ledger.supersede(id, new)
    still = deletion.remove_files(adapters)  # not before the ledger has let go of them
    return Correction(
        id, observed.id, tuple(adapters), tuple(snapshots), observed.status, observed.reason, tuple(still)
    )


def chosen(ledger: Ledger, ids: str | Sequence[str] | None, *, session: str | None, source: str | None) -> list[str]:
    """The ids that somebody wants forgotten.

    Raises `InputError` when nothing is named, `UnknownIdError` when nothing matches.
    """
    if ids is None and session is None and source is None:
        raise InputError("forget needs ids, a session or a source; to forget everything, delete the folder.")
    if ids is not None:
        found = [ids] if isinstance(ids, str) else list(ids)
    else:
        found = [i.id for i in ledger.interactions(session=session, source=source)]
    if not found:
        raise UnknownIdError(f"Nothing to forget: no interaction has session {session!r} / source {source!r}.")
    return found


def roll_back(ledger: Ledger, version: int) -> Snapshot | None:
    """Publish a version again, 0 is the untouched base; what it does not hold is pending.

    Raises `UnknownIdError` for a version that never was, was destroyed by a forget, or was pruned.
    """
    with ledger.atomic():
        ledger.set_current(version or None)
        current = ledger.current()
        held = set(current.manifest.holders) if current else set()
        states = {i.id: i.status for i in ledger.interactions()}
        gone = [i for i, status in states.items() if status is Status.LEARNED and i not in held]
        ledger.set_status(gone, Status.PENDING, f"rolled back to version {version}")
        back = [i for i in held if states[i] in (Status.PENDING, Status.REFUSED)]
        ledger.set_status(back, Status.LEARNED)
    return current
