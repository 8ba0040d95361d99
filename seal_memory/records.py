"""Records and enums that packages exchange: frozen dataclasses without behaviour or torch.

Times are Unix seconds, log-probabilities natural, ids opaque strings. Not here: results of public verbs (`results`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """Speaker of a text. `DOCUMENT` is text that was ingested rather than said."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"
    DOCUMENT = "document"


class Status(StrEnum):
    """Training status of an interaction."""

    PENDING = "pending"  # waits for the next consolidate
    LEARNED = "learned"  # a published shard was trained on it
    SKIPPED = "skipped"  # recorded, never trained (reason says why)
    REFUSED = "refused"  # trained, but the gate refused the shard; retrieval still finds it
    SUPERSEDED = "superseded"  # corrected; the newer interaction is trained instead
    QUARANTINED = "quarantined"  # instructs the model (reason says how); waits for a person
    REJECTED = "rejected"  # quarantined, then rejected by a person; kept, never used


WITHHELD = frozenset({Status.QUARANTINED, Status.REJECTED})  # neither learned, indexed, quizzed nor shown


class Genre(StrEnum):
    """Kinds of training items; `self_edits.genres` lists who makes each, rules or the model."""

    PASSAGE = "passage"
    SENTENCES = "sentences"
    ENTITY_STATEMENT = "entity_statement"
    CLOZE = "cloze"
    CLOZE_QUESTION = "cloze_question"
    IMPLICATIONS = "implications"
    REWRITE = "rewrite"
    QA = "qa"
    REVERSED = "reversed"


class AdapterKind(StrEnum):
    SHARD = "shard"
    CORE = "core"
    POLICY = "policy"  # of the note-writer; never part of a manifest


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who said an observed text, where and when: `observe`'s keywords as one object."""

    role: str = Role.DOCUMENT  # a `Role`, or another usual name of one, such as "human"
    source: str | None = None
    session: str | None = None
    title: str | None = None
    time: float | None = None  # Unix seconds; None: the ledger's clock
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewInteraction:
    """An admitted text, ready for the ledger. `status` and `reason` come from `intake.admission`."""

    text: str
    role: Role = Role.DOCUMENT
    source: str | None = None
    session: str | None = None
    title: str | None = None
    time: float | None = None  # None: the ledger's clock
    metadata: Mapping[str, Any] = field(default_factory=dict)
    status: Status = Status.PENDING
    reason: str | None = None
    replayed: bool = False  # repeated history: a known text does not count as seen again


@dataclass(frozen=True, slots=True)
class Interaction:
    """One text that the agent saw; append-only. `sightings` counts how often the same text was observed."""

    id: str
    namespace: str
    text: str
    role: Role
    source: str | None
    session: str | None
    title: str | None
    time: float
    metadata: Mapping[str, Any]
    content_hash: str
    status: Status
    reason: str | None
    sightings: int


@dataclass(frozen=True, slots=True)
class Observed:
    """One result of `observe`. `new` is False when the text was known already."""

    id: str
    new: bool
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class Review:
    """One event of an interaction's quarantine. `status`: QUARANTINED, PENDING (approved) or REJECTED."""

    interaction_id: str
    status: Status
    reason: str | None
    time: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result; `score` is larger for better matches (BM25)."""

    interaction: Interaction
    score: float


@dataclass(frozen=True, slots=True)
class Episode:
    """Interactions that are learned together in one shard (a document's chunks, a session)."""

    id: str
    title: str | None
    interactions: tuple[Interaction, ...]

    @property
    def interaction_ids(self) -> tuple[str, ...]:
        return tuple(i.id for i in self.interactions)


@dataclass(frozen=True, slots=True)
class TrainingItem:
    """One training row; the loss is on `target` only. An empty `prompt` means plain text, without a chat template."""

    genre: Genre
    prompt: str
    target: str
    interaction_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Training hyperparameters of a self-edit (SEAL, arXiv 2506.10943, section 3.1).

    `epochs` passes over at most `rows_per_epoch` items (0: all), drawn by `genre_mix` weights; plain text
    (genre `passage`) is not drawn but read `passes` times, in steps of its own.
    """

    learning_rate: float = 1e-3
    epochs: int = 8
    rank: int = 32
    alpha: float = 64.0
    rows_per_epoch: int = 0
    genre_mix: tuple[tuple[Genre, float], ...] = ()
    passes: int = 0


@dataclass(frozen=True, slots=True)
class GenreYield:
    """Items that a genre made, and those that passed the source checks."""

    genre: Genre
    made: int
    kept: int


@dataclass(frozen=True, slots=True)
class SelfEdit:
    """Training items and hyperparameters for one episode."""

    id: str
    episode_id: str
    interaction_ids: tuple[str, ...]
    items: tuple[TrainingItem, ...]
    hyperparameters: Hyperparameters
    seed: int
    yields: tuple[GenreYield, ...] = ()


@dataclass(frozen=True, slots=True)
class QuizItem:
    """A closed-book question. `held_out` items are never trained on, for good.

    `logprob_with` / `logprob_without`: mean per answer token, the base with text and closed book (None: not asked).
    """

    id: str
    interaction_ids: tuple[str, ...]
    question: str
    answer: str
    held_out: bool
    phrasing: int = 0
    origin: str = "generated"  # or "user"
    logprob_with: float | None = None
    logprob_without: float | None = None


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """A trained adapter. `id` is content-addressed: it never names other bytes."""

    id: str
    kind: AdapterKind
    episode_id: str | None
    interaction_ids: tuple[str, ...]
    self_edit_id: str | None
    base_fingerprint: str
    config: Mapping[str, Any]  # rank, alpha, target_modules, ...
    seed: int
    data_hash: str
    sha256: str
    bytes: int
    created: float


@dataclass(frozen=True, slots=True)
class ShardEntry:
    adapter_id: str
    episode_id: str
    interaction_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The adapters of a published memory. `router` is empty: settings or `open(router=…)` say which one routes."""

    shards: tuple[ShardEntry, ...] = ()
    core: str | None = None
    router: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adapter_ids(self) -> tuple[str, ...]:
        ids = tuple(s.adapter_id for s in self.shards)
        return (*ids, self.core) if self.core else ids

    @property
    def holders(self) -> dict[str, ShardEntry]:
        """The shard that answers for each interaction: the last one that was trained on it."""
        return {i: shard for shard in self.shards for i in shard.interaction_ids}

    def without(self, gone: Collection[str]) -> Manifest:
        """The manifest without the adapters in `gone`."""
        shards = tuple(s for s in self.shards if s.adapter_id not in gone)
        return replace(self, shards=shards, core=None if self.core in gone else self.core)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published version, immutable. Version 0 is the untouched base and has no row."""

    version: int
    parent: int | None
    manifest: Manifest
    created: float
    base_fingerprint: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grade:
    """One quiz item answered by one adapter (None: the base) or snapshot."""

    quiz_item_id: str
    adapter_id: str | None
    snapshot_version: int | None
    logprob: float  # mean per answer token
    share_likely: float  # share of answer tokens with p > 0.5
    correct: bool | None  # by generation; None when only log-probabilities were taken
    time: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The publish gate's decision about one adapter; reasons are sentences for people."""

    id: str
    adapter_id: str | None
    episode_id: str | None
    accepted: bool
    reasons: tuple[str, ...]
    measures: Mapping[str, float]
    snapshot_version: int | None
    time: float


@dataclass(frozen=True, slots=True)
class Job:
    """A lease on a namespace's training, held now or in the past."""

    id: str
    kind: str
    state: str  # running | done | failed
    payload: Mapping[str, Any]
    created: float
    lease_until: float | None
    owner: str | None
    error: str | None


class JobState(StrEnum):
    """State of a queued job."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # leased by `owner`
    DONE = "done"
    FAILED = "failed"  # waits for its next attempt; error says why
    DEAD = "dead"  # out of attempts; error says why


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A unit of background work. `leases` counts every start, `attempts` those that were not returned unfinished."""

    id: str
    kind: str
    state: JobState
    payload: Mapping[str, Any]
    priority: int
    attempts: int
    max_attempts: int
    leases: int
    not_before: float
    created: float
    changed: float
    lease_until: float | None
    owner: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Audit:
    """Recall (0..1) of one shard's held-out items at a time, asked closed book through the published router.

    The first audit of a shard is the gate's measurement at its publication.
    """

    adapter_id: str
    episode_id: str
    snapshot_version: int
    time: float
    recall: float
    items: int


@dataclass(frozen=True, slots=True)
class AuditDue:
    """The next audit of a published shard; `step` k: the last interval was the first one times 2^k."""

    adapter_id: str
    episode_id: str
    due: float
    step: int


@dataclass(frozen=True, slots=True)
class PolicyExample:
    """One training example of the note-writer: its input (`statement`, `answer`) and its `target`."""

    id: str
    interaction_ids: tuple[str, ...]
    genre: Genre
    statement: str
    answer: str
    target: str
    reward: float | None = None  # None: it passed the checks without an inner loop


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One trained note-writer. One that is not promoted has no adapter. Reasons hold figures, no stored text."""

    version: int
    parent: int | None
    adapter_id: str | None
    promoted: bool
    reasons: tuple[str, ...]
    measures: Mapping[str, float]
    base_fingerprint: str
    created: float


@dataclass(frozen=True, slots=True)
class PolicyTrial:
    """One episode explored in a refine round: its results (`found`) and the number of trained `tokens`."""

    round: int
    kind: str
    episode_id: str
    interaction_ids: tuple[str, ...]
    found: Mapping[str, Any]
    tokens: int


@dataclass(frozen=True, slots=True)
class ArmReward:
    """Reward of one candidate's arm. `arm` is its canonical name (`policy.bandit.arm_name`)."""

    edit_id: str
    arm: str
    reward: float
    time: float
