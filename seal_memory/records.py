"""What the rooms hand to each other: frozen records and their enums. No behaviour, no torch.

Times are Unix seconds, log-probabilities natural, ids opaque strings. Not here: what public verbs return (`reports`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """Who spoke. `DOCUMENT` is text that was ingested rather than said."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"
    DOCUMENT = "document"


class Status(StrEnum):
    """What becomes of an interaction in training."""

    PENDING = "pending"  # waits for the next consolidate
    LEARNED = "learned"  # a published shard holds it
    SKIPPED = "skipped"  # recorded, never trained (reason says why)
    REFUSED = "refused"  # trained, but the gate refused the shard; answerable by text
    SUPERSEDED = "superseded"  # corrected; the newer interaction is trained instead
    QUARANTINED = "quarantined"  # instructs the model (reason says how); waits for a person's approval
    REJECTED = "rejected"  # a person said no to what was quarantined; kept, never used


WITHHELD = frozenset({Status.QUARANTINED, Status.REJECTED})  # neither learned nor indexed, asked about or shown


class Genre(StrEnum):
    """Kinds of training items. The first five need no model, the others are model-written."""

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
    POLICY = "policy"  # the note-writer's own; never part of a manifest


@dataclass(frozen=True, slots=True)
class NewInteraction:
    """What `observe` hands to the ledger. `status`/`reason` come from the observation gate."""

    text: str
    role: Role = Role.DOCUMENT
    source: str | None = None
    session: str | None = None
    title: str | None = None
    time: float | None = None  # None: the ledger's clock
    metadata: Mapping[str, Any] = field(default_factory=dict)
    status: Status = Status.PENDING
    reason: str | None = None
    replayed: bool = False  # of a history that comes again with every turn: no further sighting of what is known


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing the agent saw; append-only. `sightings` counts how often the same text came."""

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
    """One `observe` result: `new` is False when the text was known (a further sighting)."""

    id: str
    new: bool
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class Review:
    """One line of an interaction's time in quarantine. `status`: QUARANTINED, PENDING (approved) or REJECTED."""

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
    """One row to train: the loss is on `target` only. `prompt` empty means plain text: no chat around it."""

    genre: Genre
    prompt: str
    target: str
    interaction_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The training plan that a self-edit carries (SEAL, arXiv 2506.10943, section 3.1).

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
    """How many items a genre offered and how many passed the source checks."""

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
    """What a published memory consists of."""

    shards: tuple[ShardEntry, ...] = ()
    core: str | None = None
    router: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adapter_ids(self) -> tuple[str, ...]:
        ids = tuple(s.adapter_id for s in self.shards)
        return (*ids, self.core) if self.core else ids

    @property
    def holders(self) -> dict[str, ShardEntry]:
        """By interaction, the last shard that holds it: the one that answers for it."""
        return {i: shard for shard in self.shards for i in shard.interaction_ids}


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
    """The publish gate's verdict on one adapter; reasons are sentences for people."""

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
    """A lease: who trains a namespace now, or did."""

    id: str
    kind: str
    state: str  # running | done | failed
    payload: Mapping[str, Any]
    created: float
    lease_until: float | None
    owner: str | None
    error: str | None


class JobState(StrEnum):
    """What becomes of a queued job."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # leased by `owner`
    DONE = "done"
    FAILED = "failed"  # waits for its next attempt; error says what went wrong
    DEAD = "dead"  # out of attempts; error says why


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A unit of background work. `leases` counts every start, `attempts` those that were not handed back."""

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

    The first of a shard is what the gate measured when it was published.
    """

    adapter_id: str
    episode_id: str
    snapshot_version: int
    time: float
    recall: float
    items: int


@dataclass(frozen=True, slots=True)
class AuditDue:
    """When a published shard is audited next; `step` k means the interval before was the first one times 2^k."""

    adapter_id: str
    episode_id: str
    due: float
    step: int


@dataclass(frozen=True, slots=True)
class PolicyExample:
    """One note that the note-writer learns from: what it was asked (`statement`, `answer`) and what it should say."""

    id: str
    interaction_ids: tuple[str, ...]
    genre: Genre
    statement: str
    answer: str
    target: str
    reward: float | None = None  # None: it passed the checks, no inner loop was run for it


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One trained note-writer. Not promoted: kept as evidence, `adapter_id` None. Reasons hold figures, no text."""

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
    """One episode explored in a refine round. `found` is what the round needs of it; `tokens` were trained for it."""

    round: int
    kind: str
    episode_id: str
    interaction_ids: tuple[str, ...]
    found: Mapping[str, Any]
    tokens: int


@dataclass(frozen=True, slots=True)
class ArmReward:
    """What one candidate's arm earned. `arm` is its canonical name (`policy.bandit.arm_name`)."""

    edit_id: str
    arm: str
    reward: float
    time: float
