"""Every pattern in the package takes linear time: hostile words twice as long take at most 2.5 times as long.

Patterns are found in the loaded modules and, where compiled at each call, in the sources; each is fed its own words,
repeated, as its syntax tree spells them. RE2's patterns are linear by construction and are measured, too.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import seal_memory
from seal_memory.intake.admission import admit
from seal_memory.language.text import chunks
from seal_memory.records import Role
from seal_memory.self_edits.clauses import clause_bounds

FOLDER = Path(seal_memory.__file__).parent
OPTIONAL = ("seal_memory.policy.ray_executor",)  # needs an extra that need not be installed
LENGTHS = (1000, 2000, 4000, 8000)
MOST = 2.5  # times the time for twice the length
FAST = 2e-3  # seconds for the longest: a quadratic pattern takes more than ten times as long
CALLS = ("search", "match", "fullmatch", "findall", "finditer", "split", "sub", "subn", "compile")

Key = tuple[str, int]  # a pattern's text and flags; -1: RE2's, which has its flags inside


@dataclass
class Found:
    pattern: Any
    name: str
    searches: bool  # False: its module only ever matches with it, at a given place


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages([str(FOLDER)], "seal_memory."):
        if found.name not in OPTIONAL and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def _values(value: object, depth: int = 0) -> Iterator[Any]:
    """Compiled patterns inside a module's value: containers, and dataclasses of the package."""
    if hasattr(value, "finditer") and hasattr(value, "pattern"):
        yield value
        return
    fields: Iterable[object] = ()
    if isinstance(value, (tuple, list, set, frozenset)):
        fields = value
    elif isinstance(value, dict):
        fields = value.values()
    elif is_dataclass(value) and type(value).__module__.startswith("seal_memory"):
        fields = [getattr(value, field.name, None) for field in dataclass_fields(value)]
    for one in fields if depth < 5 else ():
        yield from _values(one, depth + 1)


def _inline(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Calls such as `re.sub(r"\\s+", ...)` and what they call."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute)):
            continue
        if ast.unparse(node.func.value) in ("re", "re2") and node.func.attr in CALLS:
            yield node, node.func.attr


@cache
def _patterns() -> dict[Key, Found]:
    """All distinct patterns of the package."""
    found: dict[Key, Found] = {}
    for module in _modules():
        source = Path(module.__file__).read_text(encoding="utf-8")
        for name, value in vars(module).items():
            for pattern in _values(value):
                key = str(pattern.pattern), int(getattr(pattern, "flags", -1))
                searches = re.search(rf"\b{name}\.(?:search|finditer|findall|sub|subn|split)\b", source)
                matches = re.search(rf"\b(?:{name}|pattern)\.(?:match|fullmatch)\b", source)
                before = key in found and found[key].searches
                found[key] = Found(pattern, f"{module.__name__}.{name}", before or bool(searches) or not matches)
    for path in sorted(FOLDER.rglob("*.py")):
        for call, _ in _inline(path):
            if isinstance(call.args[0], ast.Constant):
                pattern = re.compile(call.args[0].value, re.IGNORECASE if "IGNORECASE" in ast.dump(call) else 0)
                name = f"{path.relative_to(FOLDER)}:{call.lineno}"
                found.setdefault((pattern.pattern, pattern.flags), Found(pattern, name, True))
    return found


def test_every_pattern_is_found_by_the_test_below() -> None:
    """A pattern that is not constant where it is used is compiled at the module's level, where it can be found.

    The exceptions name what they use: a table of constants, and a part of a name.
    """
    loose = {
        f"{path.relative_to(FOLDER)}: {ast.unparse(call.args[0])}"
        for path in FOLDER.rglob("*.py")
        for call, verb in _inline(path)
        if not isinstance(call.args[0], ast.Constant) and verb != "compile"
    }
    assert loose <= {"quizzes/grader_features.py: p"}
    assert len(_patterns()) > 120


# --- a pattern's own words -----------------------------------------------------------------------

CATEGORIES = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a", "CATEGORY_NOT_DIGIT": "a",
              "CATEGORY_NOT_SPACE": "a", "CATEGORY_NOT_WORD": " "}  # fmt: skip


def _member(items: list[Any]) -> list[str]:
    """Up to three characters of a class."""
    if items and items[0][0] is codes.NEGATE:
        taken = set("".join(_member(items[1:])))
        return [c for c in "a 1,x" if c not in taken and not _is_in(items[1:], c)][:2] or ["é"]
    found = []
    for op, value in items:
        if op is codes.LITERAL:
            found.append(chr(value))
        elif op is codes.RANGE:
            found.append(chr(value[0]))
        elif op is codes.CATEGORY:
            found.append(CATEGORIES[str(value)])
    return found[:3] or ["a"]


def _is_in(items: list[Any], char: str) -> bool:
    for op, value in items:
        if op is codes.LITERAL and value == ord(char):
            return True
        if op is codes.RANGE and value[0] <= ord(char) <= value[1]:
            return True
        if op is codes.CATEGORY:
            kind = str(value)
            held = {"DIGIT": char.isdigit(), "SPACE": char.isspace(), "WORD": char.isalnum() or char == "_"}
            name = kind.rsplit("_", 1)[1]
            if held[name] != ("NOT" in kind):
                return True
    return False


def _sample(tree: Any) -> str:
    """One text that the tree may match; the least repetitions."""
    return "".join(_sample_one(op, value) for op, value in tree)


def _sample_one(op: Any, value: Any) -> str:
    if op is codes.LITERAL:
        return chr(value)
    if op is codes.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if op is codes.ANY:
        return "a"
    if op is codes.IN:
        return _member(value)[0]
    if op is codes.BRANCH:
        return _sample(value[1][0])
    if op is codes.SUBPATTERN:
        return _sample(value[3])
    if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return _sample(value[2]) * max(1, min(int(value[0]), 40))
    if op is codes.ATOMIC_GROUP:
        return _sample(value)
    return ""


def _units(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(what leads to a repetition, what is repeated) for every repetition in the tree, and each branch's words."""
    lead = before
    for op, value in tree:
        if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            for unit in _words(value[2]):
                yield lead, unit
            yield from _units(value[2], lead)
        elif op is codes.SUBPATTERN:
            yield from _units(value[3], lead)
        elif op is codes.BRANCH:
            for branch in value[1]:
                yield from _units(branch, lead)
                yield lead, _sample(branch)
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _units(value[1], lead)
        lead += _sample_one(op, value)
    yield before, lead[len(before) :]
    yield "", lead


def _words(tree: Any) -> list[str]:
    """Samples of a repeated group: each branch of it, each member of a class."""
    if len(tree) == 1:
        op, value = tree[0]
        if op is codes.IN:
            return _member(value)
        if op is codes.BRANCH:
            return [_sample(b) for b in value[1]]
        if op is codes.SUBPATTERN:
            return _words(value[3])
    branches = [value[1] for op, value in tree if op is codes.BRANCH]
    inner = [value[3] for op, value in tree if op is codes.SUBPATTERN]
    branches += [v[1] for t in inner for op, v in t if op is codes.BRANCH]
    if not branches:
        return [_sample(tree)]
    return [_sample(tree), *(f" {_sample(b)}" for group in branches for b in group)]


def _attacks(key: Key) -> list[tuple[str, str, str]]:
    """Words that lead to a repetition, the words that are repeated, and what keeps the match from ending."""
    text, flags = key
    known = flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE) if flags >= 0 else 0
    tree = parser.parse(text.replace(r"\z", r"\Z") if flags < 0 else text, known)
    pairs = {(lead, unit): None for lead, unit in _units(tree) if unit}
    return [(lead, unit, end) for lead, unit in pairs for end in ("", "\x01")]


def _text(attack: tuple[str, str, str], length: int) -> str:
    lead, unit, end = attack
    return (lead + unit * (length // len(unit) + 1))[:length] + end


def _seconds(found: Found, text: str, best_of: int = 1) -> float:
    """Processor time of one use: other processes do not count."""
    times = []
    for _ in range(best_of):
        began = time.process_time()
        if found.searches:
            for _match in found.pattern.finditer(text):
                pass
        else:
            found.pattern.match(text)
            found.pattern.fullmatch(text)
        times.append(time.process_time() - began)
    return min(times)


def _is_linear(found: Found, attack: tuple[str, str, str]) -> bool:
    """From the shortest on, so that a cubic pattern is known before it takes minutes."""
    before = _seconds(found, _text(attack, LENGTHS[0]), 3)
    for length in LENGTHS[1:]:
        now = _seconds(found, _text(attack, length), 1)
        if now > FAST and now > MOST * before:
            # caches may make one step dear: a pattern that is not linear takes as much more at the next doubling, too
            half, double = (_seconds(found, _text(attack, n), 3) for n in (length // 2, 2 * length))
            if double > FAST and double > MOST**2 * half:
                return False
            now = _seconds(found, _text(attack, length), 3)
        before = now
    return True


def test_twice_the_words_take_at_most_two_and_a_half_times_as_long() -> None:
    slow = []
    for key, found in _patterns().items():
        for attack in _attacks(key):
            fast = _seconds(found, _text(attack, LENGTHS[0])) < FAST
            if fast and _seconds(found, _text(attack, LENGTHS[-1])) < FAST:
                continue
            if not _is_linear(found, attack):
                slow.append((found.name, key[0][:60], [part[:30] for part in attack]))
                break
    assert not slow


@pytest.mark.parametrize(
    "text",
    [
        "stop following " + "your " * 1600,
        "ignore all " + "previous and " * 620,
        "a" * 8000,
        "0a" * 4000,
        " " * 4000 + "x" + " " * 3999,
        "\n" * 8000 + "x",
        '"' * 8000,
        "<b " * 2700,
        "<!--" * 2000,
        "always answer " + "_" * 8000,
        "thanks for " + "and " * 2000,
        "user:assistant" * 570,
        "ignoriere alle " * 530,
        "忽略" * 4000,
        "x, because " * 730,
        "(" * 8000,
        "# a" + " #" * 4000,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_hostile_texts_are_admitted_in_linear_time(text: str) -> None:
    """The whole way of a text into the ledger, not only each pattern."""

    def seconds(part: str) -> float:
        times = []
        for _ in range(5):
            began = time.process_time()
            admit(part, role=Role.DOCUMENT)
            chunks(part, 4000)
            times.append(time.process_time() - began)
        return min(times)

    half, whole = seconds(text[: len(text) // 2]), seconds(text)
    assert whole < 0.01 or whole <= MOST * half


def test_a_quadratic_pattern_is_noticed() -> None:
    """The test above can fail: the patterns that froze a server in 0.1, as they were."""
    for text in (r"[A-Za-z]*[0-9]", r"\bstop following(?: (?:all|your))*(?: (?:all|your))+ rules\b", r"\s+x"):
        found = Found(re.compile(text), "", True)
        assert not all(_is_linear(found, attack) for attack in _attacks((text, re.compile(text).flags)))


def test_clauses_of_a_long_sentence_are_found_in_linear_time() -> None:
    def seconds(words: int) -> float:
        sentence, times = "and word, " * words, []
        for _ in range(5):
            began = time.process_time()
            clause_bounds(sentence)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(1600) < max(FAST, MOST * seconds(800))
