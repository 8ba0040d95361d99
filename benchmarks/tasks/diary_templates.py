"""The sentences of a diary: how each kind of fact is told, how it changes, and how it is asked (diary_data/facts.toml).

Slots: {who} what the fact is about, {Who} at the beginning of a sentence, {bare} without its article; {value} and
{old} the new and the old value, {a} and {a_old} their articles; {species} an animal. Not covered: which facts there
are (`diary_facts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.tasks.diary_words import DRAWS, Draw, one_of, read

INDIRECT = (
    "I need to know {ask}.",
    "Do you remember {ask}?",
    "Can you tell me {ask}?",
    "I have forgotten {ask}, do you still know?",
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that can be told of a sort of subjects (`topic`).

    `told`: statements; `clause`: what can be joined to another clause about the same subject; `changed`: statements of
    a new value. `plain`, `inverted`, `terse`, `ask` (the clause of an indirect question) and `paraphrase` ask for the
    value, `reverse` asks whom it belongs to. `unique`: no two subjects ever have the same value.
    """

    name: str
    topic: str
    kind: str
    value: Draw
    told: tuple[str, ...]
    plain: tuple[str, ...]
    inverted: str
    terse: str
    ask: str
    paraphrase: tuple[str, ...]
    changed: tuple[str, ...] = ()
    clause: str = ""
    reverse: tuple[str, ...] = ()
    unique: bool = False

    def questions(self) -> dict[str, tuple[str, ...]]:
        """The wordings by phrasing, without those that ask in reverse."""
        return {
            "plain": self.plain,
            "inverted": (self.inverted,),
            "terse": (self.terse,),
            "indirect": tuple(frame.replace("{ask}", self.ask) for frame in INDIRECT),
            "paraphrase": self.paraphrase,
        }


def _attribute(table: Mapping[str, Any]) -> Attribute:
    """An attribute from its table; raises `KeyError` for an unknown drawing function, `TypeError` for another key."""
    fields: dict[str, Any] = {key: tuple(entry) if isinstance(entry, list) else entry for key, entry in table.items()}
    listed = fields.pop("one_of", None)
    fields["value"] = DRAWS[fields["value"]] if listed is None else one_of(listed)
    return Attribute(**fields)


ATTRIBUTES = tuple(_attribute(table) for table in read("facts")["attribute"])
"""Every kind of fact, in the order in which a sentence of two clauses tells them."""
