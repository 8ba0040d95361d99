"""What text may hide from the eye: characters without a shape, look-alikes, digits for letters, spelled-out words.

`unmask` takes the masks off, for rules that look for words; `hidden_characters` finds what has no honest use;
`revealed` shows a text to people. Not here: which words are dangerous (`injection`), encodings such as base64, and
look-alikes beyond the common Cyrillic, Greek and small-capital ones (Unicode TR 39 lists thousands).
"""

from __future__ import annotations

import re
import unicodedata

from seal_memory.language.text import word_set

__all__ = ["hidden_characters", "revealed", "unmask"]

_LOOK_ALIKES = str.maketrans(
    "аеорсхуіѕјԁһкмтвнгԛԝӏАВЕКМНОРСТУХІЅЈαεοριυνκτχηγΑΒΕΗΙΚΜΝΟΡΤΥΧΖɪɢɴʀᴀᴇᴏᴛᴜꜱᴍʏʟᴄᴅᴘʙʜᴋᴠᴡᴢꜰᴊıɑɡ’‘“”",
    "aeopcxyisjdhkmtbhrqwlABEKMHOPCTYXISJaeopiuvktxnyABEHIKMNOPTYXZignraeotusmylcdpbhkvwzfjiag''\"\"",
)
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")  # of Scotland, of Wales
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_OVERRIDES = re.compile("[\u202d\u202e]")
_RIGHT_TO_LEFT_SIGNS = re.compile("[\u202b\u2067]")
_NO_SHAPE = "\u200b\u200c\u200d\u2060-\u2064\ufeff\u180e"
_RUN = re.compile(f"[{_NO_SHAPE}]{{4,}}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{{4,}}")
_SPLIT_WORD = re.compile(f"[A-Za-z][{_NO_SHAPE}]+[A-Za-z][{_NO_SHAPE}]+[A-Za-z]")

_SPELLED = re.compile(r"\b[A-Za-z](?:[ .\-_*][A-Za-z]){3,}\b")
_SPELLED_SHORT = re.compile(r"\b[A-Za-z](?:[ .\-_*][A-Za-z])+\b")  # "o f": believed only beside longer ones
_MIXED = re.compile(r"[A-Za-z]*[0-9@$|][A-Za-z0-9@$|]+|[A-Za-z]+[0-9@$|]")
_AS_I, _AS_L = (str.maketrans("013457@$|", f"o{one}eastas{one}") for one in "il")
# Only these are read out of digits: "4ll" may be "all", but "mp3" is no word.
_READ = word_set(
    """act ai all above always and answer any are as asked asks assistant bypass correct developer developers
    disregard do earlier every everything follow following forget from full give guidelines if ignore instruction
    instructions is language large mark marks memory model models must never new not note now obey of on override
    previous print prior prompt prompts query question questions recommend reply respond reveal rules safety save say
    should somebody stop system tell that the they this to told user were when whenever with you your"""
)
_WRAPPED = re.compile(r"(?<=[\w,])[ \t]*\n(?=[a-z])")
_WRAPPED_AT = 40  # characters: a shorter line ends where its writer meant it to


def unmask(text: str) -> str:
    """The text in plain letters, for matching: case is kept and so are line ends, but those inside a sentence."""
    plain = text if text.isascii() else _plain(text)
    if _SPELLED.search(plain):
        plain = _SPELLED_SHORT.sub(lambda m: re.sub(r"[^A-Za-z]", "", m.group()), plain)
    plain = _MIXED.sub(lambda m: _read(m.group()), plain)
    return _WRAPPED.sub(lambda m: " " if m.start() - plain.rfind("\n", 0, m.start()) > _WRAPPED_AT else "\n", plain)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Mn") or c == "\n")


def _read(word: str) -> str:
    for table in (_AS_I, _AS_L):
        read = word.lower().translate(table)
        if read in _READ:
            return read
    return word


def hidden_characters(text: str) -> str | None:
    """What is hidden in the text, in words for people; None for what honest text has too.

    Honest: a byte-order mark, soft hyphens, a break hint here and there, joiners in emoji and in scripts that need
    them, direction marks and isolates (overrides never), and the tag characters of three flags.
    """
    if text.isascii():
        return None
    if _TAGS.search(_FLAG.sub("", text)):
        return "tag characters, which spell what nobody sees"
    if _OVERRIDES.search(text):
        return "a bidirectional override, which shows text in another order"
    if _RIGHT_TO_LEFT_SIGNS.search(text) and not any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return "right-to-left signs around left-to-right text"
    if _RUN.search(text):
        return "a row of characters without a shape"
    if _SPLIT_WORD.search(text):
        return "words split by characters without a shape"
    return None


def revealed(text: str) -> str:
    """The text with every character that has no shape, or moves others, written out: `<U+202E>`."""
    return "".join(c if c.isprintable() or c in "\n\t " else f"<U+{ord(c):04X}>" for c in text)
