"""What an episode is called for people: the beginning of its first interaction.

Not here: where the names are shown (`page`, the server).
"""

from __future__ import annotations

from seal_memory.ledger import Ledger
from seal_memory.safety.obfuscation import escape_invisible


def episode_names(ledger: Ledger) -> dict[str, str]:
    """Episode id -> name, of every episode with an adapter on record."""
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
