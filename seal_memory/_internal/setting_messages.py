"""Messages about settings: a name that is unknown, renamed or removed, and a value that is bad.

Before 0.2.0 all settings stood in one flat class. `RENAMED` has the new name of each, `REMOVED` why it went. Not here:
the settings themselves (`config`), or reading a value under its old name: an old name is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from pydantic import ValidationError
from pydantic.fields import FieldInfo

__all__ = ["REMOVED", "RENAMED", "explain", "unknown"]

_GROUPS: Mapping[str, Mapping[str, str]] = {  # group: old name to new
    "learning": {
        "passes": "document_readings", "least_steps": "min_steps", "batch_rows": "batch_size", "learn_roles": "roles",
        **{name: name for name in (
            "rank", "alpha", "learning_rate", "epochs", "document_epochs", "target_modules", "rows_per_statement",
            "stack_size", "token_budget", "episode_max_tokens", "notes_per_statement",
        )},
    },
    "safety": {"quarantine_roles": "quarantine_roles"},
    "gate": {
        "quiz_per_statement": "quiz_per_statement",
        "recite_max_tokens": "quiz_answer_tokens", "gate_min_gain": "min_gain", "gate_max_old_loss": "max_old_loss",
        "gate_max_perplexity_increase": "max_perplexity_increase",
    },
    "sleep": {
        "sleep": "mode", "sleep_after": "after", "sleep_by": "by", "sleep_group": "group_size",
        "core_anchor": "core_kl_weight",
    },
    "policy": {
        "learn_arms": "bandit", "refine": "refine", "refine_after": "refine_after",
        "executor": "executor",
    },
    "engine": {
        "engine": "name", "engine_url": "url", "engine_max_loras": "max_loras", "engine_folder": "folder",
        "engine_timeout": "timeout", "device": "device", "dtype": "dtype", "cache_dir": "cache_dir",
    },
    "answering": {
        "router_threshold": "router_threshold", "hybrid_threshold": "hybrid_threshold",
        "retrieval_passages": "retrieval_passages", "answer_max_tokens": "max_tokens", "recitations": "samples",
    },
    "background": {
        "background_cpu_share": "cpu_share", "audit_interval": "audit_interval", "audit_max_loss": "audit_max_loss",
    },
    "storage": {"snapshots_kept": "snapshots_kept"},
}  # fmt: skip

RENAMED: Mapping[str, str] = {
    old: f"{group}.{new}" for group, names in _GROUPS.items() for old, new in names.items()
}  # old name to the dotted name of today

_FIXED = (
    "gate_max_misrouted", "sleep_alike", "policy_learning_rate", "policy_epochs", "policy_rows", "refine_samplings",
    "reward_probability", "reward_specificity", "reward_drift", "reward_old_loss", "reward_diversity",
    "reward_length", "reward_training", "job_attempts", "jobs_kept",
    "recite_temperature", "refine_tokens",
)  # fmt: skip
_LOST = (
    "supersede", "core_rank", "core_targets", "core_replay", "core_teacher", "router_mix", "router_mix_temperature",
    "two_step", "candidates", "finalists", "held_out_share",
)  # fmt: skip

REMOVED: Mapping[str, str] = {
    **dict.fromkeys(_FIXED, "its value is fixed now"),
    **dict.fromkeys(_LOST, "what it switched on lost in our measurements and was deleted"),
    "model_genres": "learning.notes_per_statement=0 lets the model write nothing",
    "ray_address": "policy.executor takes the address",
    **dict.fromkeys(("router_index", "router_judge"), "answering.router chooses between words and learned"),
    **dict.fromkeys(("router_embedder", "router_confidence"), "answering.router=learned uses what was measured best"),
}  # old name to the reason, and what to do instead


def unknown(name: str, told: str, fields: Mapping[str, FieldInfo], *, shown: Callable[[str], str] = str) -> str:
    """Say of a name that is no setting what it is called now, why it went, or which known name is nearest.

    `told` names it in the message, `fields` are the settings by dotted name, `shown` spells a dotted name.
    """
    if name in RENAMED:
        return f"{told} is now {shown(RENAMED[name])}"
    if name in REMOVED:
        return f"{told} was removed: {REMOVED[name]}"
    if inner := [known for known in fields if known.startswith(f"{name}.")]:
        return f"{told} is a group of settings; expected one of them, such as {shown(inner[0])}"
    spellings = {known.rpartition(".")[2]: known for known in reversed(list(fields))}
    spellings |= {**RENAMED} | {known: known for known in fields}
    found = difflib.get_close_matches(name, spellings, n=1)
    if found:
        return f"unknown {told}; did you mean {shown(spellings[found[0]])}?"
    return f"unknown {told}; known settings: " + ", ".join(shown(known) for known in fields)


def explain(error: ValidationError, origins: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> str:
    """One sentence for each of pydantic's problems: where, which setting, which value, what was expected.

    `origins` has the text in front of the sentence, by dotted name.
    """
    sentences = []
    for problem in error.errors(include_url=False):
        parts = [str(part) for part in problem["loc"]]
        name = parts[0] if parts[0] in fields else ".".join(parts[:2])
        told = problem["msg"].removeprefix("Value error, ")
        expected = told[0].lower() + told[1:]
        where, meaning = origins.get(name, ""), fields[name].description
        sentences.append(f"{where}setting {name} ({meaning}) is {problem['input']!r}: {expected}")
    return "; ".join(sentences)
