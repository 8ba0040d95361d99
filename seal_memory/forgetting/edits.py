"""Edits of a memory: correct an interaction, forget interactions, roll back to an earlier version.

Each waits for no trainer: it is one transaction, and nothing trained meanwhile is published over it. Not here: deleting
derivatives (`deletion`), damaged snapshots (`runtime.loading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.intake.admission import AdmissionRules, replacement
from seal_memory.ledger import Ledger
from seal_memory.records import Snapshot, Status
from seal_memory.results import Correction

if TYPE_CHECKING:  # needs torch
    from seal_memory.forgetting.deletion import Deletion


def correct_interaction(ledger: Ledger, deletion: Deletion, id: str, text: str, *, rules: AdmissionRules) -> Correction:
    """Replace interaction `id` by `text`, which may go to quarantine.

    Raises `UnknownIdError`, or `InputError` when nothing changes or the text is no single passage.
    """
    old = ledger.interactions(ids=[id])[0]
    new = replacement(old, text, rules)
    with ledger.atomic():
        adapters, snapshots = deletion.drop_derivatives([id])
        observed = ledger.supersede(id, new)
    still = deletion.remove_files(adapters)  # not before the ledger has let go of them
    return Correction(
        id, observed.id, tuple(adapters), tuple(snapshots), observed.status, observed.reason, tuple(still)
    )


def ids_to_forget(
    ledger: Ledger, ids: str | Sequence[str] | None, *, session: str | None, source: str | None
) -> list[str]:
    """The ids of the interactions to forget, by id, session or source; not those that were seen elsewhere, too.

    Raises `InputError` when nothing is named, `UnknownIdError` when nothing matches.
    """
    if ids is None and session is None and source is None:
        raise InputError("forget needs ids, a session or a source; to forget everything, delete the folder.")
    if ids is not None:
        found = [ids] if isinstance(ids, str) else list(ids)
    else:
        found = ledger.sessions.seen_only_there(session=session, source=source)
        if not found and ledger.sessions.seen_there_too(session=session, source=source):
            return []
        if not found and session is not None and source is None and ledger.sessions.is_noted(session):
            return []  # nothing that was said could be recorded, but its name and its histories' hashes are
    if not found:
        raise UnknownIdError(f"Nothing to forget: no interaction has session {session!r} / source {source!r}.")
    return found


def roll_back(ledger: Ledger, version: int) -> Snapshot | None:
    """Publish a version again (0: the untouched base); learned interactions that it does not hold become pending.

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
