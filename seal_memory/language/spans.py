"""Answer spans in one sentence: names, numbers, dates, quotes, noun-like chunks.

Rules for English on capital letters, figures and word lists, without a model: fast and deterministic. They aim for
recall; callers check a span before training on it. Not here: numbers and dates (`quantities`), part-of-speech tagging,
coreference, names written in lower case, languages that capitalise every noun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seal_memory.language.quantities import Span, SpanKind, dates, make_span, numbers
from seal_memory.language.text import STOP_WORDS, word_set

__all__ = ["Span", "SpanKind", "answer_spans", "dates", "names", "numbers"]

_RANK = {kind: rank for rank, kind in enumerate(SpanKind)}


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    text: str
    possessive: bool

    @property
    def lower(self) -> str:
        return self.text.lower()

    @property
    def is_capital(self) -> bool:
        if any(char.isdigit() for char in self.text) or self.text == "I":
            return False
        return any(char.isupper() for char in self.text) and self.text[:2] not in ("I'", "I’")


_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|&")


def _words(sentence: str) -> list[_Word]:
    found: list[_Word] = []
    for match in _WORD.finditer(sentence):
        possessive = len(match.group()) > 2 and match.group()[-2:] in ("'s", "’s")
        end = match.end() - 2 if possessive else match.end()
        found.append(_Word(match.start(), end, sentence[match.start() : end], possessive))
    return found


# --- names -------------------------------------------------------------------------------------

_CONNECTORS = word_set("of de la le du des van von der den di da del della dos al bin ibn el & ter ten")
_EPITHETS = word_set("great terrible younger elder wise bold bald conqueror confessor magnificent")
_ABBREVIATED = word_set("Dr Mr Mrs Ms Prof St Capt Sgt Lt Col Gen Rev Hon Mt Ft Sen Gov")
_DAYS_AND_MONTHS = word_set(
    """monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays
    fridays saturdays sundays january february march april may june july august september october
    november december"""
)
_ALSO_FIRST_NAMES = frozenset({"april", "may", "june", "august"})
_BEFORE_MONTHS = word_set("in on since until till by of from last next this every early late mid")
# Not names when they are the capitalised first word of a sentence; stop words are added to these.
_OPENING_WORDS = word_set(
    """according additionally afterwards allergic anyway attention besides big bring call careful clearly
    correct currently customers dear despite eventually exactly finally first firstly following
    fortunately furthermore generally good great hello hence hey hi important indeed inside instead last
    lastly later maybe meanwhile moreover new nice nine none note nowadays ok okay old originally
    outside people previously really recently regarding remember reminder second secondly seven
    similarly six some sometimes somehow soon ten thanks third three today tomorrow tonight two
    unfortunately unlike update usually whenever yes yesterday"""
)
# Occupations, cut off in front of a full name at a sentence's start: "Foreman Iwan Sorrel".
_OCCUPATIONS = word_set(
    """actor actress apprentice architect artist assistant author baker builder butcher carpenter chef
    chemist clerk client coach colleague composer cook customer dentist designer director driver
    engineer farmer foreman fisherman gardener guard guest harbourmaster historian journalist lawyer
    librarian manager mechanic musician neighbour neighbor novelist nurse owner painter patient
    philosopher physicist pilot plumber poet producer programmer reporter researcher sailor scientist
    secretary singer soldier student supplier surgeon tailor teacher technician tenant visitor volunteer
    waiter waitress watchman worker writer"""
)
_PLACE_HEADS = word_set(
    """avenue bay beach bridge canal cape castle cliff coast county creek desert district falls fjord
    forest gardens glacier gulf harbour harbor hill hills island islands isle lake lane marsh mountain
    mountains ocean park peninsula pier plaza point port province quay reef river road rock sea skerry
    square station strait street swamp valley village wharf woods"""
)
_PLACE_BEFORE = re.compile(
    r"(?:\b(?:in|near|outside|inside|throughout|across)(?: the)?|\b(?:town|village|city|island|port"
    r"|region|state|province|county|valley|district|country|capital|harbour|coast) of|\b(?:lives?|living"
    r"|located|based|born|moved"
    r"|moves|held) (?:at|to|in)) $"
)
_LANGUAGE = re.compile(r"\w+(?:ese|ish)|German|French|Latin|Greek|Dutch|Italian|Russian|Arabic|Norwegian|Hindi")
_HEADER = re.compile(r"\W*\w+(?: [a-z]\S*){0,5}: ")


def names(sentence: str) -> list[Span]:
    """Find names and places: runs of capitalised words, joined across 'of', 'de', '&' and the like.

    A single first word of the sentence counts only when it is not a common opening word. Months and weekdays are
    dates, words with figures are codes, and a sentence in capitals has no names.
    """
    words = _words(sentence)
    if sentence.isupper() and len(words) > 2:
        return []
    found: list[Span] = []
    index = 0
    while index < len(words):
        if not words[index].is_capital:
            index += 1
            continue
        last = index
        while (following := _continues(sentence, words, last)) is not None:
            last = following
        run = _trim(sentence, words, index, last)
        if run is not None:
            start, end = words[run[0]].start, words[run[1]].end
            found.append(make_span(sentence, start, end, _name_kind(sentence, start, end)))
        index = last + 1
    return found


def _continues(sentence: str, words: list[_Word], last: int) -> int | None:
    """Index of the next capitalised word of the same name, or None."""
    index = last
    while index + 1 < len(words) and index - last < 3:
        if words[index].possessive or not _adjacent(sentence, words[index], words[index + 1]):
            return None
        index += 1
        word = words[index]
        if word.is_capital:
            return index
        if word.lower in _CONNECTORS or (word.text == "the" and _the_inside_name(words, index, last)):
            continue
        return None
    return None


def _adjacent(sentence: str, word: _Word, following: _Word) -> bool:
    gap = sentence[word.end : following.start]
    if gap == " ":
        return True
    dotted = len(word.text) == 1 or word.text in _ABBREVIATED
    return dotted and gap in (".", ". ")


def _the_inside_name(words: list[_Word], index: int, last: int) -> bool:
    if index > last + 1:  # 'Museum of the Sea'
        return True
    return index + 1 < len(words) and words[index + 1].lower in _EPITHETS


def _trim(sentence: str, words: list[_Word], first: int, last: int) -> tuple[int, int] | None:
    """Cut words that are capitalised for another reason off a run's start; None when nothing remains."""
    opening = first == 0 or sentence[: words[first].start].rstrip()[-1:] in tuple('.!?"“‘(')
    run_start = first
    while first <= last and _is_not_name(words, first, last, opening and first == run_start):
        first += 1
        while first <= last and words[first].lower in (*_CONNECTORS, "the"):
            first += 1
    if first > last:
        return None
    if opening and first == run_start:
        if last - first >= 2 and words[first].lower in _OCCUPATIONS:
            return first + 1, last
        if first == last and not _first_word_is_name(sentence, words, first):
            return None
    return first, last


def _is_not_name(words: list[_Word], index: int, last: int, opening: bool) -> bool:
    word = words[index].lower
    if word in _DAYS_AND_MONTHS:
        before = words[index - 1].lower if index else ""
        return not (word in _ALSO_FIRST_NAMES and index < last and before not in _BEFORE_MONTHS)
    if opening and index < last:
        if word in ("will", "may"):
            return False
        if word.endswith("s") and not words[index + 1].is_capital:  # 'Pupils of Saint Brannoc'
            return True
    if word in ("the", "a", "an", "my", "our", "your", "his", "her", "their", "this", "that"):
        return True
    return opening and (word in STOP_WORDS or word in _OPENING_WORDS)


def _first_word_is_name(sentence: str, words: list[_Word], index: int) -> bool:
    word = words[index]
    others = [w.text for i, w in enumerate(words) if i != index]
    if word.text in others:
        return True
    if word.lower in others or _HEADER.match(sentence):
        return False
    return len(word.text) > 1 and not word.lower.endswith(("ly", "ing"))


def _name_kind(sentence: str, start: int, end: int) -> SpanKind:
    name = sentence[start:end]
    if name.split()[-1].lower() in _PLACE_HEADS:
        return SpanKind.PLACE
    if _LANGUAGE.fullmatch(name):
        return SpanKind.NAME
    return SpanKind.PLACE if _PLACE_BEFORE.search(sentence[max(0, start - 24) : start]) else SpanKind.NAME


# --- quotes and chunks -------------------------------------------------------------------------

_QUOTES = re.compile(
    r"\"(?P<a>[^\"“”]{1,80})\"|“(?P<b>[^\"“”]{1,80})”|«(?P<c>[^«»]{1,80})»"
    r"|(?<!\w)[‘'](?P<d>[^‘’'\"]{1,80})[’'](?!\w)"
)
_IRREGULAR = word_set(
    """ate became began bought broke brought built came caught chose drew drove felt found gave got grew
    held kept knew led left lost made met paid ran sang saw sent sold spent spoke stood stole swam
    taught told took went won wore wrote given taken written"""
)
_AUXILIARIES = word_set("is are was were be been being has have had")
_PRONOUNS = word_set("who that which i we they he she it")
_CHUNK_BREAKS = word_set("called named nicknamed inside outside exactly ago per later earlier")
_MAX_CHUNK_WORDS = 3


def _quotes(sentence: str) -> Iterator[Span]:
    for match in _QUOTES.finditer(sentence):
        start, end = match.span(match.lastgroup or 0)
        if sentence[start:end].strip():
            yield make_span(sentence, start, end, SpanKind.QUOTE)


def _chunks(sentence: str) -> Iterator[Span]:
    """Runs of one to three content words between function words, without a leading verb."""
    words = _words(sentence)
    index = 0
    while index < len(words):
        if _breaks_chunk(words[index]):
            index += 1
            continue
        last = index
        while _chunk_continues(sentence, words, last):
            last += 1
        first = index + 1 if _opens_with_verb(sentence, words, index) else index
        if first <= last < first + _MAX_CHUNK_WORDS and last > 0:
            yield make_span(sentence, words[first].start, words[last].end, SpanKind.CHUNK)
        index = last + 1
    yield from _after_called(sentence)


def _breaks_chunk(word: _Word) -> bool:
    return word.text == "&" or word.lower in STOP_WORDS or word.lower in _CHUNK_BREAKS


def _chunk_continues(sentence: str, words: list[_Word], last: int) -> bool:
    if last + 1 >= len(words) or words[last].possessive:
        return False
    here, following = words[last], words[last + 1]
    if sentence[here.end : following.start] != " " or _breaks_chunk(following):
        return False
    return last == 0 or following.is_capital or not here.is_capital  # 'the tug Brassica | runs'


def _opens_with_verb(sentence: str, words: list[_Word], index: int) -> bool:
    """Whether the word is a verb after a name or auxiliary: 'Velmar Timber | brings larch planks', 'was | built'."""
    if index == 0 or sentence[words[index - 1].end : words[index].start] != " ":
        return False
    before, word = words[index - 1], words[index].lower
    if before.lower in _AUXILIARIES:
        return word.endswith("ed") or word in _IRREGULAR
    named = before.is_capital or before.lower in _PRONOUNS
    return named and not words[index].is_capital and (word.endswith(("s", "ed")) or word in _IRREGULAR)


_CALLED = re.compile(r"\b(?:called|named|nicknamed|christened|titled) (?:the )?(?=[A-Z])")
_TITLE_RUN = re.compile(r"[A-Z][\w'’-]*(?:(?: (?:and|of|the|&|de|la|van|von)){0,2} [A-Z][\w'’-]*){0,4}")


def _after_called(sentence: str) -> Iterator[Span]:
    for match in _CALLED.finditer(sentence):
        run = _TITLE_RUN.match(sentence, match.end())
        if run:
            yield make_span(sentence, run.start(), run.end(), SpanKind.CHUNK)


def answer_spans(sentence: str) -> list[Span]:
    """Find all spans that could be an answer, ordered by `SpanKind`, then in reading order.

    No two have the same bounds. A number inside a name or a name inside a code is dropped; a chunk may contain a
    whole name, number or quote, but never a part of one.
    """
    dated, numbered = dates(sentence), numbers(sentence)
    codes = [span for span in numbered if span.kind is SpanKind.CODE]
    named = [span for span in names(sentence) if not _inside(span, codes)]
    figures = [span for span in (*dated, *numbered) if not _inside(span, named)]
    quoted = list(_quotes(sentence))
    typed = (*named, *figures, *quoted)
    bounds: dict[tuple[int, int], Span] = {}
    for span in typed:
        bounds.setdefault((span.start, span.end), span)
    for span in _chunks(sentence):
        if not any(_splits(span, other) for other in typed):
            bounds.setdefault((span.start, span.end), span)
    return sorted(bounds.values(), key=lambda span: (_RANK[span.kind], span.start, span.end))


def _inside(span: Span, others: list[Span]) -> bool:
    return any(other.start <= span.start and span.end <= other.end for other in others)


def _splits(chunk: Span, other: Span) -> bool:
    """Whether the chunk contains a part of the other span, but not all of it."""
    overlap = chunk.start < other.end and other.start < chunk.end
    return overlap and not (chunk.start <= other.start and other.end <= chunk.end)
