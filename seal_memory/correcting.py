"""Correcting: another wording takes an interaction's place, and what was trained on the old one goes.

Not here: the lease around it (`SealMemory.correct`), what derives from an interaction (`forgetting.deletion`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.observation import to_interactions
from seal_memory.records import Role
from seal_memory.reports import Correction

if TYPE_CHECKING:  # needs torch
    from seal_memory.forgetting.deletion import Deletion


def corrected(ledger: Ledger, deletion: Deletion, id: str, text: str, *, learn_roles: Collection[Role]) -> Correction:
    """Put `text` in the place of interaction `id`.

    Raises `UnknownIdError`, or `InputError` when nothing changes or the text is no single passage.
    """
    old = ledger.interactions(ids=[id])[0]
    new = to_interactions(
        text,
        role=old.role,
        source=old.source,
        session=old.session,
        title=old.title,
        metadata=dict(old.metadata),
        learn_roles=learn_roles,
    )
    if len(new) != 1:
        raise InputError(f"The correction is {len(text)} characters long; expected a single passage.")
    with ledger.atomic():
        adapters, snapshots = deletion.drop_derivatives([id])
        observed = ledger.supersede(id, new[0])
    deletion.remove_files(adapters)  # not before the ledger has let go of them
    return Correction(id, observed.id, tuple(adapters), tuple(snapshots))
