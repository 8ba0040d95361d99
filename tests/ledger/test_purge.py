"""Purge: every derivative goes, the report names the rest, and the bytes are gone from the files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.errors import BusyError, LedgerError, UnknownIdError
from seal_memory.ledger import Ledger, purge
from seal_memory.ledger.purge import mark_wipe_due
from seal_memory.records import (
    AdapterRecord,
    Decision,
    Grade,
    Manifest,
    NewInteraction,
    QuizItem,
    SelfEdit,
    ShardEntry,
)

See = Callable[..., list[str]]
Make = Callable[..., object]

SECRET = "xylofract"  # also the stem that the search index keeps


def stored_bytes(folder: Path) -> bytes:
    files = sorted(folder.glob("ledger.sqlite*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


def fill(
    ledger: Ledger,
    make_self_edit: Callable[..., SelfEdit],
    make_quiz_item: Callable[..., QuizItem],
    make_adapter: Callable[..., AdapterRecord],
) -> tuple[str, str]:
    """One interaction with the secret and one without; each derivative repeats the secret."""
    bad, good = (
        seen.id
        for seen in ledger.observe(
            [
                NewInteraction(
                    f"The {SECRET} opens the safe.", title=f"{SECRET} title", session=f"{SECRET} session",
                    source=f"{SECRET} source", metadata={"note": SECRET}, reason=f"{SECRET} reason",
                ),
                NewInteraction("The harbour is deep."),
            ]
        )
    )  # fmt: skip
    ledger.observe([NewInteraction(f"The {SECRET} opens the safe.", title=f"{SECRET} title", session="late")])
    ledger.add_self_edits(
        [
            make_self_edit("e-bad", bad, text=f"safe: {SECRET}"),
            make_self_edit("e-replay", good, replayed=bad, text=SECRET),
            make_self_edit("e-good", good, text="harbour"),
        ]
    )
    ledger.add_quiz_items(
        [
            make_quiz_item("q-bad", bad, question="What opens the safe?", answer=SECRET),
            make_quiz_item("q-good", good, question="What is deep?", answer="the harbour"),
        ]
    )
    for name, of in (("s-bad", bad), ("s-good", good)):
        ledger.add_adapter(make_adapter(name, of))
    ledger.add_grades([Grade(q, "s-bad", None, -1.0, 0.5, True, 1.0) for q in ("q-bad", "q-bad", "q-good")])
    good_shard = ShardEntry("s-good", "e2", (good,))
    ledger.add_snapshot(Manifest((good_shard,)), parent=None, base_fingerprint="base")
    both = Manifest((good_shard, ShardEntry("s-bad", "e1", (bad,))))
    ledger.add_snapshot(both, parent=1, base_fingerprint="base")
    ledger.add_decision(Decision("d1", "s-bad", None, True, (f"knows {SECRET}",), {"recall": 1.0}, 2, 1.0))
    ledger.add_decision(Decision("d2", None, "episode-of-e-bad", False, (SECRET,), {}, None, 1.0))
    ledger.add_decision(Decision("d3", "s-good", None, True, ("knows the harbour",), {}, 1, 1.0))
    job = ledger.start_job("consolidate", {"ids": [bad], "title": SECRET}, owner="p", lease_seconds=9)
    ledger.finish_job(job.id, f"could not learn {SECRET}")
    return bad, good


@pytest.fixture
def filled(ledger: Ledger, make_self_edit: Make, make_quiz_item: Make, make_adapter: Make) -> tuple[str, str]:
    return fill(ledger, make_self_edit, make_quiz_item, make_adapter)  # type: ignore[arg-type]


def test_every_derivative_goes_and_the_rest_stays(ledger: Ledger, filled: tuple[str, str]) -> None:
    bad, good = filled
    report = ledger.purge([bad])
    assert (report.interactions, report.sightings, report.self_edits) == (1, 2, 2)
    assert (report.quiz_items, report.grades, report.decisions, report.jobs) == (1, 2, 2, 1)
    assert [seen.id for seen in ledger.interactions()] == [good]
    assert [edit.id for edit in ledger.self_edits()] == ["e-good"]
    assert [item.id for item in ledger.quiz_items()] == ["q-good"]
    assert [grade.quiz_item_id for grade in ledger.grades()] == ["q-good"]
    assert [decision.reasons for decision in ledger.decisions()] == [
        ("knows the harbour",),
        ("removed by a forget",),
        ("removed by a forget",),
    ]
    job = ledger.jobs()[0]
    assert (job.payload, job.error) == ({}, "removed by a forget")
    assert ledger.search(f"{SECRET} safe") == []
    assert len(ledger.search("harbour")) == 1


def test_the_report_names_the_adapters_and_snapshots_to_destroy(ledger: Ledger, filled: tuple[str, str]) -> None:
    report = ledger.purge([filled[0]])
    assert report.adapter_ids == ("s-bad",)
    assert report.snapshot_versions == (2,)
    assert ledger.adapters_trained_on([filled[0]]) == ["s-bad"]


def test_the_bytes_are_gone_from_every_file(ledger: Ledger, filled: tuple[str, str], tmp_path: Path) -> None:
    before = stored_bytes(tmp_path)
    assert SECRET.encode() in before
    assert b"harbour" in before
    assert ledger.purge([filled[0]]).wiped
    after = stored_bytes(tmp_path)
    assert SECRET.encode() not in after
    assert SECRET.encode()[:6] not in after
    assert b"harbour" in after
    ledger.close()
    assert SECRET.encode() not in stored_bytes(tmp_path)


def test_the_bytes_are_gone_in_a_large_ledger_with_long_texts(ledger: Ledger, tmp_path: Path) -> None:
    """Rows of many pages, index pages that split and merge, several index segments."""
    ids = []
    for batch in range(8):
        items = [
            NewInteraction(f"zqx{batch}y{n}w " * (1 + n * n % 300), metadata={"m": f"zqm{batch}y{n}w"})
            for n in range(40)
        ]
        ids.append([seen.id for seen in ledger.observe(items)])
    for batch in range(0, 8, 2):
        ledger.purge(ids[batch])
    data = stored_bytes(tmp_path)
    for batch in range(8):
        for n in range(40):
            gone = batch % 2 == 0
            assert (f"zqx{batch}y{n}w ".encode() not in data) is gone
            assert (f"zqm{batch}y{n}w".encode() not in data) is gone
    for table in ("search_terms", "search_lengths"):
        left = f"SELECT count(*) FROM {table} WHERE seq NOT IN (SELECT seq FROM interactions)"
        assert ledger._scope.connection.rows(left)[0][0] == 0
    assert ledger._scope.connection.rows("PRAGMA integrity_check")[0][0] == "ok"


def test_the_hash_is_gone_too_and_only_a_tombstone_stays(ledger: Ledger, tmp_path: Path) -> None:
    seen = ledger.observe([NewInteraction("A guessable text.")])[0]
    digest = ledger.interactions()[0].content_hash
    ledger.purge([seen.id])
    assert digest.encode() not in stored_bytes(tmp_path)
    with pytest.raises(UnknownIdError, match=rf"{seen.id} \(was forgotten\)"):
        ledger.interactions(ids=[seen.id])


def test_a_forgotten_text_may_be_observed_anew(ledger: Ledger) -> None:
    first = ledger.observe([NewInteraction("again")])[0]
    ledger.purge([first.id])
    second = ledger.observe([NewInteraction("again")])[0]
    assert second.new
    assert second.id != first.id


def test_unknown_ids_are_refused_and_forgotten_ones_are_not(ledger: Ledger, see: See) -> None:
    a, b = see("a", "b")
    with pytest.raises(UnknownIdError, match="nope"):
        ledger.purge([a, "nope"])
    assert len(ledger.interactions()) == 2
    ledger.purge([a])
    assert ledger.purge([a, b]).interactions == 1
    assert ledger.purge([]).interactions == 0


def test_purging_a_correction_leaves_the_old_text_superseded(ledger: Ledger, see: See) -> None:
    (old,) = see("old")
    new = ledger.supersede(old, NewInteraction("new")).id
    ledger.purge([new])
    assert ledger.successor(old) is None
    assert ledger.search("old") == []


def test_inside_atomic_the_wipe_follows_the_outer_commit(
    ledger: Ledger, filled: tuple[str, str], tmp_path: Path
) -> None:
    with ledger.atomic():
        report = ledger.purge([filled[0]])
        assert not report.wiped
        ledger.destroy_snapshots(report.snapshot_versions)
        ledger.remove_adapters(report.adapter_ids)
    assert SECRET.encode() not in stored_bytes(tmp_path)
    assert [s.version for s in ledger.history()] == [1]
    assert [adapter.id for adapter in ledger.adapters()] == ["s-good"]


def test_a_purge_that_is_rolled_back_removes_nothing(ledger: Ledger, filled: tuple[str, str]) -> None:
    def fail() -> None:
        with ledger.atomic():
            ledger.purge([filled[0]])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(ledger.interactions()) == 2
    assert len(ledger.search(SECRET)) == 1


def test_a_wipe_that_a_reader_prevents_is_done_later(ledger: Ledger, filled: tuple[str, str], tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as other:
        ledger._scope.connection.rows("PRAGMA busy_timeout=20")
        with other._scope.connection.reading():
            assert len(other.interactions()) == 2
            assert not ledger.purge([filled[0]]).wiped
            with pytest.raises(BusyError, match="another process is reading"):
                ledger.wipe()
        assert SECRET.encode() in stored_bytes(tmp_path)
    Ledger.open(tmp_path).close()
    assert SECRET.encode() not in stored_bytes(tmp_path)


def test_other_namespaces_keep_their_own(ledger: Ledger, filled: tuple[str, str], tmp_path: Path) -> None:
    with Ledger.open(tmp_path, namespace="other") as other:
        mine = other.observe([NewInteraction("The safe is blue.")])[0].id
        ledger.purge([filled[0]])
        assert [seen.id for seen in other.interactions()] == [mine]
        with pytest.raises(UnknownIdError):
            other.purge([filled[1]])


def test_a_wipe_that_failed_is_retried_and_the_file_is_rebuilt_once(
    ledger: Ledger, filled: tuple[str, str], tmp_path: Path
) -> None:
    """While a reader holds the old state only the log is left to do, whose length does not grow by the tries."""
    log = tmp_path / "ledger.sqlite-wal"
    with Ledger.open(tmp_path) as other:
        ledger._scope.connection.rows("PRAGMA busy_timeout=20")
        with other._scope.connection.reading():
            assert len(other.interactions()) == 2
            ledger.purge([filled[0]])
            length = log.stat().st_size
            for _ in range(3):
                ledger._scope.connection.wipe_after = 0.0
                assert not ledger.retry_wipe()
            assert not ledger.wiped
            assert log.stat().st_size == length
        assert not ledger.retry_wipe()  # not so soon
        ledger._scope.connection.wipe_after = 0.0
        assert ledger.retry_wipe()
    assert ledger.wiped
    assert SECRET.encode() not in stored_bytes(tmp_path)


def test_without_room_to_rebuild_the_wipe_stays_due_and_the_log_is_emptied(
    ledger: Ledger, filled: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VACUUM needs as much room as the file: what does not need it is done at once."""
    connection = ledger._scope.connection
    real = connection.run_outside_transaction

    def full(sql: str) -> list[sqlite3.Row]:
        if sql == "VACUUM":
            raise LedgerError("the disk is full")
        return real(sql)

    monkeypatch.setattr(connection, "run_outside_transaction", full)
    assert not ledger.purge([filled[0]]).wiped
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size == 0
    monkeypatch.undo()
    connection.wipe_after = 0.0
    assert ledger.retry_wipe()
    assert SECRET.encode() not in stored_bytes(tmp_path)


def test_a_deletion_during_a_wipe_is_wiped_too(ledger: Ledger, filled: tuple[str, str]) -> None:
    """The end of one wipe does not clear the mark of a later deletion."""
    connection = ledger._scope.connection
    with Ledger.open(ledger.path) as other:
        other._scope.connection.rows("PRAGMA busy_timeout=20")
        real, during = connection.empty_log, []

        def busy(*, wait: float) -> bool:
            if not during:
                during.append(True)
                with other._scope.connection.atomic():
                    mark_wipe_due(other._scope.connection)
                    other._scope.connection._after_commit.clear()  # that process is killed after its commit
            return real(wait=wait)

        connection.empty_log = busy  # type: ignore[method-assign]
        ledger.purge([filled[0]])
        assert not ledger.wiped
        ledger.wipe()
        assert ledger.wiped


def test_forgets_one_after_another_share_a_rebuild_that_takes_long(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers of all namespaces wait for it."""
    monkeypatch.setattr(purge, "LONG", 0.0)
    monkeypatch.setattr(purge, "REST", 1e6)
    seen = [one.id for one in ledger.observe([NewInteraction(f"text {n}") for n in range(3)])]
    assert ledger.purge(seen[:1]).wiped
    assert not ledger.purge(seen[1:2]).wiped
    assert not ledger.retry_wipe()
    ledger._scope.connection.rebuild_after = ledger._scope.connection.wipe_after = 0.0
    assert ledger.retry_wipe()
    assert not ledger.purge(seen[2:]).wiped
    ledger.wipe()
    assert ledger.wiped


def test_a_wipe_that_a_reader_prevented_is_finished_by_a_later_commit(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no trainer runs, too."""
    monkeypatch.setattr(purge, "WAIT", 0.05)
    (seen,) = ledger.observe([NewInteraction("zqxtext")])
    with Ledger.open(tmp_path) as reader, reader._scope.connection.reading():
        reader.counts()
        assert not ledger.purge([seen.id]).wiped
        ledger.observe([NewInteraction("one")])
        assert not ledger.wiped
    ledger.observe([NewInteraction("two")])
    assert not ledger.wiped  # not at every commit
    ledger._scope.connection.wipe_after = 0.0
    ledger.observe([NewInteraction("three")])
    assert ledger.wiped
    assert ledger._scope.connection.unfinished is None
    assert b"zqxtext" not in b"".join(file.read_bytes() for file in tmp_path.glob("ledger.sqlite*"))
