"""Text functions: answer normalisation, sentence splitting, content words, chunking, binary detection.

Rules for English, harmless in other languages that put a space after a full stop. Not here: tokenisation for a model,
spans inside a sentence (`spans`), choosing texts to learn (`intake.admission`), code blocks (treated like prose).
"""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from seal_memory._internal.scripts import FUNCTION_PAIRS, fold, is_particle, pieces, word_pattern
from seal_memory.errors import InputError

__all__ = [
    "STOP_WORDS",
    "chunks",
    "content_words",
    "is_binary_junk",
    "normalise",
    "sentences",
    "stem",
    "strip_markup",
    "word_set",
]


def word_set(words: str) -> frozenset[str]:
    """Set of the whitespace-separated words of a string."""
    return frozenset(words.split())


STOP_WORDS: frozenset[str] = word_set(
    """a about above after again against all almost along already also although always am among an and
    another any anybody anyone anything are around as at away back be because became become been before
    behind being below between both but by came can cannot come comes could did do does doing done down
    during each either else ever every everybody everyone everything few for from further gave get gets
    give given go goes going gone got had has have having he her here hers herself him himself his how
    however i if in instead into is it its itself just keep kept least less let like made make makes
    many may me might mine more most much must my myself near neither never next no nobody none nor not
    nothing now of off often on once one only onto or other others our ours ourselves out over own per
    perhaps please quite rather really said same say says shall she should since so some somebody
    someone something still such than that the their theirs them themselves then there therefore these
    they this those though through thus to together too toward towards under until up upon us use used
    very was we well went were what whatever when whenever where wherever whether which while who
    whoever whom whose why will with within without would yet you your yours yourself yourselves don
    doesn didn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn can't cannot don't doesn't
    didn't isn't aren't wasn't weren't hasn't haven't hadn't won't wouldn't couldn't shouldn't i'm i've
    i'd i'll you're you've you'd you'll he'd he'll she'd she'll we're we've we'd we'll they're they've
    they'd they'll"""
)

# --- normalising and words ---------------------------------------------------------------------

_ARTICLES = frozenset({"a", "an", "the"})


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def normalise(text: str) -> str:
    """SQuAD's answer normalisation: lower case, no punctuation, no articles, single spaces.

    Removes the punctuation of all scripts, not only ASCII's. Idempotent; may return "".
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    kept = "".join(char for char in lowered if not _is_punctuation(char))
    words = unicodedata.normalize("NFC", kept).split()
    return " ".join(word for word in words if word not in _ARTICLES)


@cache
def _content_word() -> re.Pattern[str]:
    word = word_pattern().pattern
    return re.compile(rf"\d+(?:[.,:/]\d+)+|{word}(?:-[^\W_]*\d[^\W_]*)*(?:'{word})*")


def content_words(text: str) -> list[str]:
    """Folded words without stop words and question words, in order, with repetitions.

    Numbers and codes ('3,200', '6:40', 'k-7741') stay whole, other hyphenated words are split, a possessive 's is cut.
    Of scripts without spaces the words are pairs of characters (`_internal.scripts`).
    """
    words = (match.group().removesuffix("'s") for match in _content_word().finditer(fold(text).replace("’", "'")))
    split = (piece for word in words for piece in pieces(word))
    return [word for word in split if not (word in STOP_WORDS or word in FUNCTION_PAIRS or is_particle(word))]


def stem(word: str) -> str:
    """Crude stem that matches plural, past tense, possessive and "-ion"."""
    for ending in ("'s", "ing", "ion", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


# --- sentences ---------------------------------------------------------------------------------

# Abbreviations that never end a sentence.
_TITLES = word_set(
    """dr mr mrs ms prof st sgt capt cpt lt col gen cmdr rev hon pres gov sen rep mt ft messrs mx e.g i.e
    cf vs v viz approx ca fig figs eq eqs sec vol vols pp ed eds nos al resp incl est jan feb mar apr
    jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri sat sun"""
)
# Abbreviations only in front of a figure: "No. 5", "p. 12".
_BEFORE_FIGURES = word_set("no p art ch ext tel par")
# Abbreviations that may end a sentence; the next word decides.
_MAY_END = word_set("""etc inc ltd co corp jr sr bros u.s u.k u.s.a u.n e.u d.c a.m p.m ph.d b.a m.a m.d b.c a.d n.b""")
# Words that begin a sentence much more often than they follow an abbreviation.
_OPENING_WORDS = word_set(
    """a after all although an and another are as at before both but by can did do does during each every
    for from had has have he her here his how however i if in instead is it its later many may more most
    my no not on once one only our please several she since so some such that the their then there these
    they this those to today two under until was we were what when where which while who why will with
    yes you your"""
)

_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)|(?<![。！？।॥။។۔؟])[。！？।॥။។۔؟]++[」』”’）]*+")
_NEXT_WORD = re.compile(r"\s*[\"'“‘«(\[*_]*(?P<word>[^\W_]{0,40})")
_BLOCK_START = re.compile(r"\s{0,12}(?:[-*+•–]\s|\d{1,3}[.)]\s|[a-z]\)\s|#{1,6}\s|>|\||```|~~~)")
_HORIZONTAL_RULE = re.compile(r"\s*(?:=+|-{2,}|\*{3,})\s*$")
_MIN_WRAPPED = 50  # characters; a shorter line was ended by its writer, not by a line-wrapping program


def sentences(text: str) -> list[str]:
    """Split text into sentences, each with its whitespace collapsed.

    Lossless up to whitespace. Blank lines, headings, list items, table rows and short unwrapped lines end a
    sentence, too.
    """
    pieces: list[str] = []
    start = 0
    for end in [*_sentence_ends(text), len(text)]:
        piece = " ".join(text[start:end].split())
        if piece:
            pieces.append(piece)
        start = end
    return pieces


def _sentence_ends(text: str) -> list[int]:
    """End offsets of the sentences, ascending; the end of the text may be missing."""
    ends: list[int] = []
    starts = [*_block_starts(text), len(text)]
    for start, stop in pairwise(starts):
        casual = _first_letter_is_lower(text, start, stop)
        sentence = start
        for match in _SENTENCE_END.finditer(text, start, stop):
            if _ends_sentence(text, sentence, match, casual):
                ends.append(match.end())
                sentence = match.end()
        if not ends or ends[-1] < stop:
            ends.append(stop)
    return ends


def _block_starts(text: str) -> list[int]:
    """Offsets of the lines that begin a block: paragraph, heading, list item, short line."""
    starts = [0]
    offset = 0
    previous = ""
    for line in text.splitlines(keepends=True):
        if offset and line.strip() and _begins_block(previous, line):
            starts.append(offset)
        previous = line
        offset += len(line)
    return starts


def _begins_block(previous: str, line: str) -> bool:
    before = previous.strip()
    if not before or _BLOCK_START.match(line) or before.startswith(("#", "|")):
        return True
    if _HORIZONTAL_RULE.match(line):
        return False
    if _HORIZONTAL_RULE.match(previous):
        return True
    if len(before) >= _MIN_WRAPPED or before[-1] in ".!?…,;&-–—":
        return False
    first = line.lstrip()[0]
    return (first.isupper() or first.isdigit()) and before.split()[-1].lower() not in STOP_WORDS


def _first_letter_is_lower(text: str, start: int, stop: int) -> bool:
    for index in range(start, min(stop, start + 40)):
        if text[index].isalpha():
            return text[index].islower()
    return False


def _ends_sentence(text: str, start: int, match: re.Match[str], casual: bool) -> bool:
    """Whether the punctuation at `match` ends the sentence that begins at `start`."""
    mark = match.group()
    following = _NEXT_WORD.match(text, match.end())
    word = following.group("word") if following else ""
    before = text[max(start, match.start() - 24) : match.start()].split()
    token = before[-1].lstrip("\"'“‘«([*_") if before else ""
    if mark[0] in "。！？।॥။។۔؟" or not word:
        return True
    if mark[0] in "!?":
        return _exclamation_ends(mark, word, token, first=len(before) <= 1)
    if mark.rstrip("\"'”’»)]*_") in ("...", "…"):
        return not word[0].islower()
    opening = match.start() - len(token)
    first = opening - start <= 12 and not text[start:opening].strip()
    return _full_stop_ends(token, word, casual, first=first)


def _exclamation_ends(mark: str, word: str, token: str, *, first: bool) -> bool:
    if not word[0].islower():
        return True
    if mark[-1] not in "!?":  # a closing quote: "Who?" he asked
        return False
    return first or not token[:1].isupper()  # not "the Yahoo! shares"


def _full_stop_ends(token: str, word: str, casual: bool, *, first: bool) -> bool:
    name = token.lower()
    if first and token.isdigit() and len(token) <= 3:  # a list's "1."
        return False
    if name in _TITLES:
        return False
    if name in _BEFORE_FIGURES and word[0].isdigit():
        return False
    initial = len(token) == 1 and token.isalpha() and token.isupper()
    if initial or name in _MAY_END or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", token):
        return word.lower() in _OPENING_WORDS and word[0].isupper()
    return casual or not word[0].islower()


_MARKUP = re.compile(r"^\s*(?:#{1,6}\s+|[-*+•–]\s+|\d{1,3}[.)]\s+|[a-z]\)\s+|>\s*)+")


def strip_markup(sentence: str) -> str:
    """Remove heading, list and quote marks in front of a sentence."""
    return _MARKUP.sub("", sentence).strip()


# --- chunks and junk ---------------------------------------------------------------------------

_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


def chunks(text: str, max_chars: int) -> list[str]:
    """Split a text into pieces of at most `max_chars`, at paragraphs, else sentences, words, anywhere.

    Pieces are verbatim slices, stripped; only whitespace is lost. A text of whitespace gives []. Raises InputError
    when `max_chars` is below 1.
    """
    if max_chars < 1:
        raise InputError(f"max_chars is {max_chars}; expected at least 1")
    if len(text.strip()) <= max_chars:
        return [text.strip()] if text.strip() else []
    paragraphs = [match.start() for match in _PARAGRAPH.finditer(text)]
    ends = _sentence_ends(text)
    pieces: list[str] = []
    start = _skip_space(text, 0)
    while start < len(text):
        end = _cut(text, start, max_chars, paragraphs, ends)
        pieces.append(text[start:end].rstrip())
        start = _skip_space(text, end)
    return pieces


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _cut(text: str, start: int, size: int, paragraphs: Sequence[int], ends: Sequence[int]) -> int:
    limit = start + size
    if limit >= len(text):
        return len(text)
    paragraph = _last_at_most(paragraphs, limit)
    if paragraph - start >= size // 4 and paragraph > start:
        return paragraph
    sentence = _last_at_most(ends, limit)
    if sentence > start:
        return sentence
    for index in range(limit, start, -1):
        if text[index].isspace():
            return index
    return limit


def _last_at_most(offsets: Sequence[int], limit: int) -> int:
    index = bisect_right(offsets, limit)
    return offsets[index - 1] if index else -1


_CONTROL = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd\ud800-\udfff\ufff0-\ufff8]")
_JUNK_SHARE = 0.1


def is_binary_junk(text: str) -> bool:
    """Whether a text has a NUL, or more than a tenth of control or replacement characters."""
    if "\x00" in text:
        return True
    return bool(text) and len(_CONTROL.findall(text)) > _JUNK_SHARE * len(text)
