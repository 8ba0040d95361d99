"""`TextClassifier`: the hook for a classifier of your own, which may hold a text back before it is learned.

Asked for every text of a role that is filtered, after the rules and the search for secrets have found nothing. Hand one
to `SealMemory.open(classifier=...)`; `personal_data` has one for Presidio. Not here: the filter's own rules.
"""

from __future__ import annotations

import logging
from typing import Protocol

from seal_memory.records import Role

__all__ = ["TextClassifier", "ask_classifier"]

_log = logging.getLogger(__name__)


class TextClassifier(Protocol):
    """One method; called by every thread that observes, so it must be safe for threads."""

    def objection(self, text: str, role: Role) -> str | None:
        """Reason to hold the text back, as a phrase for people; None to let it pass."""
        ...


def ask_classifier(classifier: TextClassifier, text: str, role: Role) -> str | None:
    """The classifier's objection. One that fails holds the text back: recording must not end the agent's run."""
    try:
        found = classifier.objection(text, role)
        return None if found is None else str(found).encode("utf-8", "replace").decode()
    except Exception as error:  # noqa: BLE001 (code of others may raise anything)
        _log.warning("The classifier failed with %s: a text waits in quarantine.", type(error).__name__)
        return f"could not be classified ({type(error).__name__})"
