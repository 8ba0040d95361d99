"""Words of a text in any script: folding of equal spellings, and pieces of scripts written without spaces.

`fold` makes spellings equal that a reader takes for the same: composed or not, full width, letter case, accents and
strokes of Latin and Greek, vowel points of Hebrew and Arabic, Persian and Arabic keyboards' letters, every script's
figures, soft hyphens. `words` cuts what Chinese, Japanese, Korean, Thai,
Lao, Khmer, Burmese and their neighbours write without spaces (or, in Korean, with endings) into overlapping pairs of
characters, so that a part of such a run is found, too. Nothing depends on a dictionary.

Not here: stems (`ledger.terms`, `language.text`), traditional against simplified characters, kana against kanji.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

__all__ = ["FUNCTION_PAIRS", "fold", "is_particle", "is_unspaced", "pieces", "singles", "word_pattern", "words"]

_ZERO_WIDTH_SPACE = "\u200b"
_HIRAGANA = "\u3041-\u309f"
_RUNS = (  # scripts of which a run is cut into pairs, each a run of its own
    "\u2e80-\u2fdf\u3005-\u3007\u3100-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    _HIRAGANA,
    "\u30a1-\u30ff\u31f0-\u31ff",
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff",  # Hangul
    "\u0e00-\u0e7f",  # Thai
    "\u0e80-\u0eff",  # Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",  # Burmese
    "\u1780-\u17ff",  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf",  # Tai
    "\ua980-\ua9df\u1b00-\u1b7f",  # Javanese, Balinese
    "\ua000-\ua4cf",  # Yi
)
_UNSPACED = re.compile(f"[{''.join(_RUNS)}]")

# Pairs that hardly tell anything: endings, copulas and question words. A single hiragana is a particle.
_JAPANESE = """
    です ます した して いる ある ない から まで この その あの どの これ それ あれ どれ ここ そこ どこ とは では には
    ので のに でし まし すか たか ませ せん った って いう さん くだ ださ さい だれ なに いつ 誰 何 何時
"""
_CHINESE = "谁 什么 怎么 哪里 哪个 哪儿 多少 是谁 是什 的 了 吗 呢"
_KOREAN = "니다 습니 입니 합니 니까 무엇 누구 어디 언제 까요 나요"
FUNCTION_PAIRS = frozenset(f"{_JAPANESE} {_CHINESE} {_KOREAN}".split())


def fold(text: str) -> str:
    """The text with equal spellings made equal, for comparing; not for showing."""
    if text.isascii():
        return text.lower()
    compatible = unicodedata.normalize("NFKC", unicodedata.normalize("NFC", text).translate(_CLEANED))
    bare = unicodedata.normalize("NFD", compatible.casefold())
    for pattern, replacement in _OPTIONAL_MARKS:
        bare = pattern.sub(replacement, bare)
    bare = bare.translate(_SAME_LETTERS)
    return _between_unspaced().sub("", unicodedata.normalize("NFC", bare))


def words(text: str) -> list[str]:
    """The words of a text, folded, in order; of runs without spaces their overlapping pairs of characters."""
    folded = fold(text)
    return [piece for word in word_pattern().findall(folded) for piece in pieces(word)]


def singles(text: str) -> list[str]:
    """The single characters of the runs that `words` cuts into pairs, so that one character can be asked for."""
    if text.isascii():
        return []
    runs = (run for word in word_pattern().findall(fold(text)) for run in _run_pattern().findall(word))
    return [c for run in runs if is_unspaced(run) and len(clusters := _characters(run)) > 1 for c in clusters]


def pieces(word: str) -> list[str]:
    """A folded word itself, or what a run without spaces is cut into; of a mixed one the pieces of each script."""
    if word.isascii() or not is_unspaced(word):
        return [word]
    return [piece for run in _run_pattern().findall(word) for piece in _pairs(run)]


def is_unspaced(text: str) -> bool:
    """Whether a text holds a character of a script that is cut into pairs."""
    return _UNSPACED.search(text) is not None


def is_particle(word: str) -> bool:
    """Whether a piece is a single hiragana, which is an ending or a particle."""
    return len(word) == 1 and "\u3041" <= word <= "\u309f"


@cache
def word_pattern() -> re.Pattern[str]:
    """Matches a word: letters and figures with the marks that belong to them."""
    return re.compile(rf"[^\W_](?:[^\W_]|[{_marks()}])*")


@cache
def _marks() -> str:
    """All combining marks, as the inside of a character class."""
    codes = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    return _ranges(code for code in codes if unicodedata.category(chr(code))[0] == "M")


def _ranges(codes: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


def _pairs(run: str) -> list[str]:
    if not is_unspaced(run):
        return [run]
    characters = _characters(run)
    return [a + b for a, b in pairwise(characters)] or characters


def _characters(run: str) -> list[str]:
    """Characters as a reader counts them: each with its marks."""
    return _character_pattern().findall(run)


@cache
def _character_pattern() -> re.Pattern[str]:
    return re.compile(rf".[{_marks()}]*", re.DOTALL)


@cache
def _run_pattern() -> re.Pattern[str]:
    """Matches the longest part of a word in one script without spaces, or in none of them."""
    anything = "".join(_RUNS)
    runs = "|".join(f"[{run}][{run}{_marks()}]*" for run in _RUNS)
    return re.compile(f"{runs}|[^{anything}]+")


@cache
def _between_unspaced() -> re.Pattern[str]:
    """Matches zero-width spaces inside a run: some writers mark words so, others do not."""
    anything = "".join(_RUNS)
    return re.compile(f"(?<=[{anything}{_marks()}]){_ZERO_WIDTH_SPACE}+(?=[{anything}])")


class _Cleaned(dict[int, str]):
    """A table for `str.translate`, filled as characters come.

    Format characters and variation selectors go; figures become ASCII's; a symbol that stands for letters gets spaces
    around, so that "Acme™" stays "Acme".
    """

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        cleaned = char
        if (category == "Cf" and char != _ZERO_WIDTH_SPACE) or code in _SELECTORS or code == 0x34F:
            cleaned = ""
        elif category == "Nd":
            cleaned = str(unicodedata.digit(char))
        elif category == "So" and (letters := unicodedata.normalize("NFKC", char)) != char:
            cleaned = f" {letters} "
        self[code] = cleaned
        return cleaned


_SELECTORS = frozenset((*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810)))
_CLEANED = _Cleaned()
_OPTIONAL_MARKS = (
    (re.compile("([a-z\u00aa-\u03ff\u1d00-\u1dbf\u2c60-\u2c7f\ua720-\ua7ff])[\u0300-\u036f]+"), r"\1"),  # Latin, Greek
    (re.compile("([\u0400-\u052f])[\u0300\u0301]+"), r"\1"),  # stress in Cyrillic
    (re.compile("\u0435\u0308"), "\u0435"),  # ё is written е
    (re.compile("([\u0900-\u097f])\u093c"), r"\1"),  # dots below in Devanagari
    (
        re.compile(  # points of Hebrew and Arabic, and Arabic's filler
            "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
            "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
        ),
        "",
    ),
)
_SAME_LETTERS = str.maketrans(
    {
        **dict(zip("øłđðħŧı", "olddhti", strict=True)),  # strokes, which are no marks
        **{"æ": "ae", "œ": "oe", "þ": "th"},
        **dict.fromkeys("\u0649\u06cc", "\u064a"),  # yeh, kaf and heh of Arabic, Persian and Urdu
        **{"\u06a9": "\u0643"},
        **dict.fromkeys("\u0629\u06be\u06c1\u06d5", "\u0647"),
    }
)
