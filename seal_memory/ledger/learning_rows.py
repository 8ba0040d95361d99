"""Rows of self-edits, quiz items and adapters, linked to the interactions they were made from.

A self-edit is linked to the interactions of its replayed items, too. Rows can only be added for interactions that the
ledger still holds, so that a trainer that missed a forget cannot bring the text back.

Invariant: a held-out quiz item stays held out. Its question can never be a training question of the same
interactions, nor the other way round.

Not here: adapter files (`lora.store`), grades (`grades`), deletion (`purge`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from seal_memory.errors import InputError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, id_list, not_nan, question_key, to_json
from seal_memory.ledger.interactions import require_interactions, require_learnable, require_valid
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Genre,
    GenreYield,
    Hyperparameters,
    QuizItem,
    SelfEdit,
    TrainingItem,
)


def add_self_edits(scope: Scope, edits: Sequence[SelfEdit]) -> None:
    with scope.connection.atomic():
        for edit in edits:
            values = {
                "id": edit.id,
                "episode_id": edit.episode_id,
                "interaction_ids": id_list(edit.interaction_ids),
                "hyperparameters": to_json(asdict(edit.hyperparameters), f"the plan of self-edit {edit.id}"),
                "yields": to_json([asdict(y) for y in edit.yields], f"the yields of self-edit {edit.id}"),
                "seed": str(edit.seed),
                "items": to_json([asdict(i) for i in edit.items], f"the items of self-edit {edit.id}"),
            }
            made_from = [*edit.interaction_ids, *(i for item in edit.items for i in item.interaction_ids)]
            if _is_new(scope, "self_edits", values):
                _insert(scope, "self_edits", values, made_from)


def self_edits(
    scope: Scope,
    *,
    ids: Collection[str] | None,
    episode_id: str | None,
    interaction_ids: Collection[str] | None,
) -> list[SelfEdit]:
    where = {} if episode_id is None else {"episode_id": episode_id}
    rows = _select(scope, "self_edits", ids=ids, interaction_ids=interaction_ids, where=where)
    return [_self_edit_from(row) for row in rows]


def add_quiz_items(scope: Scope, items: Sequence[QuizItem]) -> None:
    with scope.connection.atomic():
        for item in items:
            values = {
                "id": item.id,
                "interaction_ids": id_list(item.interaction_ids),
                "question": item.question,
                "question_key": question_key(item.question),
                "answer": item.answer,
                "held_out": int(item.held_out),
                "phrasing": item.phrasing,
                "origin": item.origin,
                "logprob_with": _not_nan_or_none(item.logprob_with, item.id),
                "logprob_without": _not_nan_or_none(item.logprob_without, item.id),
            }
            if _is_new(scope, "quiz_items", values, compared=("question", "answer", "held_out")):
                _check_held_out(scope, item)
                _insert(scope, "quiz_items", values, item.interaction_ids)


def quiz_items(
    scope: Scope,
    *,
    interaction_ids: Collection[str] | None,
    held_out: bool | None,
    ids: Collection[str] | None,
) -> list[QuizItem]:
    where = {} if held_out is None else {"held_out": int(held_out)}
    rows = _select(scope, "quiz_items", ids=ids, interaction_ids=interaction_ids, where=where)
    return [_quiz_item_from(row) for row in rows]


def add_adapter(scope: Scope, adapter: AdapterRecord) -> None:
    values = {
        "id": adapter.id,
        "kind": adapter.kind,
        "episode_id": adapter.episode_id,
        "interaction_ids": id_list(adapter.interaction_ids),
        "self_edit_id": adapter.self_edit_id,
        "base_fingerprint": adapter.base_fingerprint,
        "config": to_json(dict(adapter.config), f"the config of adapter {adapter.id}"),
        "seed": str(adapter.seed),
        "data_hash": adapter.data_hash,
        "sha256": adapter.sha256,
        "bytes": adapter.bytes,
        "created": adapter.created,
    }
    with scope.connection.atomic():
        require_valid(scope, adapter.interaction_ids)
        if _is_new(scope, "adapters", values, compared=("sha256", "base_fingerprint")):
            _insert(scope, "adapters", values, adapter.interaction_ids)


def adapters(
    scope: Scope, *, ids: Collection[str] | None, interaction_ids: Collection[str] | None
) -> list[AdapterRecord]:
    rows = _select(scope, "adapters", ids=ids, interaction_ids=interaction_ids, where={})
    return [_adapter_from(row) for row in rows]


def adapter_ids_trained_on(scope: Scope, interaction_ids: Collection[str]) -> list[str]:
    rows = scope.connection.rows(
        "SELECT a.id FROM adapters a WHERE a.namespace = ? AND a.seq IN (SELECT owner FROM adapter_links"
        " WHERE interaction_id IN (SELECT value FROM json_each(?))) ORDER BY a.seq",
        (scope.namespace, id_list(interaction_ids)),
    )
    return [row[0] for row in rows]


def delete_adapters(scope: Scope, ids: Collection[str]) -> int:
    return scope.connection.run(
        "DELETE FROM adapters WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(ids)),
    )


def _is_new(scope: Scope, table: str, values: Mapping[str, Any], *, compared: Collection[str] | None = None) -> bool:
    """False when an equal row exists; raises InputError when the id belongs to a different one."""
    rows = scope.connection.rows(
        f"SELECT * FROM {table} WHERE namespace = ? AND id = ?", (scope.namespace, values["id"])
    )
    if not rows:
        return True
    differing = [name for name in compared or values if rows[0][name] != values[name]]
    if "held_out" in differing:
        side = "held out for good" if rows[0]["held_out"] else "a training item"
        raise InputError(f"quiz item {values['id']} is {side}: make a new item under a new id")
    if differing:
        raise InputError(
            f"{table} already holds the id {values['id']} with another {', '.join(differing)}: use a new id"
        )
    return False


def _insert(scope: Scope, table: str, values: Mapping[str, Any], made_from: Iterable[str]) -> None:
    interaction_ids = list(dict.fromkeys(made_from))
    from_user = values.get("origin") == "user"  # a user's quiz item may be added before its text is approved
    (require_interactions if from_user else require_learnable)(scope, interaction_ids)
    marks = ", ".join("?" for _ in values)
    scope.connection.run(
        f"INSERT INTO {table} (namespace, {', '.join(values)}) VALUES (?, {marks})",
        (scope.namespace, *values.values()),
    )
    scope.connection.run(
        f"INSERT INTO {table[:-1]}_links (interaction_id, owner)"
        f" SELECT j.value, t.seq FROM json_each(?) j, {table} t WHERE t.namespace = ? AND t.id = ?",
        (id_list(interaction_ids), scope.namespace, values["id"]),
    )


def _select(
    scope: Scope,
    table: str,
    *,
    ids: Collection[str] | None,
    interaction_ids: Collection[str] | None,
    where: Mapping[str, Any],
) -> list[sqlite3.Row]:
    conditions, values = ["namespace = ?"], [scope.namespace]
    if ids is not None:
        conditions.append("id IN (SELECT value FROM json_each(?))")
        values.append(id_list(ids))
    if interaction_ids is not None:
        conditions.append(
            f"seq IN (SELECT owner FROM {table[:-1]}_links WHERE interaction_id IN (SELECT value FROM json_each(?)))"
        )
        values.append(id_list(interaction_ids))
    for name, value in where.items():
        conditions.append(f"{name} = ?")
        values.append(value)
    return scope.connection.rows(f"SELECT * FROM {table} WHERE {' AND '.join(conditions)} ORDER BY seq", values)


def _check_held_out(scope: Scope, item: QuizItem) -> None:
    """Raise InputError when a question is held out and used for training for the same interactions.

    Items that name no interaction belong to the whole memory and conflict with any other.
    """
    rows = scope.connection.rows(
        "SELECT id, interaction_ids FROM quiz_items WHERE namespace = ? AND question_key = ? AND held_out != ?",
        (scope.namespace, question_key(item.question), int(item.held_out)),
    )
    for row in rows:
        theirs, ours = set(from_json(row["interaction_ids"])), set(item.interaction_ids)
        if theirs & ours or not (theirs and ours):
            sides = ("training", "held out") if item.held_out else ("held out", "training")
            raise InputError(
                f"the question of quiz item {item.id} is already {sides[0]} for these interactions "
                f"(item {row['id']}) and cannot be {sides[1]} too: leave it out"
            )


def _not_nan_or_none(value: float | None, item_id: str) -> float | None:
    return None if value is None else not_nan(value, f"a log-probability of quiz item {item_id}")


def _self_edit_from(row: sqlite3.Row) -> SelfEdit:
    return SelfEdit(
        id=row["id"],
        episode_id=row["episode_id"],
        interaction_ids=tuple(from_json(row["interaction_ids"])),
        items=tuple(_training_item_from(item) for item in from_json(row["items"])),
        hyperparameters=_hyperparameters_from(from_json(row["hyperparameters"])),
        seed=int(row["seed"]),
        yields=tuple(GenreYield(Genre(y["genre"]), y["made"], y["kept"]) for y in from_json(row["yields"])),
    )


def _training_item_from(item: Mapping[str, Any]) -> TrainingItem:
    return TrainingItem(Genre(item["genre"]), item["prompt"], item["target"], tuple(item["interaction_ids"]))


def _hyperparameters_from(stored: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters from JSON: missing fields take their defaults, unknown fields are ignored."""
    known = {f.name: stored[f.name] for f in fields(Hyperparameters) if f.name in stored}
    mix = tuple((Genre(genre), float(weight)) for genre, weight in stored.get("genre_mix", ()))
    return Hyperparameters(**{**known, "genre_mix": mix})


def _quiz_item_from(row: sqlite3.Row) -> QuizItem:
    return QuizItem(
        id=row["id"],
        interaction_ids=tuple(from_json(row["interaction_ids"])),
        question=row["question"],
        answer=row["answer"],
        held_out=bool(row["held_out"]),
        phrasing=row["phrasing"],
        origin=row["origin"],
        logprob_with=row["logprob_with"],
        logprob_without=row["logprob_without"],
    )


def _adapter_from(row: sqlite3.Row) -> AdapterRecord:
    return AdapterRecord(
        id=row["id"],
        kind=AdapterKind(row["kind"]),
        episode_id=row["episode_id"],
        interaction_ids=tuple(from_json(row["interaction_ids"])),
        self_edit_id=row["self_edit_id"],
        base_fingerprint=row["base_fingerprint"],
        config=from_json(row["config"]),
        seed=int(row["seed"]),
        data_hash=row["data_hash"],
        sha256=row["sha256"],
        bytes=row["bytes"],
        created=row["created"],
    )
