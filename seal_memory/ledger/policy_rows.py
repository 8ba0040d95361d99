"""Rows of the edit policy: note-writer versions, their training examples, trials, arm rewards.

A version's adapter is a row of `adapters` (kind `policy`), linked to every interaction that it was trained on: a
forget removes it like any other derivative, and a version without its adapter is no longer used. Examples are linked
one by one, so that the remaining ones can be trained again. Arm rewards are appended, never summed, so that the
posterior does not depend on the order of updates. Text is stored only in examples and in trials of open rounds.

Not here: adapter files (`lora.store`), deciding on promotion (`seal_memory.policy`).
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, id_list, not_nan, to_json
from seal_memory.ledger.interactions import require_learnable
from seal_memory.records import ArmReward, Genre, PolicyExample, PolicyTrial, PolicyVersion

POLICY_TABLES = """
CREATE TABLE policy_versions (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    parent INTEGER,
    adapter_id TEXT,
    promoted INTEGER NOT NULL CHECK (promoted IN (0, 1)),
    reasons TEXT NOT NULL,
    measures TEXT NOT NULL,
    base_fingerprint TEXT NOT NULL,
    created REAL NOT NULL,
    UNIQUE (namespace, version)
) STRICT;
CREATE TABLE policy_examples (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    interaction_ids TEXT NOT NULL,
    genre TEXT NOT NULL,
    statement TEXT NOT NULL,
    answer TEXT NOT NULL,
    target TEXT NOT NULL,
    reward REAL,
    UNIQUE (namespace, version, id)
) STRICT;
CREATE TABLE policy_example_links (
    interaction_id TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES policy_examples (seq) ON DELETE CASCADE,
    PRIMARY KEY (interaction_id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX policy_example_links_by_owner ON policy_example_links (owner);
CREATE TABLE arm_rewards (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    edit_id TEXT NOT NULL,
    arm TEXT NOT NULL,
    reward REAL NOT NULL,
    time REAL NOT NULL,
    UNIQUE (namespace, edit_id)
) STRICT;
"""

TRIAL_TABLES = """
CREATE TABLE policy_trials (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    round INTEGER NOT NULL,
    kind TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    interaction_ids TEXT NOT NULL,
    found TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    UNIQUE (namespace, round, kind, episode_id)
) STRICT;
CREATE TABLE policy_trial_links (
    interaction_id TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES policy_trials (seq) ON DELETE CASCADE,
    PRIMARY KEY (interaction_id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX policy_trial_links_by_owner ON policy_trial_links (owner);
"""


class PolicyRows:
    """Edit policy of one namespace. Each method is atomic by itself and joins an outer `atomic()`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def add_version(
        self,
        adapter_id: str | None,
        examples: Sequence[PolicyExample],
        *,
        parent: int | None,
        promoted: bool,
        reasons: Sequence[str],
        measures: dict[str, float],
        base_fingerprint: str,
    ) -> PolicyVersion:
        """Record a version and its training examples under the next version number.

        Raises `UnknownIdError` when the ledger lacks the adapter, or an example's interaction was forgotten, and
        `InputError` for a promoted version without an adapter.
        """
        if promoted and adapter_id is None:
            raise InputError("a promoted policy version has no adapter: expected the id of a stored one")
        with self._scope.connection.atomic():
            self._require_adapter(adapter_id)
            made = PolicyVersion(
                self._next_version(), parent, adapter_id, promoted, tuple(reasons), dict(measures), base_fingerprint,
                self._scope.clock(),
            )  # fmt: skip
            self._insert(made)
            for example in examples:
                self._add_example(made.version, example)
        return made

    def versions(self) -> list[PolicyVersion]:
        """All versions, oldest first; `adapter_id` is None where a forget removed the adapter."""
        rows = self._scope.connection.rows(
            "SELECT v.*, a.id AS held FROM policy_versions v LEFT JOIN adapters a"
            " ON a.namespace = v.namespace AND a.id = v.adapter_id WHERE v.namespace = ? ORDER BY v.version",
            (self._scope.namespace,),
        )
        return [_version_from(row) for row in rows]

    def examples(self, version: int) -> list[PolicyExample]:
        """Remaining examples of a version, in the order they were added."""
        rows = self._scope.connection.rows(
            "SELECT * FROM policy_examples WHERE namespace = ? AND version = ? ORDER BY seq",
            (self._scope.namespace, version),
        )
        return [_example_from(row) for row in rows]

    def add_trials(self, trials: Sequence[PolicyTrial]) -> None:
        """Record trials; one that the round has already (same kind and episode) is left alone.

        Raises `UnknownIdError` when an interaction was forgotten meanwhile.
        """
        scope = self._scope
        with scope.connection.atomic():
            for trial in trials:
                require_learnable(scope, trial.interaction_ids)
                scope.connection.run(
                    "INSERT OR IGNORE INTO policy_trials (namespace, round, kind, episode_id, interaction_ids, found,"
                    " tokens) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        scope.namespace, trial.round, trial.kind, trial.episode_id, id_list(trial.interaction_ids),
                        to_json(dict(trial.found), "the results of a trial"), trial.tokens,
                    ),
                )  # fmt: skip
                scope.connection.run(
                    "INSERT OR IGNORE INTO policy_trial_links (interaction_id, owner) SELECT j.value, t.seq"
                    " FROM json_each(?) j, policy_trials t WHERE t.namespace = ? AND t.round = ? AND t.kind = ?"
                    " AND t.episode_id = ?",
                    (id_list(trial.interaction_ids), scope.namespace, trial.round, trial.kind, trial.episode_id),
                )

    def trials(self, round: int) -> list[PolicyTrial]:
        """Trials of a round so far, in the order they were added."""
        rows = self._scope.connection.rows(
            "SELECT * FROM policy_trials WHERE namespace = ? AND round = ? ORDER BY seq",
            (self._scope.namespace, round),
        )
        return [
            PolicyTrial(
                row["round"], row["kind"], row["episode_id"], tuple(from_json(row["interaction_ids"])),
                from_json(row["found"]), row["tokens"],
            )
            for row in rows
        ]  # fmt: skip

    def blank_trials(self, round: int) -> int:
        """Erase the results of a finished round's trials, which quote notes; their rows stay. Returns how many."""
        with self._scope.connection.atomic():
            return self._scope.connection.run(
                "UPDATE policy_trials SET found = '{}' WHERE namespace = ? AND round = ?",
                (self._scope.namespace, round),
            )

    def add_arm_rewards(self, rewards: Sequence[tuple[str, str, float]]) -> int:
        """Append (self-edit id, arm name, reward) rows; an existing reward is kept. Returns how many were new.

        Raises `InputError` for a reward that is not finite.
        """
        for edit_id, _, reward in rewards:
            if not math.isfinite(reward):
                raise InputError(f"the reward of self-edit {edit_id} is {reward!r}; expected a finite number")
        now = self._scope.clock()
        with self._scope.connection.atomic():
            return self._scope.connection.run_many(
                "INSERT OR IGNORE INTO arm_rewards (namespace, edit_id, arm, reward, time) VALUES (?, ?, ?, ?, ?)",
                [(self._scope.namespace, *row, now) for row in rewards],
            )

    def arm_rewards(self) -> list[ArmReward]:
        """All arm rewards, oldest first."""
        rows = self._scope.connection.rows(
            "SELECT edit_id, arm, reward, time FROM arm_rewards WHERE namespace = ? ORDER BY seq",
            (self._scope.namespace,),
        )
        return [ArmReward(*row) for row in rows]

    def _require_adapter(self, adapter_id: str | None) -> None:
        found = self._scope.connection.rows(
            "SELECT 1 FROM adapters WHERE namespace = ? AND id = ?", (self._scope.namespace, adapter_id)
        )
        if adapter_id is not None and not found:
            raise UnknownIdError(f"the ledger holds no adapter {adapter_id}: add it before its policy version")

    def _next_version(self) -> int:
        rows = self._scope.connection.rows(
            "SELECT coalesce(max(version), 0) FROM policy_versions WHERE namespace = ?", (self._scope.namespace,)
        )
        return 1 + int(rows[0][0])

    def _insert(self, version: PolicyVersion) -> None:
        self._scope.connection.run(
            "INSERT INTO policy_versions (namespace, version, parent, adapter_id, promoted, reasons, measures,"
            " base_fingerprint, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._scope.namespace, version.version, version.parent, version.adapter_id, int(version.promoted),
                to_json(list(version.reasons), "the reasons of a policy version"),
                to_json(dict(version.measures), "the measures of a policy version"),
                version.base_fingerprint, version.created,
            ),
        )  # fmt: skip

    def _add_example(self, version: int, example: PolicyExample) -> None:
        scope = self._scope
        require_learnable(scope, example.interaction_ids)
        reward = None if example.reward is None else not_nan(example.reward, f"the reward of example {example.id}")
        scope.connection.run(
            "INSERT INTO policy_examples (namespace, id, version, interaction_ids, genre, statement, answer, target,"
            " reward) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scope.namespace, example.id, version, id_list(example.interaction_ids), example.genre,
                example.statement, example.answer, example.target, reward,
            ),
        )  # fmt: skip
        scope.connection.run(
            "INSERT INTO policy_example_links (interaction_id, owner) SELECT j.value, e.seq FROM json_each(?) j,"
            " policy_examples e WHERE e.namespace = ? AND e.version = ? AND e.id = ?",
            (id_list(dict.fromkeys(example.interaction_ids)), scope.namespace, version, example.id),
        )


def _version_from(row: sqlite3.Row) -> PolicyVersion:
    return PolicyVersion(
        version=row["version"],
        parent=row["parent"],
        adapter_id=row["held"],
        promoted=bool(row["promoted"]),
        reasons=tuple(from_json(row["reasons"])),
        measures=from_json(row["measures"]),
        base_fingerprint=row["base_fingerprint"],
        created=row["created"],
    )


def _example_from(row: sqlite3.Row) -> PolicyExample:
    return PolicyExample(
        id=row["id"],
        interaction_ids=tuple(from_json(row["interaction_ids"])),
        genre=Genre(row["genre"]),
        statement=row["statement"],
        answer=row["answer"],
        target=row["target"],
        reward=row["reward"],
    )
