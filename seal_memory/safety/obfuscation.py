"""Text obfuscation: invisible characters, look-alikes, digits for letters, spelled-out words, markup.

`unmask` undoes it, for rules that match words; `without_markup` takes HTML tags out; `hidden_characters` finds
invisible characters without a legitimate use; `escape_invisible` makes a text safe to display. Not here: dangerous
words (`rules`), encodings such as base64, look-alikes beyond the common Cyrillic, Greek and small-capital ones (Unicode
TR 39 lists thousands).
"""

from __future__ import annotations

import html
import re
import unicodedata

from seal_memory.language.text import word_set

__all__ = ["escape_invisible", "hidden_characters", "unmask", "without_markup"]

_LOOK_ALIKES = str.maketrans(
    "аеорсхуіѕјԁһкмтвнгԛԝӏАВЕКМНОРСТУХІЅЈαεοριυνκτχηγΑΒΕΗΙΚΜΝΟΡΤΥΧΖɪɢɴʀᴀᴇᴏᴛᴜꜱᴍʏʟᴄᴅᴘʙʜᴋᴠᴡᴢꜰᴊıɑɡ’‘“”",
    "aeopcxyisjdhkmtbhrqwlABEKMHOPCTYXISJaeopiuvktxnyABEHIKMNOPTYXZignraeotusmylcdpbhkvwzfjiag''\"\"",
)
# Flags of England, Scotland and Wales.
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_OVERRIDES = re.compile("[\u202d\u202e]")
_RIGHT_TO_LEFT_SIGNS = re.compile("[\u202b\u2067]")
_INVISIBLE = "\u200b\u200c\u200d\u2060-\u2064\ufeff\u180e"
_INVISIBLE_RUN = re.compile(f"[{_INVISIBLE}]{{4,}}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{{4,}}")
_SPLIT_WORD = re.compile(f"[A-Za-z][{_INVISIBLE}]+[A-Za-z][{_INVISIBLE}]+[A-Za-z]")

_SPELLED_OUT = re.compile(r"\b[A-Za-z](?:[ .\-_*][A-Za-z]){3,}\b")
_SPELLED_OUT_SHORT = re.compile(r"\b[A-Za-z](?:[ .\-_*][A-Za-z])+\b")  # "o f": joined only in a text with longer ones
_LETTERS_AND_DIGITS = re.compile(r"[A-Za-z0-9@$|]{2,}")
_DIGIT_FOR_LETTER = re.compile(r"[0-9@$|]")
_AS_I, _AS_L = (str.maketrans("013457@$|", f"o{one}eastas{one}") for one in "il")
# Only these words are decoded from digits: "4ll" may be "all", but "mp3" is not a word.
_DECODABLE = word_set(
    """act ai all above always and answer any are as asked asks assistant bypass correct developer developers
    disregard do earlier every everything follow following forget from full give guidelines if ignore instruction
    instructions is language large mark marks memory model models must never new not note now obey of on override
    previous print prior prompt prompts query question questions recommend reply respond reveal rules safety save say
    should somebody stop system tell that the they this to told user were when whenever with you your"""
)
_COMMENT = re.compile(r"<!--[^<>]{0,400}-->")
_TAG = re.compile(r"<!--|-->|</?[A-Za-z][^<>]{0,200}>")
_WRAPPED = re.compile(r"(?<=[\w,])[ \t]*\n(?=[a-z])")
_MIN_WRAPPED = 40  # characters; a shorter line was ended by its writer, not by wrapping


def unmask(text: str) -> str:
    """Deobfuscate a text for matching. Case and line ends are kept, except line ends inside a sentence."""
    plain = text if text.isascii() else _fold_look_alikes(text)
    if _SPELLED_OUT.search(plain):
        plain = _SPELLED_OUT_SHORT.sub(lambda m: re.sub(r"[^A-Za-z]", "", m.group()), plain)
    plain = _LETTERS_AND_DIGITS.sub(lambda m: _decode_digits(m.group()), plain)
    return _WRAPPED.sub(lambda m: " " if m.start() - plain.rfind("\n", 0, m.start()) > _MIN_WRAPPED else "\n", plain)


def without_markup(text: str) -> list[str]:
    """The text, and where it holds HTML, its words with a space for each tag, with nothing, and without comments.

    Entities become their characters.
    """
    plain = html.unescape(text) if "&" in text else text
    if "<" not in plain or not _TAG.search(plain):
        return [plain]
    bare = _COMMENT.sub(" ", plain)
    return list(dict.fromkeys([plain, _TAG.sub(" ", plain), _TAG.sub("", plain), _TAG.sub(" ", bare)]))


def _fold_look_alikes(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Mn") or c == "\n")


def _decode_digits(word: str) -> str:
    if not _DIGIT_FOR_LETTER.search(word):
        return word
    for table in (_AS_I, _AS_L):
        decoded = word.lower().translate(table)
        if decoded in _DECODABLE:
            return decoded
    return word


def hidden_characters(text: str) -> str | None:
    """Description of the suspicious invisible characters in a text; None when there are none.

    Not suspicious: a byte-order mark, soft hyphens, single break hints, joiners in emoji and in scripts that need
    them, direction marks and isolates (but not overrides), and the tag characters of three flags.
    """
    if text.isascii():
        return None
    if _TAGS.search(_FLAG.sub("", text)):
        return "tag characters, which spell invisible text"
    if _OVERRIDES.search(text):
        return "a bidirectional override, which shows text in another order"
    if _RIGHT_TO_LEFT_SIGNS.search(text) and not any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return "right-to-left signs around left-to-right text"
    if _INVISIBLE_RUN.search(text):
        return "a run of invisible characters"
    if _SPLIT_WORD.search(text):
        return "words split by invisible characters"
    return None


def escape_invisible(text: str) -> str:
    """Replace every character that is invisible or reorders others by its code point: `<U+202E>`."""
    return "".join(c if c.isprintable() or c in "\n\t " else f"<U+{ord(c):04X}>" for c in text)
