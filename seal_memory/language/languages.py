"""Whether a sentence is in another language than English, so that rules for English must not judge it.

Letters of other scripts tell at once, and accents without an English function word. Else py3langid is asked; of a word
or two it is rarely sure, and then the sentence passes for English: "Oslo." and "Piove." look alike.

Not here: which language it is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from seal_memory._internal.scripts import fold, word_pattern
from seal_memory.language.text import STOP_WORDS, word_set

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

__all__ = ["is_foreign"]

_SURE = 0.12  # probability of another language; English sentences get at most 0.1 for one, "Bonjour" 0.15
_LONG = 1000  # characters are enough
_EVERYDAY = word_set(  # of other languages, alone too short for the detector; folded
    """bitte ciao danke dekuji dziekuje gracias grazie hallo hej hola ja kiitos merci nein obrigada obrigado oui prego
    salut salve si tack tak takk tesekkurler"""
)
_NO_LANGUAGE = ("en", "la", "zxx")


def is_foreign(sentence: str) -> bool:
    """Whether the sentence is surely not English. Without letters it is not."""
    letters = [char for char in sentence[:_LONG] if char.isalpha()]
    if not letters:
        return False
    if 2 * sum(char > "\u024f" for char in letters) > len(letters):  # beyond extended Latin
        return True
    words = word_pattern().findall(fold(sentence[:_LONG]))
    english = sum(word in STOP_WORDS for word in words)
    if 2 * english > len(words) or (english > 1 and 2 * english == len(words)):
        return False
    if english <= 1 and not _EVERYDAY.isdisjoint(words):
        return True
    if not english and any(char > "\x7f" for char in letters):
        return True
    language, probability = _identifier().classify(sentence[:_LONG])
    return language not in _NO_LANGUAGE and probability > _SURE


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
