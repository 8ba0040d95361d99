"""Personal data in text, found by Presidio (extra `privacy`); a `TextClassifier` for `SealMemory.open(classifier=...)`.

By default only what its patterns and checksums prove counts: card numbers, IBANs and telephone numbers, without a
language model and without a network. Names, addresses and more need an `AnalyzerEngine` of your own. Not here: keys and
tokens (`secrets`), which are always looked for; e-mail addresses by default, whose recognizer loads a list of domains
from the network when it is first used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from seal_memory.errors import SettingsError
from seal_memory.records import Role

__all__ = ["PersonalDataClassifier"]

_LEAST_SCORE = 0.4  # Presidio's own for a telephone number that a country's plan knows


class PersonalDataClassifier:
    """Holds back texts with personal data. Presidio is imported when the first text is classified.

    `analyzer`: a Presidio `AnalyzerEngine`; None: patterns alone. `entities`: the kinds that count; empty: all that the
    analyzer knows. Raises `SettingsError` where Presidio is not installed.
    """

    def __init__(
        self,
        analyzer: Any = None,
        *,
        entities: Sequence[str] = (),
        language: str = "en",
        least_score: float = _LEAST_SCORE,
    ) -> None:
        if analyzer is None and find_spec("presidio_analyzer") is None:
            raise SettingsError("PersonalDataClassifier needs Presidio: pip install 'seal-memory[privacy]'")
        self._analyzer, self._entities = analyzer, tuple(entities)
        self._language, self._least_score = language, least_score

    def objection(self, text: str, role: Role) -> str | None:
        """Names the kinds of personal data in a text, never the data; None without any."""
        kinds = sorted({f.entity_type for f in self._found(text) if f.score >= self._least_score})
        return f"holds personal data ({', '.join(k.lower().replace('_', ' ') for k in kinds)})" if kinds else None

    def _found(self, text: str) -> list[Any]:
        if self._analyzer is not None:
            wanted = list(self._entities) or None
            return list(self._analyzer.analyze(text=text, language=self._language, entities=wanted))
        found: list[Any] = []
        for recognizer in self._recognizers:
            kinds = [k for k in recognizer.supported_entities if not self._entities or k in self._entities]
            found += (recognizer.analyze(text, kinds, None) or []) if kinds else []
        return found

    @cached_property
    def _recognizers(self) -> tuple[Any, ...]:
        from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, IbanRecognizer, PhoneRecognizer

        return CreditCardRecognizer(), IbanRecognizer(), PhoneRecognizer()
