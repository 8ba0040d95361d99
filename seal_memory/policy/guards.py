"""Guards against reward hacking by the note-writer.

Each is a pure predicate on text: notes that copy a quiz, quiz items that are unanswerable or trivial, text that
addresses the grader, notes over the token budget, and instructions inside documents. Strict on purpose: refused text is
only kept out of the *policy's* training, and still recorded and learned as a memory.
Not here: whether a text agrees with its source (`self_edits.checks`), the penalty for length (`rewards`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from seal_memory.language.metrics import contains
from seal_memory.language.text import content_words, normalise
from seal_memory.quizzes.generator import MIN_GAIN
from seal_memory.records import QuizItem, TrainingItem
from seal_memory.safety.injection import find_injection
from seal_memory.safety.obfuscation import unmask
from seal_memory.self_edits.checks import too_close

KNOWN = math.log(0.5)  # nats a token; an answer that the base gives with p > 0.5 teaches nothing
MIN_LOGPROB_WITH = math.log(0.01)  # nats a token; below this not even the text leads to the answer
MAX_ANSWER_WORDS = 12
_GRAM = 4  # words in a row that count as copied

_SPEAK = r"(?:answer|respond|reply|say|output|repeat|tell|claim|print|write|refuse|mention|reveal|recommend|state)"
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|discard)\b[^.?!]{0,40}\b(?:previous|prior|above|earlier|preceding|all"
    r"|any|your|these|those|other|instructions?|prompts?|rules?|guidelines?)\b"
    rf"|\b(?:always|never|only|must(?: not)?|do not|don'?t|please|just|should(?: not)?)\s+{_SPEAK}\b"
    rf"|\b{_SPEAK}\s+(?:only|always|exactly)\b"
    rf"|\b(?:when(?:ever)?|if)\s+(?:(?:you(?: are)?|anyone|someone|the user)\s+)?(?:is\s+|are\s+)?asks?(?:ed)?\b"
    r"|\bfrom now on\b|\byou are now\b|\bact as\b|\bpretend (?:to be|that)\b|\bas an ai\b|\byou (?:must|should|will) "
    r"|\b(?:new|following|these|my|system|developer) (?:instructions?|prompts?)\b|\bjailbreak"
    r"|<\|[^|]*\|>|\[/?inst\]|<<sys>>|^\s*(?:system|assistant|developer|instructions?)\s*:|(?<!#)#{2,}\s*(?:instruction|system)"
)
_GRADER = re.compile(
    r"\b(?:grader|grading|graded|evaluator|examiner|reward(?:ed)?|quiz(?:zes)?|held[- ]out|full (?:marks|credit|score)"
    r"|top (?:marks|score)|mark (?:this|it|me) (?:as )?(?:right|correct)|(?:is|as|are) (?:the )?correct\b"
    r"|correct answer|right answer|the answer (?:to|is)|score (?:this|me|it)|rate this|judges? (?:this|it|should))"
)


def is_instruction(text: str) -> bool:
    """True for text that instructs its reader ("ignore previous ...", "always answer ...").

    Wider than the quarantine: suspicious text counts, too.
    """
    return find_injection(text) is not None or bool(_INSTRUCTION.search(_folded(text)))


def talks_to_grader(text: str, source: str = "") -> bool:
    """True when the text mentions its grading in words that the source does not use."""
    known = _folded(source)
    return any(m.group() not in known for m in _GRADER.finditer(_folded(text)))


def copies_quiz(text: str, quiz: Collection[str], source: str = "") -> bool:
    """True when the text is, contains or reorders a quiz question; words of the source do not count."""
    own, words = _grams(source), frozenset(content_words(text))
    asks = text.rstrip().endswith("?")
    if not asks and _grams(text) <= own:
        return False
    if too_close(text, quiz):
        return True
    for question in quiz:
        asked = _grams(question) - own
        if asked and len(asked & _grams(text)) >= len(asked) / 2:
            return True
        wanted = frozenset(content_words(question))
        if asks and len(wanted) > 2 and _jaccard(words, wanted) >= 0.8:
            return True
    return False


def usable_quiz(items: Iterable[QuizItem]) -> list[QuizItem]:
    """The items fit to reward by: answerable, not trivial, not addressed to the grader, each question once."""
    kept: dict[str, QuizItem] = {}
    for item in items:
        if is_answerable(item) and not is_trivial(item) and not talks_to_grader(item.question):
            kept.setdefault(normalise(item.question), item)
    return list(kept.values())


def is_answerable(item: QuizItem) -> bool:
    """True when the text makes the answer likely, and likelier than without it; users' items (unmeasured) pass."""
    if item.logprob_with is None:
        return True
    known = item.logprob_without if item.logprob_without is not None else -math.inf
    return item.logprob_with >= MIN_LOGPROB_WITH and item.logprob_with - known >= MIN_GAIN


def is_trivial(item: QuizItem) -> bool:
    """True when the answer is in the question, has no content, is over 12 words, or is what the base says anyway."""
    words = normalise(item.answer).split()
    if not words or len(words) > MAX_ANSWER_WORDS or contains(item.question, item.answer):
        return True
    if not content_words(item.answer) and not any(c.isdigit() for c in item.answer):
        return True
    return item.logprob_without is not None and item.logprob_without >= KNOWN


def is_fit(item: TrainingItem, quiz: Collection[str], source: str) -> bool:
    """True for a written item that may teach the policy: no copy of a quiz, no word to the grader, no instruction."""
    texts = (item.prompt, item.target)
    return not any(copies_quiz(t, quiz, source) or talks_to_grader(t, source) or is_instruction(t) for t in texts if t)


def within_budget(
    items: Sequence[TrainingItem], count_tokens: Callable[[str], int], *, budget: int
) -> list[TrainingItem]:
    """The first items whose questions and answers fit into `budget` tokens together; a too long one is skipped."""
    kept, used = [], 0
    for item in items:
        size = count_tokens(item.prompt) + count_tokens(item.target)
        if used + size <= budget:
            kept.append(item)
            used += size
    return kept


def _folded(text: str) -> str:
    """The text unmasked, in lower case, with single blanks, so that spelling cannot evade the patterns."""
    return re.sub(r"\s+", " ", unmask(text)).lower()


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = normalise(text).split()
    return frozenset(tuple(words[n : n + _GRAM]) for n in range(len(words) - _GRAM + 1))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0
