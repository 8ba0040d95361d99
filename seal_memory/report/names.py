"""Names of episodes for people: the title or the beginning of the first interaction. Not here: showing them."""

from __future__ import annotations

from seal_memory.ledger import Ledger
from seal_memory.safety.obfuscation import escape_invisible


def episode_names(ledger: Ledger) -> dict[str, str]:
    """Map the id of every episode that has an adapter on record to its name."""
    texts = {i.id: i.title or i.text for i in ledger.interactions()}
    named = {}
    for record in ledger.adapters():
        first = next((texts[i] for i in record.interaction_ids if i in texts), None)
        if first is not None and record.episode_id is not None:
            named[record.episode_id] = short(escape_invisible(first))
    return named


def short(text: str, width: int = 80) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
