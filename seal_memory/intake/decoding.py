"""Bytes to text: encodings by their mark, files of another kind refused by name, HTML to its words.

Read are UTF-8 and, by its byte-order mark, UTF-16 and UTF-32 (PowerShell and Windows editors write them). Not covered:
other encodings without a mark, PDF and office formats (convert them), the shape of the text (`files`).
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from pathlib import Path

from seal_memory.errors import InputError
from seal_memory.language.text import is_binary_junk, word_set

__all__ = ["decode", "html_text", "looks_like_html", "read_text"]

# The longest mark first: UTF-32-LE begins like UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS = (
    (b"%PDF-", "a PDF: turn it into text, for example with: pdftotext FILE"),
    (b"{\\rtf", "an RTF document: turn it into text, for example with: pandoc -t plain FILE"),
    (b"PK\x03\x04", "an office document or ZIP archive: save it as text (pandoc -t plain FILE) or unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document: save it as text or Markdown"),
    (b"%!PS", "a PostScript file: turn it into text, for example with: ps2ascii FILE"),
    (b"\x1f\x8b", "a gzip file: unpack it with: gunzip FILE"),
    (b"BZh", "a bzip2 file: unpack it with: bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it with: unxz FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it with: unzstd FILE"),
    (b"\x89PNG", "a picture (PNG): only text is read"),
    (b"\xff\xd8\xff", "a picture (JPEG): only text is read"),
    (b"GIF8", "a picture (GIF): only text is read"),
    (b"SQLite format 3\x00", "a database (SQLite): export its rows as JSONL"),
    (b"PAR1", "a Parquet file: export its rows as JSONL"),
    (b"\x7fELF", "a program: only text is read"),
)
_START = 1024  # characters; in front of a PDF's mark its readers allow some
_XML = r"\A\s*(?:<\?xml[^>]*>\s*)?"
_TEXT_KINDS = (  # made of plain text, but not of words; looked for among the first characters
    (re.compile(r"^%PDF-\d\.\d", re.MULTILINE), _KINDS[0][1]),
    (
        re.compile(_XML + r"(?:<\?mso-application\b|<office:document\b|<pkg:package\b)"),
        "an office document (XML): save it as text or Markdown",
    ),
    (re.compile(_XML + r"(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b"), "a picture (SVG): only text is read"),
    (
        re.compile(r"\A[\w-]+: .*^Content-Type: *multipart/related", re.MULTILINE | re.DOTALL | re.IGNORECASE),
        "a saved web page (MHTML): save it as HTML",
    ),
    (
        re.compile(r'\A\s*\{\s*"(?:cells"\s*:\s*\[|nbformat"|metadata"\s*:\s*\{\s*"kernelspec")'),
        "a notebook: turn it into Markdown, for example with: jupyter nbconvert --to markdown FILE",
    ),
)


def read_text(path: Path) -> str:
    """The text in a file. Raises InputError that names the file, its kind, and the way out."""
    _check_name(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file. Name its files, for example {path}/*.md")
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path} is no regular file; expected a text file")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return decode(raw, str(path))


def _check_name(path: Path) -> None:
    """Raises InputError for a name that is not UTF-8: it could not be recorded as the source."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InputError(
            f"{shown}: the file's name is not UTF-8; rename it, for example with: "
            "convmv -f latin1 -t utf-8 --notest FILE"
        ) from None


def decode(raw: bytes, where: str) -> str:
    """Bytes as text; `where` begins every error. Raises InputError for another kind of file, or no text."""
    start = raw[:_START].removeprefix(codecs.BOM_UTF8).lstrip()
    for mark, kind in _KINDS:
        if start.startswith(mark):
            raise InputError(f"{where} is {kind}")
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\x00" in raw:
        raise InputError(
            f"{where} is a binary file (NUL at byte {raw.index(0)}); expected UTF-8 text, or UTF-16 with its mark"
        )
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(_not_text(where, encoding, error.start)) from error
    if is_binary_junk(text):
        raise InputError(f"{where} holds mostly control characters; expected text")
    if not text.strip():
        raise InputError(f"{where} is empty; expected some text")
    _check_kind(text, where)
    return text


def _check_kind(text: str, where: str) -> None:
    """Raises InputError for a file that is made of plain text, but not of words."""
    start = text[:_START]
    for pattern, kind in _TEXT_KINDS:
        if pattern.search(start):
            raise InputError(f"{where} is {kind}")


def _not_text(where: str, encoding: str, at: int) -> str:
    if encoding.startswith("utf-8"):
        return (
            f"{where} is not UTF-8 text (byte {at}); expected UTF-8. Convert it from what it is, "
            "such as windows-1252 or shift_jis: iconv -f windows-1252 -t utf-8 FILE"
        )
    return f"{where} begins like {encoding.upper()} and is damaged at byte {at}; save it as UTF-8"


# --- HTML ----------------------------------------------------------------------------------------

_HTML_START = re.compile(r"\s*(?:<!doctype html|<html|<head|<body|<meta|<title|<script|<style|<link)\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*<!--")
_XML_START = re.compile(r"\s*<\?xml[^<>]{0,200}\?>")
_UNFINISHED_TAG = re.compile(r"</?[a-z]", re.IGNORECASE)
_WORDLESS = re.compile(r"<!--|<[!?]|</(?![a-z])|<(?:script|style)\b", re.IGNORECASE)
_ENDS = {"<!--": re.compile("-->"), **dict.fromkeys(("<!", "<?", "</"), re.compile(">"))}
_ENDS |= {f"<{tag}": re.compile(rf"</{tag}", re.IGNORECASE) for tag in ("script", "style")}
_UNREAD = word_set("script style template noscript svg math iframe object")
_BLOCKS = word_set(
    """address article aside blockquote br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6
    header hr li main nav ol option p pre section summary table td th title tr ul"""
)


def looks_like_html(text: str) -> bool:
    """Whether a text begins as an HTML page does, behind comments."""
    before = _XML_START.match(text)
    at = before.end() if before else 0
    while (comment := _COMMENT.match(text, at)) is not None:
        end = text.find("-->", comment.end())
        if end < 0:
            return False
        at = end + 3
    return _HTML_START.match(text, at) is not None


def html_text(page: str) -> tuple[str | None, str]:
    """The title of an HTML page, if it has one, and its words: a line for each block, none of scripts and styles."""
    reader = _Words()
    whole = _without_declarations(page)
    end = whole.rfind(">") + 1
    reader.feed(whole[:end] + _UNFINISHED_TAG.split(whole[end:], maxsplit=1)[0])
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.words).split("\n"))
    title = " ".join("".join(reader.title).split()) or None
    return title, "\n".join(line for line in lines if line)


def _without_declarations(page: str) -> str:
    """A page without comments, declarations, scripts and styles, on which the parser fails or takes its time."""
    kept, at = [], 0
    while (found := _WORDLESS.search(page, at)) is not None:
        kept.append(page[at : found.start()])
        end = _ENDS[found.group().lower()].search(page, found.start() + 2)
        if end is None:  # it takes the rest
            return "".join(kept)
        at = end.start() if found.group()[1].isalpha() else end.end()
    return "".join([*kept, page[at:]])


class _Words(HTMLParser):
    """Collects a page's words; the parser decodes entities."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.title: list[str] = []
        self._unread: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNREAD:
            self._unread.append(tag)
        self._in_title |= tag == "title"
        self._end_line(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_line(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unread:
            self._unread.remove(tag)
        if tag == "title":
            self._in_title = False
        self._end_line(tag)

    def _end_line(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unread:
            (self.title if self._in_title else self.words).append(data.replace("\n", " "))
