"""Quantity spans in a sentence: dates, numbers, money, clock times, codes; and the `Span` record.

Rules for English, on figures and number words. Not here: names, quotes and chunks (`spans`), relative dates
('tomorrow'), converting a number to a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Span", "SpanKind", "dates", "make_span", "numbers"]


class SpanKind(StrEnum):
    """Kind of a span, in the ranking order of `answer_spans`; decides the question word."""

    NAME = "name"  # who / which: people, companies, products
    PLACE = "place"  # where
    DATE = "date"  # when, which day / year
    TIME = "time"  # at what time
    MONEY = "money"  # how much
    NUMBER = "number"  # how many / how much, with its unit
    CODE = "code"  # what code / number
    QUOTE = "quote"  # what
    CHUNK = "chunk"  # what


@dataclass(frozen=True, slots=True)
class Span:
    """Slice of a sentence: `text == sentence[start:end]`."""

    start: int
    end: int
    text: str
    kind: SpanKind


def make_span(sentence: str, start: int, end: int, kind: SpanKind) -> Span:
    """Span for `sentence[start:end]`."""
    return Span(start, end, sentence[start:end], kind)


# --- dates and numbers -------------------------------------------------------------------------

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
)
_WEEKDAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1\d{3}|20\d{2})"
_BEFORE_DATE = (
    r"(?:in|since|until|till|by|from|of|during|before|after|around|about|last|next|this|every|early|late|mid)"
)

_DATES = [
    re.compile(rf"\b{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR}\b)?"),
    re.compile(rf"\b{_MONTH} {_DAY}\b(?:,? {_YEAR}\b)?"),
    re.compile(rf"\b{_MONTH},? {_YEAR}\b"),
    re.compile(rf"\b{_YEAR}[-/.]\d{{2}}[-/.]\d{{2}}\b|\b\d{{1,2}}[/.]\d{{1,2}}[/.]{_YEAR}\b"),
    re.compile(rf"\b{_WEEKDAY}\b"),
    re.compile(r"\b(?:January|February|April|June|July|August|September|October|November|December)\b"),
    re.compile(rf"(?<=\b){_BEFORE_DATE} (?P<span>March|May)\b", re.IGNORECASE),
    re.compile(rf"\b[Ii]n (?:the )?(?P<span>(?:spring|summer|autumn|winter)(?: of {_YEAR})?)\b"),
    re.compile(r"\b\d{1,4} ?(?:BCE?|AD|CE)\b"),
    re.compile(r"\b(?:1\d|20)\d0s\b|\b\d{1,2}(?:st|nd|rd|th) century\b"),
]
_YEARS = [
    re.compile(rf"\b{_BEFORE_DATE}(?: the)?(?: year)? (?P<span>{_YEAR})(?![\w%]|[.,:]\d|-\w)", re.IGNORECASE),
    re.compile(rf"\b(?:year|between|and|to) (?P<span>{_YEAR})(?![\w%]|[.,:]\d|-\w)(?! [a-z]+s\b)"),
    re.compile(rf"\((?P<span>{_YEAR})\)"),
    re.compile(rf"\b{_YEAR}[-–]{_YEAR}\b"),
]

_ONES = "two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_SCALE = "hundred|thousand|million|billion|trillion|dozen"
_SPELLED = rf"(?:(?:{_TENS})(?:-(?:one|{_ONES}))?|{_TEENS}|{_ONES}|(?:an? |one )?(?:{_SCALE}))"
_WRITTEN = rf"{_SPELLED}(?:(?: and)? {_SPELLED}){{0,5}}"
_FIGURES = r"(?<![\w.,:/-])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
_AMOUNT = rf"(?:{_FIGURES}(?: (?:{_SCALE}))?|\b(?i:{_WRITTEN})\b)"
_FIGURE_END = r"(?![\w]|[.,:/]\d|-\d)"
_CURRENCY = (
    r"(?:dollars?|euros?|cents?|crowns?|kron(?:or|er|a|e)|francs?|yen|rupees?|pesos?|rubles?|guilders?"
    r"|pounds? sterling|shillings?|coins?|USD|EUR|GBP|CHF|SEK|NOK|DKK)"
)
_UNIT = (
    r"(?:(?:square |cubic |nautical )?(?:mm|cm|km|kg|mg|ml|ft|mi|lbs?|oz|kHz|MHz|GHz|kW|MW"
    r"|kB|MB|GB|TB|mph|rpm"
    r"|[mglWV]"
    r"|(?:milli|centi|kilo)?met(?:re|er)s?|feet|foot|inch(?:es)?|miles?|yards?|acres?|hectares?|fathoms?"
    r"|(?:milli|kilo)?grams?|kilos?|tons?|tonnes?|pounds?|ounces?|(?:milli)?lit(?:re|er)s?|gallons?|pints?"
    r"|barrels?"
    r"|seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?|decades?|centuries|knots?"
    r"|degrees?(?: Celsius| Fahrenheit)?|volts?|watts?|amperes?|bar|people|persons?|men|women"
    r"|children|students|members|employees"
    r"|inhabitants|times|percent|per cent|percentage points)\b|[%°]C?|°F)"
)
_LABEL = (
    r"(?:aisle|apartment|article|bay|bed|berth|bin|block|box|building|bus|cabin|channel|chapter|class|desk|dock"
    r"|door|drawer|file|flat|floor|gate|grade|hall|hangar|house|invoice|key|lane|level|line|locker|lot|no\.|number"
    r"|order|page|pier|platform|port|rack|road|room|route|row|seat|section|shelf|slot|stall|table|tank|terminal"
    r"|ticket|track|tram|unit|version|ward|warehouse|zone)"
)
_MONEY = [
    re.compile(rf"[$€£¥] ?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?: (?:{_SCALE})|[kKmM]\b)?{_FIGURE_END}"),
    re.compile(rf"{_AMOUNT} {_CURRENCY}\b"),
]
_TIMES = [
    re.compile(r"(?<![\w:.])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?: ?(?:[ap]\.m\.|[ap]m\b|[AP]M\b))?(?![:\d])"),
    re.compile(r"(?<![\w:.])\d{1,2} ?(?:[ap]\.m\.|[ap]m\b|[AP]M\b|o['’]clock\b)"),
    re.compile(r"\b(?:noon|midnight)\b"),
]
_CODES = [re.compile(r"(?<![\w-])(?=[\w-]{0,39}\d)(?=[\w-]{0,39}[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*(?![\w-])")]
_NOT_CODE = re.compile(rf"(?i:\d+(?:st|nd|rd|th|s)|\d+-?[a-z]{{1,3}}|\d+(?:-[a-z]+)+)$|{_YEAR}-{_YEAR}$")
_NUMBERS = [
    re.compile(rf"\b(?i:{_LABEL}) ?(?:\d+(?:\.\d+)*){_FIGURE_END}"),
    re.compile(rf"{_AMOUNT}[ -]?{_UNIT}(?!\w)"),
    re.compile(rf"{_FIGURES}(?: (?:{_SCALE})\b)?{_FIGURE_END}"),
    re.compile(rf"{_FIGURES}(?=-[a-z])"),
    re.compile(r"\b\d+(?:st|nd|rd|th)\b"),
    re.compile(rf"\b(?i:{_WRITTEN})\b"),
    re.compile(r"\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|half)\b"),
]


def _matches(sentence: str, patterns: Iterable[re.Pattern[str]], kind: SpanKind) -> Iterator[Span]:
    for pattern in patterns:
        for match in pattern.finditer(sentence):
            start, end = match.span("span") if "span" in pattern.groupindex else match.span()
            yield make_span(sentence, start, end, kind)


def _without_overlap(spans: Iterable[Span]) -> list[Span]:
    """Spans in reading order; of two that overlap, the earlier one in `spans` is kept."""
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def dates(sentence: str) -> list[Span]:
    """Find dates with a month, weekdays, seasons, decades and centuries; bare years are in `numbers`."""
    return _without_overlap(_matches(sentence, _DATES, SpanKind.DATE))


def numbers(sentence: str) -> list[Span]:
    """Find amounts with units, money, clock times, years (kind date), ordinals, number words and codes.

    Figures inside a date such as '9 November' are left to `dates`.
    """
    date_spans = dates(sentence)
    codes = (s for s in _matches(sentence, _CODES, SpanKind.CODE) if not _NOT_CODE.match(s.text))
    found = [
        *date_spans,
        *_matches(sentence, _MONEY, SpanKind.MONEY),
        *_matches(sentence, _TIMES, SpanKind.TIME),
        *codes,
        *_matches(sentence, _YEARS, SpanKind.DATE),
        *_matches(sentence, _NUMBERS, SpanKind.NUMBER),
    ]
    return [span for span in _without_overlap(found) if span not in date_spans]
