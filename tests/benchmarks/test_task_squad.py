"""The SQuAD task: one unit, one chunk and its questions for each passage, and clear errors for bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tasks import squad
from benchmarks.tasks.base import evidence, file_sha256
from seal_memory.errors import InputError
from seal_memory.language.metrics import contains

FIELDS = ("notes_gpt41", "notes_qwen7b", "notes_seal")


@pytest.fixture
def passages(shared_data: Path) -> Path:
    path = shared_data / "squad_seal200.jsonl"
    if not path.is_file():
        pytest.skip(f"no passages at {path}")
    return path


def _record(number: int = 7, **changes: Any) -> dict[str, Any]:
    record = {
        "id": number,
        "title": "Korrin Bay",
        "context": "Maud Ellery built the lighthouse in 1887.",
        "questions": [{"question": "Who built it?", "answer": "Maud Ellery"}, {"question": "When?", "answer": "1887"}],
        "notes_gpt41": ["It was built in 1887.", "second"],
    }
    return record | changes


def _write(folder: Path, *records: object) -> Path:
    path = folder / "passages.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_passage_is_a_unit_with_one_chunk_and_its_questions(tmp_path: Path) -> None:
    path = _write(tmp_path, _record())
    (unit,) = squad.load(path).units
    (chunk,) = unit.chunks
    assert (chunk.role, chunk.title, chunk.source) == ("document", "Korrin Bay", "squad-7")
    assert chunk.text == "Maud Ellery built the lighthouse in 1887."
    assert [(q.text, q.answers, q.chunk_ids) for q in unit.questions] == [
        ("Who built it?", ("Maud Ellery",), (chunk.id,)),
        ("When?", ("1887",), (chunk.id,)),
    ]


def test_start_and_limit_choose_passages_and_keep_their_ids(tmp_path: Path) -> None:
    path = _write(tmp_path, *(_record(n) for n in range(5)))
    whole, part = squad.load(path), squad.load(path, start=1, limit=2)
    assert part.units == whole.units[1:3]
    assert squad.load(path, start=4, limit=9).units == whole.units[4:]
    assert part.options == {"start": 1, "limit": 2}
    assert part.data_sha256 == whole.data_sha256 == file_sha256(path)


def test_notes_are_found_by_unit_and_the_first_counts(tmp_path: Path) -> None:
    path = _write(tmp_path, _record(1), _record(2, notes_gpt41="one text"))
    assert squad.notes(path, "notes_gpt41") == {"squad-1": "It was built in 1887.", "squad-2": "one text"}
    with pytest.raises(InputError, match="notes_gpt41"):
        squad.notes(path, "notes_of_nobody")


def test_every_id_is_there_once(passages: Path) -> None:
    task = squad.load(passages)
    chunks = [c.id for u in task.units for c in u.chunks]
    questions = [q.id for u in task.units for q in u.questions]
    assert len(task.units) == len({u.id for u in task.units}) == 200
    assert len(chunks) == len(set(chunks)) == len(task.chunks)
    assert len(questions) == len(set(questions))


def test_nearly_every_answer_stands_in_its_passage(passages: Path) -> None:
    """SQuAD's answers are spans; a span may begin or end within a word."""
    task = squad.load(passages)
    questions = [q for u in task.units for q in u.questions]
    held = [any(contains(text, q.answers[0]) for text in evidence(q, task.chunks)) for q in questions]
    assert sum(held) / len(held) > 0.97


def test_the_shared_file_has_notes_of_three_models(passages: Path) -> None:
    units = {u.id for u in squad.load(passages).units}
    for field in FIELDS:
        assert set(squad.notes(passages, field)) == units


@pytest.mark.parametrize("missing", ["id", "title", "context", "questions"])
def test_a_missing_field_is_named_with_its_line(tmp_path: Path, missing: str) -> None:
    bad = {key: value for key, value in _record(2).items() if key != missing}
    with pytest.raises(InputError, match=f"line 2: no '{missing}'"):
        squad.load(_write(tmp_path, _record(1), bad))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": " "}, "'context' is an empty text"),
        ({"title": 3}, "'title' is a number"),
        ({"questions": "none"}, "'questions' is a text; expected a list"),
        ({"questions": [{"question": "When?"}]}, "question 1: no 'answer'"),
        ({"questions": ["When?"]}, "question 1: a text; expected an object"),
        ({"id": None}, "'id' is null"),
        ({"id": 1}, "again"),
    ],
)
def test_a_field_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        squad.load(_write(tmp_path, _record(1), _record(2, **changes)))


def test_a_bad_line_is_named_by_number(tmp_path: Path) -> None:
    path = _write(tmp_path, _record(1))
    path.write_text(path.read_text(encoding="utf-8") + "\n{broken\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: invalid JSON"):
        squad.load(path)


@pytest.mark.parametrize("start", [-1, 2, 99])
def test_a_start_outside_the_file_is_refused(tmp_path: Path, start: int) -> None:
    with pytest.raises(InputError, match="has 2 passages"):
        squad.load(_write(tmp_path, _record(1), _record(2)), start=start)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(InputError, match="limit is"):
        squad.load(_write(tmp_path, _record()), limit=limit)


def test_what_is_no_file_of_passages_is_refused(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "binary.jsonl"
    empty.write_text("\n", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00")
    for path, message in [(tmp_path / "no", "no such file"), (tmp_path, "folder"), (empty, "empty"), (binary, "UTF-8")]:
        with pytest.raises(InputError, match=message):
            squad.load(path)
