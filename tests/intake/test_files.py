"""Reading files: every shape, and every way in which a file can be unusable."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.intake.decoding import html_text
from seal_memory.intake.files import Document, Question, read_file
from seal_memory.records import Role


def _write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_plain_text_is_one_document(tmp_path: Path) -> None:
    path = _write(tmp_path, "notes.txt", "\ufeffOne line.\n\nAnother.\n")
    assert list(read_file(path)) == [Document("One line.\n\nAnother.", source=str(path))]


def test_markdown_sections_carry_title_and_heading(tmp_path: Path) -> None:
    text = (
        "Before.\n\n# Harbour\nIntro.\n\n## Winch ##\nIt pulls.\n\n```sh\n# no heading\n```\n\n"
        "Dock\n----\nIt is dry.\n\n## Empty\n"
    )
    found = list(read_file(_write(tmp_path, "a.md", text)))
    assert [(d.title, d.text) for d in found] == [
        ("Harbour", "Before."),
        ("Harbour", "Intro."),
        ("Harbour — Winch", "It pulls.\n\n```sh\n# no heading\n```"),
        ("Harbour — Dock", "It is dry."),
    ]


def test_markdown_without_headings_or_of_headings_only_keeps_its_text(tmp_path: Path) -> None:
    [plain] = read_file(_write(tmp_path, "a.md", "Only text.\n- item\n---\nMore."))
    assert (plain.title, plain.text) == (None, "Only text.\n- item\n---\nMore.")
    [bare] = read_file(_write(tmp_path, "b.md", "# One\n## Two\n"))
    assert (bare.title, bare.text) == ("One", "# One\n## Two")


def test_jsonl_of_messages_is_one_session_per_file(tmp_path: Path) -> None:
    lines = [
        {"role": "human", "content": "My dog is Brumo."},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": [{"type": "text", "text": "20 kg"}, {"type": "image_url"}]},
        {"role": "user", "content": "Bye!", "session": "evening"},
    ]
    path = _write(tmp_path, "log.jsonl", "\n\n".join(map(json.dumps, lines)) + "\n")
    found = list(read_file(path))
    assert [(d.role, d.text, d.session) for d in found] == [
        (Role.USER, "My dog is Brumo.", "log"),
        (Role.TOOL, "20 kg", "log"),
        (Role.USER, "Bye!", "evening"),
    ]
    assert found[1].metadata == {"skipped_parts": ["image_url"]}


def test_each_conversation_is_a_session(tmp_path: Path) -> None:
    line = json.dumps({"messages": [{"role": "user", "content": "My dog is Brumo."}]})
    found = list(read_file(_write(tmp_path, "log.jsonl", f"{line}\r\n{line}\r\n")))
    assert [d.session for d in found] == ["log:1", "log:2"]


@pytest.mark.parametrize("name", ["p.json", "p.jsonl"])
def test_passages_come_with_their_questions(tmp_path: Path, name: str) -> None:
    passage = {
        "id": 7,
        "title": "Winch",
        "context": "The winch pulls 3 tons. ",
        "questions": [{"question": "How much?", "answer": "3 tons", "id": "x"}],
    }
    path = _write(tmp_path, name, json.dumps([passage] if name == "p.json" else passage))
    questions = (Question("How much?", "3 tons"),)
    expected = Document("The winch pulls 3 tons.", title="Winch", source=str(path), questions=questions)
    assert list(read_file(str(path))) == [expected]


def test_json_may_be_one_object(tmp_path: Path) -> None:
    path = _write(tmp_path, "p.json", '{\n"context": "The winch pulls.", "source": "manual"\n}')
    [one] = read_file(path)
    assert (one.title, one.source, one.questions) == (None, "manual", ())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n ", "is empty"),
        ("a.txt", b"caf\xe9", r"not UTF-8 text \(byte 3\)"),
        ("a.md", b"\x88PNG\x00\x01", "binary file"),
        ("a.md", b"\x89PNG\x00\x01", "a picture"),
        ("a.txt", b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj", "a PDF: turn it into text.*pdftotext"),
        ("a.txt", b"\xef\xbb\xbf\n%PDF-1.4", "a PDF"),
        ("a.txt", b"HTTP/1.1 200 OK\nServer: x\n\n%PDF-1.4\n1 0 obj\n", "a PDF"),
        ("a.txt", "\ufeff%PDF-1.4\n1 0 obj".encode("utf-16-le"), "a PDF"),
        ("a.xml", b"<?xml version='1.0'?>\n<?mso-application progid='Word.Document'?><w/>", "an office document"),
        ("a.fodt", b"<?xml version='1.0'?>\n<office:document><text:p/></office:document>", "an office document"),
        ("a.svg", b"<?xml version='1.0'?><svg xmlns='x'><path d='M0 0'/></svg>", "a picture"),
        ("a.txt", b"From: <Saved>\nContent-Type: multipart/related;\n\n<html>=3D", "a saved web page"),
        ("a.ipynb", b'{\n "cells": [],\n "nbformat": 4\n}', "a notebook: .*nbconvert"),
        ("a.txt", "日本語".encode("shift_jis"), "not UTF-8 text.*shift_jis"),
        ("a.md", b"# " + b"t" * 5000 + b"\nThe boat is red.", "title has 5,000 characters"),
        ("a.md", b"{\\rtf1\\ansi The boat is red.}", "an RTF document: turn it into text.*pandoc"),
        ("a.docx", b"PK\x03\x04word/document.xml", "an office document or ZIP archive: .*pandoc"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
        ("a.txt", b"\xff\xfeb\x00\x00\xd8", "begins like UTF-16 and is damaged at byte"),
        ("a.html", b"<html><script>1</script></html>", "an HTML page without words"),
        ("a.txt", b"\x01\x02\x03\x04", "control characters"),
        ("a.jsonl", b'{"context": "x y z"}\n{"context": ', "line 2: invalid JSON at column"),
        ("a.jsonl", b'{"context": "x y z"}\n[1]', "line 2: a JSON array; expected an object like"),
        ("a.jsonl", b'{"text": "x"}', r"line 1: unknown shape \(keys: text\); expected"),
        ("a.jsonl", b"{}", r"line 1: unknown shape \(keys: none\)"),
        ("a.jsonl", b'{"role": "wizard", "content": "x"}', "line 1: unknown role 'wizard'"),
        ("a.jsonl", b'{"role": "user"}', "line 1: 'content' is missing"),
        (
            "a.jsonl",
            b'{"messages": [{"role": "user", "content": 1}]}',
            "line 1, message 0: 'content' is an int",
        ),
        ("a.jsonl", b'{"messages": {}}', "line 1: 'messages' is an object; expected a list"),
        ("a.json", b'[\n{"context": "x"},\n{"context": }\n]', "line 3: invalid JSON"),
        ("a.json", b'[{"context": ""}]', "item 1: 'context' is an empty string; expected a text"),
        ("a.json", b'[{"context": "x", "title": 3}]', "item 1: 'title' is a number; expected a text"),
        ("a.json", b'[{"context": "x", "role": "wizard"}]', "item 1: unknown role"),
        (
            "a.json",
            b'[{"context": "x", "questions": {}}]',
            "item 1: 'questions' is an object; expected a list",
        ),
        ("a.json", b'[{"context": "x", "questions": [{"question": "q"}]}]', "item 1, question 1: expected"),
        ("a.json", b"[]", "nothing to read"),
        ("a.json", b"null", "a JSON null"),
        ("a.json", b"[" * 100_000, "JSON"),
    ],
)
def test_a_bad_file_is_refused_by_the_call_itself(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = _write(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as caught:
        read_file(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_file(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        read_file(tmp_path / "pipe")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=80), st.sampled_from([".txt", ".md", ".json", ".jsonl"]))
def test_any_bytes_give_documents_or_an_input_error(tmp_path: Path, content: bytes, ending: str) -> None:
    path = _write(tmp_path, f"any{ending}", content)
    try:
        found = list(read_file(path))
    except InputError:
        return
    assert all(document.text.strip() for document in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from(["# A", "word", "", "---", "===", "```", "- b", "## C d ##", "> q"]), min_size=1))
def test_markdown_keeps_every_word(tmp_path: Path, lines: list[str]) -> None:
    text = "\n".join(lines)
    if not text.strip():
        return
    found = list(read_file(_write(tmp_path, "any.md", text)))
    assert sum(document.text.count("word") for document in found) + _in_titles(lines) >= text.count("word")


def _in_titles(lines: list[str]) -> int:
    """Words that a line of === or --- below them turned into headings."""
    return sum(a == "word" and b in ("---", "===") for a, b in pairwise(lines))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8-sig"])
def test_an_encoding_is_known_by_its_mark(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16; the mark says so."""
    mark = "" if encoding in ("utf-16", "utf-8-sig") else "\ufeff"
    path = _write(tmp_path, "a.md", f"{mark}# Boats\nThe ferry José is red.".encode(encoding))
    (document,) = read_file(path)
    assert (document.title, document.text) == ("Boats", "The ferry José is red.")


@pytest.mark.parametrize("name", ["a.html", "a.txt", "a.HTM"])
def test_a_page_becomes_its_words(tmp_path: Path, name: str) -> None:
    page = (
        "<!DOCTYPE html><html><head><title>Ferry &amp; boats</title><style>p {color: red}</style>"
        "<script>var x = '<p>no</p>';</script></head><body><h1>Ferry</h1><p>The <b>ferry</b> leaves\nat&nbsp;six."
        "</p><ul><li>one<li>two</ul></body></html>"
    )
    (document,) = read_file(_write(tmp_path, name, page.encode()))
    assert document.title == "Ferry & boats"
    assert document.text == "Ferry\nThe ferry leaves at six.\none\ntwo"


PAGE = "<!DOCTYPE html><html><title>Boats</title><p>The ferry is red.</p></html>"


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
@pytest.mark.parametrize(
    "page",
    [
        PAGE,
        f"<!-- one --> <!-- two -->\n{PAGE}",
        f"<!--[if lt IE 7]> <html class='ie6'> <![endif]-->\n{PAGE}",
        f"<?xml version='1.0'?>\n{PAGE}",
        "<meta charset=utf-8><title>Boats</title><p>The ferry is red.",
        "<html><title>Boats</title><![<![x <!> </ > <? > <script><!-- '</p>' </script><p>The ferry is red.",
    ],
)
def test_a_page_is_one_whatever_stands_before_it_or_is_wrong_in_it(tmp_path: Path, name: str, page: str) -> None:
    (document,) = read_file(_write(tmp_path, name, page.encode()))
    assert (document.title, document.text) == ("Boats", "The ferry is red.")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["<!--", "-->", "<![", "]]>", "<", "</", ">", "<p>", "<script>", "&#", "'", "x"])))
def test_no_markup_breaks_a_page(parts: list[str]) -> None:
    html_text("".join(parts))


@pytest.mark.parametrize("mark", ["<!--", "<![", "</", "<?", "<script>", "<p a='"])
def test_marks_that_nothing_ends_take_no_time(mark: str) -> None:
    """160 kB took a minute; now milliseconds."""
    started = time.process_time()
    html_text("<html>" + mark * 20_000)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# Learning C#", "Learning C#"),
        ("# Learning C# ##", "Learning C#"),
        ("## Boats ##", "Boats"),
        ("# F# and C#\t#", "F# and C#"),
        ("# #", "#"),
    ],
)
def test_a_mark_that_belongs_to_a_word_stays_in_the_heading(tmp_path: Path, line: str, title: str) -> None:
    (document,) = read_file(_write(tmp_path, "a.md", f"{line}\nThe ferry is red.".encode()))
    assert document.title == title


def test_a_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    try:
        path.write_text("The ferry is red.")
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    with pytest.raises(InputError, match=r"caf\\udce9\.txt: the file's name is not UTF-8; rename it"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"role": "user", "content": "ok"}\n{"role": "user", "content": "half \\ud800 a pair"}'),
        ("a.json", '[{"context": "ok"}, {"context": "ok", "title": "\\ud800"}]'),
        ("a.jsonl", '{"context": "ok"}\n{"context": "a\\u0000b"}'),
        ("a.jsonl", '{"context": "ok"}\n{"context": "ok", "session": "\\udfff"}'),
    ],
)
def test_what_the_ledger_would_refuse_is_refused_by_the_call_itself(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl?, text 2: "):
        read_file(_write(tmp_path, name, text))
