"""Text normalisation for the local grader: tokens with stems and number values.

Rules for English: accents removed, number words and digits share one value, plurals and common endings cut, a base
model's self-asked follow-up questions removed, sentences addressed to the grader detected. Not covered: synonyms, unit
conversion, other languages' endings. Not here: features over these forms (`grader_features`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from seal_memory.language.text import STOP_WORDS, sentences, word_set

__all__ = ["NEGATIONS", "Token", "head", "initials", "stem", "tokenise", "strip_grader_talk"]

MAX_CHARACTERS = 4000  # of an answer; the rest is ignored

NEGATIONS = word_set("not no never none neither nor without cannot nobody nothing unable n't")
_SPECIAL = str.maketrans({"æ": "ae", "ø": "o", "ł": "l", "ß": "ss", "œ": "oe", "đ": "d", "’": "'", "‘": "'", "μ": "u"})


def _counted(words: str, *, start: int = 0, step: int = 1) -> dict[str, int]:
    return {word: start + step * n for n, word in enumerate(words.split())}


_UNITS = _counted(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = _counted("twenty thirty forty fifty sixty seventy eighty ninety", start=20, step=10)
_ORDINALS = _counted(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth",
    start=1,
)
_SCALES = {"hundred": 100.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12.0}
_SHORT = {"jan": "january", "feb": "february", "mar": "march", "apr": "april", "aug": "august", "sept": "september",
          "sep": "september", "oct": "october", "nov": "november", "dec": "december", "us": "usa", "uk": "britain",
          "percentage": "percent", "pct": "percent", "km": "kilometer", "kms": "kilometer", "mi": "mile",
          "st": "saint", "dr": "doctor"}  # fmt: skip
MONTHS = word_set("january february march april may june july august september october november december")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or number: lower-cased `text`, `stem` for comparing, `value` of a number, and flags."""

    text: str
    stem: str
    value: float | None
    is_name: bool  # capitalised, and not merely first in a sentence
    is_stop: bool
    sentence: int

    @property
    def is_year(self) -> bool:
        return self.value is not None and self.text.isdigit() and 1000 <= self.value <= 2100


_PIECE = re.compile(
    r"(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<ordinal>(?:st|nd|rd|th|s)\b)?"
    r"|(?P<word>[^\W\d_](?:[^\W\d_]|'(?=[^\W\d_]))*)|(?P<sign>[%°+])|(?P<stop>[.!?](?=\s|$)|\n)"
)
_DOTTED = re.compile(r"\b(?:[^\W\d_]\.){2,}")


def tokenise(text: str) -> list[Token]:
    """Tokens of a text; hyphenated words are split, number words are joined to one value."""
    plain = unicodedata.normalize("NFKD", text[:MAX_CHARACTERS].replace("–", " - ").replace("½", ".5"))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).translate(_SPECIAL)
    plain = _DOTTED.sub(lambda m: m.group().replace(".", ""), plain)
    tokens: list[Token] = []
    sentence, opening = 0, True
    for match in _PIECE.finditer(plain):
        if match.group("stop"):
            sentence, opening = sentence + (not opening), True
            continue
        tokens.extend(_tokens_of(match, sentence, opening))
        opening = False
    return _join_numbers(tokens)


def _tokens_of(match: re.Match[str], sentence: int, opening: bool) -> list[Token]:
    if match.group("number"):
        digits = match.group("number").replace(",", "")
        return [_number(digits, float(digits), sentence)]
    if match.group("sign"):
        word = {"%": "percent", "°": "degree", "+": "plus"}[match.group("sign")]
        return [Token(word, word, None, False, False, sentence)]
    written = match.group("word")
    lowered = written.lower()
    if lowered.endswith("n't"):
        return [Token("n't", "n't", None, False, True, sentence)]
    lowered = lowered.removesuffix("'s").replace("'", "")
    if lowered in _ORDINALS:
        return [_number(lowered, float(_ORDINALS[lowered]), sentence)]
    lowered = _SHORT.get(lowered, lowered) if lowered != "us" or written.isupper() else lowered
    if lowered == "half":
        return [_number(lowered, 50.0, sentence)]  # per cent
    if lowered == "one":
        return [Token(lowered, "#1", None, False, True, sentence)]
    name = written[0].isupper() and (not opening or written[1:].lower() != written[1:])
    return [Token(lowered, stem(lowered), None, name, lowered in STOP_WORDS, sentence)]


def _number(text: str, value: float, sentence: int) -> Token:
    return Token(text, f"#{value:g}" if abs(value) < 1e5 else f"#{value:.6g}", value, False, False, sentence)


def _join_numbers(tokens: list[Token]) -> list[Token]:
    """'twenty five' and '1.5 million' become one number each; 'one' alone stays a word that also is a number."""
    joined: list[Token] = []
    index = 0
    while index < len(tokens):
        value, after = _number_at(tokens, index)
        if value is None:
            joined.append(tokens[index])
        else:
            text = tokens[index].text if after == index + 1 else " ".join(t.text for t in tokens[index:after])
            joined.append(_number(text, value, tokens[index].sentence))
        index = after
    return joined


def _number_at(tokens: list[Token], index: int) -> tuple[float | None, int]:
    """Value of the number that begins at `index`, and the index behind it; value None when there is none."""
    total, current, last = 0.0, None, 0.0
    start = index
    if tokens[index].text == "one" and not (index + 1 < len(tokens) and tokens[index + 1].text in _SCALES):
        return None, index + 1
    while index < len(tokens) and tokens[index].sentence == tokens[start].sentence:
        token = tokens[index]
        if token.text in _SCALES and current is not None:
            if _SCALES[token.text] == 100:
                current *= 100
            else:
                total, current = total + current * _SCALES[token.text], 0.0
            last = 1e9
        elif token.text in _TENS and (current in (None, 0.0) or last > 99):
            current, last = (current or 0.0) + _TENS[token.text], 10.0
        elif token.text in _UNITS and (current is None or last >= 10):
            current, last = (current or 0.0) + _UNITS[token.text], 1.0
        elif token.value is not None and current is None:
            current, last = token.value, 1.0
        else:
            break
        index += 1
    return (None, start + 1) if current is None else (total + current, index)


# --- stems ---------------------------------------------------------------------------------------

_ENDINGS = (
    "izations", "ization", "fulness", "ousness", "iveness", "ations", "ation", "ments", "ment", "nesses", "ness",
    "ities", "ity", "ingly", "ically", "ional", "ions", "ion", "ings", "ing", "edly", "ies", "ied", "ers", "ally",
    "ors", "ive", "ism", "ists", "ist", "ical", "ence", "ance", "ent", "ant", "able", "ible", "ful", "ous", "ed",
    "er", "or", "ly", "es", "al", "ic", "s", "e", "y",
)  # fmt: skip
_IRREGULAR = {
    "sold": "sell", "built": "build", "bought": "buy", "taught": "teach", "caught": "catch", "fought": "fight",
    "brought": "bring", "thought": "think", "fled": "flee", "led": "lead", "grew": "grow", "grown": "grow",
    "knew": "know", "known": "know", "wrote": "write", "written": "write", "gave": "give", "given": "give",
    "took": "take", "taken": "take", "won": "win", "lost": "lose", "died": "death", "dead": "death", "die": "death",
    "men": "man", "women": "woman", "children": "child", "people": "person", "lives": "life", "wives": "wife",
    "shrank": "shrink", "shrunk": "shrink", "fell": "fall", "rose": "rise", "risen": "rise", "stole": "steal",
    "stolen": "steal", "sent": "send", "paid": "pay", "held": "hold", "left": "leave", "lay": "lie", "met": "meet",
    "ran": "run", "saw": "see", "seen": "see", "spoke": "speak", "spoken": "speak", "began": "begin",
    "begun": "begin", "became": "become", "chosen": "choose", "chose": "choose", "drew": "draw", "drawn": "draw",
    "feet": "foot", "better": "good", "best": "good", "larger": "large", "largest": "large",
}  # fmt: skip


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A rough stem: irregular forms first, then endings cut as long as four letters (three for a plural) remain."""
    word = _IRREGULAR.get(word, word)
    for _ in range(2):
        for ending in _ENDINGS:
            keep = 3 if ending in ("s", "e", "ed", "es") else 4
            if word.endswith(ending) and len(word) - len(ending) >= keep and not word.endswith("ss"):
                word = word[: -len(ending)]
                break
    if len(word) > 3 and word[-1] == word[-2]:
        return word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word.endswith("y") else word


def initials(tokens: list[Token]) -> str:
    """First letters of the tokens that are not stop words."""
    return "".join(t.text[0] for t in tokens if not t.is_stop)


# --- the part of an answer that is read -------------------------------------------------------------------

_NEXT_QUESTION = re.compile(
    r"(?<!\s)(?=[^\S\n]*+\n)\s++(?:Q|Question|Passage|Topic|User|Human|What is the answer|Context|Explanation)\b"
    r"\s*[:?]",
    re.IGNORECASE,
)
_LEAD = re.compile(r"^\s*(?:(?:A|Answer|Response)\s*:\s*)+", re.IGNORECASE)
_TALK = re.compile(
    r"\b(?:this|my|the (?:above|given|following|student'?s?|model'?s?)|that) (?:answer|response|reply|statement)"
    r" (?:is|was|should|must|deserves|counts|matches)\b"
    r"|\b(?:gold|reference|expected|ground[- ]truth|official) (?:answers?|labels?|keys?|solutions?)\b|\bgold\s*[:=]"
    r"|\b(?:ignore|disregard|forget|override) (?:all|any|the|every|your|previous|prior|what)\b"
    r"|\b(?:mark|grade|score|judge|rate|accept|treat|count|consider)\w* (?:this|it|me|my|the (?:answer|response))\b"
    r"|\b(?:grader|evaluator|judges?|examiner)\b[^.!?\n]{0,60}\b(?:should|must|please|mark|accept|correct|note)\b"
    r"|\b(?:verdict|judg[e]?ment|grade|label|correct)\s*[:=]\s*(?:\"?(?:correct|true|yes|right|1|pass))\b"
    r"|\b(?:dear|hello|note to|attention|as (?:a|the)) (?:the )?(?:grader|judge|evaluator|examiner)\b"
    r"|\b(?:is|are) (?:definitely |certainly |absolutely )?(?:correct|right) according to\b",
    re.IGNORECASE,
)


def head(answer: str) -> str:
    """The answer without a leading 'Answer:' and without a base model's self-asked follow-up questions."""
    text = _LEAD.sub("", answer[:MAX_CHARACTERS].strip())
    match = _NEXT_QUESTION.search(text)
    cut = text[: match.start()] if match else text
    return _LEAD.sub("", cut) if cut.strip() else text


def strip_grader_talk(answer: str) -> str:
    """The answer without sentences addressed to the grader; unchanged when there are none."""
    if not _TALK.search(answer):
        return answer
    return " ".join(piece for piece in sentences(answer) if not _TALK.search(piece))
