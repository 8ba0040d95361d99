"""Versions of the note-writer: the one in use, promoting a new one, retraining after a forget.

A promoted version's adapter is in the same store as memory adapters, under kind `policy`, and never in a manifest: the
ledger refuses it there. A forget or correction of anything that it was trained on destroys it like a shard. Then the
next older promoted version writes, until `retrain` makes a new one from the remaining examples, before the next round
of refining. A damaged or missing file counts as destroyed. Callers hold the namespace's lease ("consolidate"): the
store is swept under it. Not here: training (`note_writer`), the verdict (`promotion`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from seal_memory.engines.profile import suited
from seal_memory.learning.publishing import store_adapter
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.policy.note_writer import examples_hash, train_note_writers
from seal_memory.records import AdapterKind, PolicyExample, PolicyVersion, Status

logger = logging.getLogger(__name__)

INHERITED = (
    "round",
    "kept",
    "sampled",
    "checked",
    "answered",
)  # measures that a retrained version keeps: it is not validated
MIN_EXAMPLES = 8  # fewer only teach a model to repeat them


class NoteWriters:
    """The note-writers of one memory. Where its lease is lost, nothing is promoted."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.ledger, self.engine = bench, bench.ledger, bench.engine

    def current(self) -> PolicyVersion | None:
        """The newest promoted version whose file is intact; None: the untouched base writes.

        A damaged file is passed over, so that it does not hold up pending interactions.
        """
        return next((v for v in reversed(self._promoted()) if self._is_intact(v)), None)

    def examples(self, version: PolicyVersion) -> list[PolicyExample]:
        """The examples a version was trained on, without those forgotten or corrected since."""
        found = self.ledger.policy.examples(version.version)
        ids = {i for e in found for i in e.interaction_ids}
        rows = self.ledger.interactions(ids=sorted(ids)) if ids else []
        outdated = {i.id for i in rows if i.status is Status.SUPERSEDED}
        return [e for e in found if not outdated.intersection(e.interaction_ids)]

    def promote(
        self,
        adapter: LoraAdapter,
        examples: Sequence[PolicyExample],
        *,
        seed: int,
        reasons: Sequence[str],
        measures: Mapping[str, float],
        parent: int | None = None,
    ) -> PolicyVersion:
        """Store the adapter as the version that writes now.

        Raises `UnknownIdError` where an example's interaction was forgotten meanwhile: then nothing changes.
        """
        record = store_adapter(
            self.bench.store,
            adapter,
            kind=AdapterKind.POLICY,
            base_model=self.bench.base_model,
            base_fingerprint=self.engine.fingerprint,
            interaction_ids=dict.fromkeys(i for e in examples for i in e.interaction_ids),
            seed=seed,
            data_hash=examples_hash(examples),
            now=self.bench.clock(),
        )
        with self.ledger.atomic():
            self.bench.heartbeat()
            self.ledger.add_adapter(record)
            return self.ledger.policy.add_version(
                record.id,
                examples,
                parent=parent,
                promoted=True,
                reasons=reasons,
                measures=dict(measures),
                base_fingerprint=self.engine.fingerprint,
            )

    def keep_as_evidence(
        self, *, reasons: Sequence[str], measures: Mapping[str, float], parent: int | None = None
    ) -> PolicyVersion:
        """Record a version that was not promoted: figures and reasons, no weights and no text."""
        return self.ledger.policy.add_version(
            None,
            [],
            parent=parent,
            promoted=False,
            reasons=reasons,
            measures=dict(measures),
            base_fingerprint=self.engine.fingerprint,
        )

    def retrain(self) -> PolicyVersion | None:
        """Train the newest promoted version again on its remaining examples, if its adapter is lost.

        None where nothing was lost, or fewer than `MIN_EXAMPLES` examples are left: then an older version or the
        untouched base writes.
        """
        promoted = self._promoted()
        if not promoted or self._is_intact(promoted[-1]):
            return None
        settings = suited(self.bench.settings, self.engine.profile)
        lost = promoted[-1]
        examples = self.examples(lost)
        if len(examples) < MIN_EXAMPLES:
            logger.info("note-writer %d is dropped: %d of its examples are left", lost.version, len(examples))
            return None
        (adapter,) = train_note_writers(
            [examples], self.engine, settings.learning, seed=settings.seed, progress=self.bench.progress
        )
        return self.promote(
            adapter,
            examples,
            seed=settings.seed,
            reasons=[f"Version {lost.version}, which was lost, trained again on its remaining examples."],
            measures={k: v for k, v in lost.measures.items() if k in INHERITED} | {"examples": float(len(examples))},
            parent=lost.version,
        )

    def _promoted(self) -> list[PolicyVersion]:
        """The promoted versions for this base, oldest first, with those whose adapter a forget removed."""
        fingerprint = self.engine.fingerprint
        return [v for v in self.ledger.policy.versions() if v.promoted and v.base_fingerprint == fingerprint]

    def _is_intact(self, version: PolicyVersion) -> bool:
        if version.adapter_id is None:  # a forget took it
            return False
        records = self.ledger.adapters(ids=[version.adapter_id])
        if records and self.bench.store.verify(version.adapter_id, records[0].sha256):
            return True
        logger.warning(
            "The note-writer's adapter %s (version %d) is damaged or missing; an older version or the base writes.",
            version.adapter_id,
            version.version,
        )
        return False
