"""Features of the local grader: numbers computed from a question, a gold answer and an answer.

Overlap in stems, number values and spelling, both ways; words already in the question; position and context of the gold
in the answer; competing numbers and names; negation, hedging, length. Not covered: synonyms, world knowledge,
arithmetic, the passage. Not here: the weights (`grader`), tokens and stems (`grader_forms`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from seal_memory.language.metrics import contains, token_f1
from seal_memory.language.text import normalise, word_set
from seal_memory.quizzes.grader_forms import MONTHS, NEGATIONS, Token, head, initials, tokenise

__all__ = ["DIRECTIONS", "FEATURES", "features"]

MAX_TOKENS = 400  # of an answer, of a gold answer

_HEDGES = re.compile(
    r"\b(?:unknown|unclear|unsure|not (?:sure|known|clear|specified|mentioned|provided|stated|given|available)"
    r"|no (?:information|specific|mention|evidence|known)|cannot (?:be|answer|provide|determine)|unable to"
    r"|i do(?:n't| not)|sorry|as an ai|it depends|may vary|does not (?:specify|mention|provide|say))\b",
    re.IGNORECASE,
)
_OPPOSITES = [
    (word_set(a), word_set(b))
    for a, b in (
        ("increase rise grow more higher greater gain rose grew up expand larger",
         "decrease fall fell drop decline shrink less lower fewer loss reduce down smaller cut"),
        ("before earlier prior", "after later following since"),
        ("first earliest oldest beginning", "last latest final end youngest"),
        ("north northern", "south southern"), ("east eastern", "west western"),
        ("all every always entire", "none never no"),
        ("maximum most highest largest best", "minimum least lowest smallest worst"),
        ("public", "private"), ("win won victory", "lose lost defeat"), ("true yes", "false no"),
        ("positive", "negative"), ("undergraduate undergraduates", "graduate graduates"), ("internal", "external"),
        ("husband father son brother nephew king uncle", "wife mother daughter sister niece queen aunt"),
        ("parent father mother uncle grandfather", "child son daughter nephew grandson"),
    )
]  # fmt: skip
_QUESTION_WORDS = (
    ("who", r"\bwho(?:m|se)?\b"),
    ("when", r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade)\b"),
    ("where", r"\bwhere\b|\b(?:what|which) (?:city|country|state|region|place|town|area|location)\b"),
    ("how_many", r"\bhow (?:many|much|old|long|large|big|far|tall|high|fast|often)\b|\b(?:percent|number of)"),
    ("why", r"\bwhy\b"),
    ("how", r"\bhow\b"),
    ("what_type", r"\b(?:what|which) (?:type|kind|sort|form|class)s?\b"),
)


@lru_cache(maxsize=50_000)
def _alike(a: str, b: str) -> float:
    """Spelling similarity of two stems, 0 or 0.5..1: common beginning or common letter pairs."""
    if a == b:
        return 1.0
    if a[0] == "#" or b[0] == "#" or min(len(a), len(b)) < 4:
        return 0.0
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = same / max(len(a), len(b))
    pairs_a, pairs_b = {a[i : i + 2] for i in range(len(a) - 1)}, {b[i : i + 2] for i in range(len(b) - 1)}
    dice = 2 * len(pairs_a & pairs_b) / (len(pairs_a) + len(pairs_b))
    best = max(start if same >= 4 else 0.0, dice)
    return best if best >= 0.5 else 0.0


@dataclass(frozen=True, slots=True)
class _Match:
    """The gold in the answer: per content token the similarity and position of the best matching answer token."""

    gold: list[Token]
    scores: list[float]
    places: list[int]  # -1 without a match
    weights: list[float]
    new: list[bool]  # not in the question

    def coverage(self, *, new_only: bool = False, exact: bool = False) -> float:
        """Weighted share of the gold found in the answer."""
        chosen = [i for i in range(len(self.gold)) if self.new[i] or not new_only]
        total = sum(self.weights[i] for i in chosen)
        if not total:
            return 0.5 if new_only else 0.0
        have = ((self.scores[i] == 1.0) if exact else self.scores[i] for i in chosen)
        return sum(s * self.weights[i] for s, i in zip(have, chosen, strict=True)) / total


def _content(tokens: Sequence[Token]) -> list[Token]:
    content = [t for t in tokens if not t.is_stop]
    return content or list(tokens)


def _weight(token: Token) -> float:
    """Long words, names and numbers count more than short common ones."""
    if token.value is not None:
        return 1.5
    return (1.3 if token.is_name else 1.0) * min(1.0, 0.3 + len(token.text) / 10)


def _match(gold: list[Token], answer: list[Token], asked: frozenset[str]) -> _Match:
    scores, places = [], []
    for token in gold:
        best, place = 0.0, -1
        for index, other in enumerate(answer):
            if other.is_stop and not token.is_stop:
                continue
            alike = _alike(token.stem, other.stem)
            if alike > best:
                best, place = alike, index
                if best == 1.0:
                    break
        scores.append(best)
        places.append(place)
    _match_initials(gold, answer, scores, places)
    return _Match(gold, scores, places, [_weight(t) for t in gold], [t.stem not in asked for t in gold])


def _match_initials(gold: list[Token], answer: list[Token], scores: list[float], places: list[int]) -> None:
    """'WMO' stands for 'World Meteorological Organization', and the other way round."""
    short = initials(gold)
    if len(short) >= 3:
        for index, token in enumerate(answer):
            if token.text == short and token.is_name:
                for i in range(len(gold)):
                    scores[i], places[i] = max(scores[i], 0.9), index if places[i] < 0 else places[i]
    letters = initials(answer)
    where = [i for i, t in enumerate(answer) if not t.is_stop]
    for i, token in enumerate(gold):
        if scores[i] == 0 and token.is_name and 2 <= len(token.text) <= 5:
            found = letters.find(token.text)
            if found >= 0 and (len(token.text) > 2 or where):
                scores[i], places[i] = (0.9 if len(token.text) > 2 else 0.7), where[found]


def _overlap(gold: str, answer: str, m: _Match, reply: list[Token]) -> dict[str, float]:
    """Shared words in both directions."""
    gold_stems = {t.stem for t in m.gold}
    given = _content(reply)
    alike = [max((_alike(t.stem, g) for g in gold_stems), default=0.0) for t in given]
    weights = [_weight(t) for t in given]
    precision = sum(a * w for a, w in zip(alike, weights, strict=True)) / sum(weights) if given else 0.0
    recall = m.coverage()
    best = max(range(len(m.gold)), key=lambda i: m.weights[i] * (1.0 if m.new[i] else 0.3))
    return {
        "contains": float(contains(answer, gold)),
        "contained": float(contains(gold, answer)),
        "recall": recall,
        "recall_exact": m.coverage(exact=True),
        "recall_new": m.coverage(new_only=True),
        "recall_new_exact": m.coverage(new_only=True, exact=True),
        "precision": precision,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "plain_f1": token_f1(answer, gold),
        "main_word": m.scores[best],
        "last_word": m.scores[-1],
        "first_word": m.scores[0],
        "lowest": min(m.scores),
        "missing": float(sum(s < 0.5 for s in m.scores)),
        "missing_new": float(sum(s < 0.5 and n for s, n in zip(m.scores, m.new, strict=True))),
    }


def _against_question(m: _Match, reply: list[Token], asked: list[Token]) -> dict[str, float]:
    """Parts of gold and answer that the question already contains, and the answer's additions."""
    stems = {t.stem for t in asked}
    gold_stems = {t.stem for t in m.gold}
    given = _content(reply)
    added = [t for t in given if t.stem not in stems]
    hits = [max((_alike(t.stem, g) for g in gold_stems), default=0.0) for t in added]
    weights = [_weight(t) for t in added]
    repeated = {t.stem for t in given} & stems
    content = {t.stem for t in _content(asked)}
    return {
        "gold_new": sum(m.new) / len(m.new),
        "added": float(min(len(added), 60)),
        "added_precision": sum(h * w for h, w in zip(hits, weights, strict=True)) / sum(weights) if added else 0.0,
        "added_wrong": float(min(60, sum(h < 0.5 for h in hits))),
        "question_repeated": len(repeated & content) / max(1, len(content)),
        "nothing_added": float(not added),
        "names_missing": float(sum(t.is_name and t.stem not in {r.stem for r in given} for t in _content(asked))),
    }


def _places(m: _Match, reply: list[Token], asked: frozenset[str]) -> dict[str, float]:
    """Position of the gold: early, together, in order, in a sentence about the question."""
    found = [p for p in m.places if p >= 0]
    if not found:
        return dict.fromkeys(
            ("first_at", "last_at", "spread", "in_order", "first_sentence", "sentence_recall", "sentence_asked",
             "negated_before", "negated_sentence", "or_near", "longest_run"), 0.0,
        ) | {"first_at": 1.0, "last_at": 1.0}  # fmt: skip
    first, last, size = min(found), max(found), len(reply)
    opening = reply[0].sentence
    by_sentence: dict[int, float] = {}
    for p, s, w in zip(m.places, m.scores, m.weights, strict=True):
        if p >= 0:
            by_sentence[reply[p].sentence] = by_sentence.get(reply[p].sentence, 0.0) + s * w
    main = max(by_sentence, key=lambda s: (by_sentence[s], -s))
    around = [t for t in reply if t.sentence == main]
    near = reply[max(0, first - 4) : last + 4]
    return {
        "first_at": first / size,
        "last_at": last / size,
        "spread": (last - first + 1 - len(set(found))) / max(1, len(found)),
        "in_order": float(found == sorted(found)),
        "first_sentence": by_sentence.get(opening, 0.0) / sum(m.weights),
        "sentence_recall": by_sentence[main] / sum(m.weights),
        "sentence_asked": len({t.stem for t in around} & asked) / max(1, len(asked)),
        "negated_before": float(any(t.text in NEGATIONS for t in reply[max(0, first - 5) : first])),
        "negated_sentence": float(sum(t.text in NEGATIONS for t in around)),
        "or_near": float(any(t.text == "or" for t in near)),
        "longest_run": _longest_run(m, reply),
    }


def _longest_run(m: _Match, reply: list[Token]) -> float:
    gold, given = [t.stem for t in m.gold], [t.stem for t in reply if not t.is_stop]
    block = SequenceMatcher(None, gold, given, autojunk=False).find_longest_match()
    return block.size / len(gold)


def _figures(m: _Match, reply: list[Token], asked: list[Token], gold: list[Token]) -> dict[str, float]:
    """Numbers of the gold found, and competing numbers and names in the answer."""
    known = {t.stem for t in asked}
    wanted = {t.stem for t in gold if t.value is not None}
    given = {t.stem for t in reply if t.value is not None}
    years = {t.stem for t in gold if t.is_year}
    other_years = {t.stem for t in reply if t.is_year} - years - known
    months = {t.text for t in gold} & MONTHS
    names = {t.stem for t in gold if t.is_name}
    other_names = {t.stem for t in reply if t.is_name} - {t.stem for t in gold} - known
    said = {t.text for t in reply}
    scores = [s for s, t in zip(m.scores, m.gold, strict=True) if t.is_name]
    return {
        "gold_numbers": float(len(wanted)),
        "numbers_found": len(wanted & given) / len(wanted) if wanted else 0.5,
        "other_numbers": float(min(8, len(given - wanted - known))),
        "number_clash": float(bool(wanted) and not wanted & given and bool(given - known)),
        "number_close": _closest(wanted, given - known),
        "gold_is_year": float(bool(years)),
        "other_years": float(min(6, len(other_years))),
        "month_clash": float(bool(months) and not months & said and bool(said & MONTHS)),
        "gold_names": float(min(6, len(names))),
        "names_found": sum(scores) / max(1, len(scores)),
        "other_names": float(min(12, len(other_names))),
        "name_clash": float(bool(names) and max(m.scores) < 0.5 and bool(other_names)),
        "number_without": float(not wanted and bool(given - known)),
    }


def _closest(wanted: set[str], given: set[str]) -> float:
    """Closeness of the nearest number to the gold's, 0..1."""
    best = 0.0
    for w in wanted:
        for t in given:
            a, b = float(w[1:]), float(t[1:])
            if max(abs(a), abs(b)) > 0:
                best = max(best, 1 - abs(a - b) / max(abs(a), abs(b)))
    return best


def _sense(answer: str, reply: list[Token], gold: list[Token], asked: list[Token]) -> dict[str, float]:
    """Negation, opposites, hedging, yes and no."""
    given, wanted, known = {t.text for t in reply}, {t.text for t in gold}, {t.text for t in asked}
    clash = sum(
        bool(wanted & a and given & b - known and not given & a)
        or bool(wanted & b and given & a - known and not given & b)
        for a, b in _OPPOSITES
    )
    first = reply[0].text if reply else ""
    return {
        "negation_differs": float(bool(given & NEGATIONS) - bool(wanted & NEGATIONS)),
        "negations": float(min(4, sum(t.text in NEGATIONS for t in reply))),
        "opposites": float(clash),
        "hedged": float(bool(_HEDGES.search(answer))),
        "yes": float(first == "yes"),
        "no": float(first == "no"),
        "gold_negated": float(bool(wanted & NEGATIONS)),
        "yes_no_question": float(bool(asked) and asked[0].text in _AUXILIARIES),
    }


_AUXILIARIES = word_set("is are was were do does did can could has have had will would should may")


def _shape(question: str, gold: str, answer: str, whole: str, reply: list[Token], m: _Match) -> dict[str, float]:
    """Lengths, letters in common, the kind of question."""
    lowered = question.lower()
    a, g = normalise(answer), normalise(gold)
    shape = {
        "gold_words": float(min(20, len(m.gold))),
        "gold_letters": float(min(120, len(g))),
        "answer_words": float(min(120, len(reply))),
        "sentences": float(min(8, 1 + reply[-1].sentence - reply[0].sentence)) if reply else 0.0,
        "length_ratio": min(3.0, len(a) / max(1, len(g)) / 10),
        "cut_off": float(len(whole) > len(answer) + 12),
        "unfinished": float(not answer.rstrip().endswith((".", "!", "?", '"', ")"))),
        "listed": float(min(12, answer.count(",") + answer.count("\n"))),
        "letters": _letters(g, a),
        "letters_back": _letters(a, g),
    }
    return shape | {f"asks_{kind}": float(bool(re.search(p, lowered))) for kind, p in _QUESTION_WORDS}


def _letters(inner: str, outer: str) -> float:
    """Share of the inner text's letter triples that the outer has."""
    triples = {inner[i : i + 3] for i in range(len(inner) - 2)}
    return sum(t in outer for t in triples) / len(triples) if triples else float(inner in outer)


def _named_features(question: str, gold: str, answer: str) -> dict[str, float]:
    read = head(answer)
    wanted, asked = tokenise(gold)[:MAX_TOKENS], tokenise(question)[:MAX_TOKENS]
    reply = tokenise(read)[:MAX_TOKENS]
    if not wanted or not reply:
        return {}
    stems = frozenset(t.stem for t in _content(asked))
    m = _match(_content(wanted), reply, stems)
    return (
        _overlap(gold, read, m, reply)
        | _against_question(m, reply, asked)
        | _places(m, reply, stems)
        | _figures(m, reply, asked, wanted)
        | _sense(read, reply, wanted, asked)
        | _shape(question, gold, read, answer, reply, m)
    )


FEATURES: tuple[str, ...] = tuple(_named_features("Who built it?", "Maud Ellery", "It was built by Maud Ellery."))


_HELPS = word_set(
    """contains recall recall_exact recall_new recall_new_exact precision plain_f1 f1 main_word last_word first_word
    lowest sentence_recall letters numbers_found names_found longest_run first_sentence added_precision number_close"""
)
_HURTS = word_set(
    """missing missing_new other_numbers number_clash other_years month_clash name_clash added_wrong hedged
    negated_before opposites cut_off"""
)
# Monotone constraints of the trees: +1 never lowers the score, -1 never raises it, 0 is free.
DIRECTIONS: tuple[int, ...] = tuple((name in _HELPS) - (name in _HURTS) for name in FEATURES)


def features(question: str, gold: str, answer: str) -> list[float]:
    """The values of `FEATURES`, in order; all 0 when gold or answer has no word or number."""
    named = _named_features(question, gold, answer)
    return [named.get(name, 0.0) for name in FEATURES]
