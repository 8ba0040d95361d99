"""Opening: new, existing, foreign, damaged, newer and read-only ledgers; migrations."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seal_memory.errors import InputError, LedgerError, NewerSchemaError
from seal_memory.ledger import Ledger
from seal_memory.ledger.connection import open_connection
from seal_memory.ledger.schema import MIGRATIONS, prepare
from seal_memory.records import NewInteraction


def version_of(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a" / "b") as ledger:
        assert ledger.path == tmp_path / "a" / "b" / "ledger.sqlite"
        assert not ledger.read_only


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        seen = ledger.observe([NewInteraction("The mill burned down in 1911.")])
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.interactions()[0].id == seen[0].id


def test_an_empty_namespace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="namespace is empty"):
        Ledger.open(tmp_path, namespace="")


def test_durability_settings_are_on(ledger: Ledger) -> None:
    found = {
        name: ledger._scope.connection.rows(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
    }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 10_000,
    }


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"\x89PNG not a database at all" * 100)
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="is not a SQLite database: move it away"):
        Ledger.open(tmp_path)
    assert file.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="another program's database"):
        Ledger.open(tmp_path)
    assert file.read_bytes() == before


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.observe([NewInteraction(f"fact {number}") for number in range(500)])
    file = tmp_path / "ledger.sqlite"
    data = file.read_bytes()
    file.write_bytes(data[:4096] + b"\x5a" * (len(data) - 4096))
    with pytest.raises(LedgerError, match=r"is damaged: restore a copy"), Ledger.open(tmp_path) as ledger:
        ledger.interactions()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="cannot make the folder"):
        Ledger.open(tmp_path / "file" / "memory")


def test_a_newer_schema_names_both_versions_and_the_way_out(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(NewerSchemaError, match=rf"schema 99.*up to {len(MIGRATIONS)}.*upgrade"):
        Ledger.open(tmp_path)


def test_a_failing_migration_leaves_the_old_version_whole(tmp_path: Path) -> None:
    """Also the migrations before it are undone."""
    with Ledger.open(tmp_path) as ledger:
        ledger.observe([NewInteraction("kept")])
    file = tmp_path / "ledger.sqlite"
    connection = open_connection(file)
    broken = (*MIGRATIONS, "CREATE TABLE extra (a TEXT);", "SELECT ';'; INSERT INTO no_such_table VALUES (1);")
    with pytest.raises(LedgerError, match="no_such_table"):
        prepare(connection, migrations=broken)
    assert connection.rows("SELECT name FROM sqlite_master WHERE name = 'extra'") == []
    connection.close()
    assert version_of(file) == len(MIGRATIONS)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.interactions()[0].text == "kept"


def test_later_migrations_are_applied_in_order(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.observe([NewInteraction("kept")])
    connection = open_connection(tmp_path / "ledger.sqlite")
    more = (*MIGRATIONS, "CREATE TABLE extra (a TEXT);", "INSERT INTO extra VALUES ('b');")
    prepare(connection, migrations=more)
    assert connection.rows("SELECT a FROM extra")[0][0] == "b"
    connection.close()
    assert version_of(tmp_path / "ledger.sqlite") == len(more)


def test_a_closed_ledger_says_so_and_closes_twice(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.interactions()


def test_a_full_disk_changes_nothing_and_says_so(ledger: Ledger) -> None:
    ledger.observe([NewInteraction("before")])
    pages = ledger._scope.connection.rows("PRAGMA page_count")[0][0]
    ledger._scope.connection.rows(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(LedgerError, match="disk is full"):
        ledger.observe([NewInteraction("long " * 20_000)])
    assert [seen.text for seen in ledger.interactions()] == ["before"]
    ledger._scope.connection.rows(f"PRAGMA max_page_count={pages + 10_000}")
    assert ledger.observe([NewInteraction("after")])[0].new


def test_after_a_transaction_is_lost_nothing_more_is_written_in_its_block(ledger: Ledger) -> None:
    """SQLite may end a transaction by itself; who swallows that error must not write half a block."""
    ledger._scope.connection.run_outside_transaction(
        "CREATE TEMP TRIGGER lose BEFORE INSERT ON interactions BEGIN SELECT RAISE(ROLLBACK, 'lost'); END"
    )

    def swallow() -> None:
        with ledger.atomic():
            ledger.meta_set("a", "1")
            with pytest.raises(LedgerError, match="lost"):
                ledger.observe([NewInteraction("x")])
            with pytest.raises(LedgerError, match="undone by an earlier error"):
                ledger.meta_set("b", "2")

    with pytest.raises(LedgerError, match="undone by an earlier error"):
        swallow()
    assert (ledger.meta_get("a"), ledger.meta_get("b")) == (None, None)


def test_several_processes_may_create_one_ledger_at_once(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    code = (
        "import sys; from pathlib import Path; from seal_memory.ledger import Ledger\n"
        "from seal_memory.records import NewInteraction\n"
        "with Ledger.open(Path(sys.argv[1])) as ledger:\n"
        "    for n in range(20): ledger.observe([NewInteraction(f'{sys.argv[2]} {n}')])\n"
    )
    children = [run_python(code, str(tmp_path), name) for name in "abc"]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    for child in children:
        assert child.stdout is not None
        child.stdout.close()
    with Ledger.open(tmp_path) as ledger:
        assert len(ledger.interactions()) == 60


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter (pytest's own is for one user only)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ_ONLY_USER = """
import os, sys
from pathlib import Path
from seal_memory.ledger import Ledger
from seal_memory.errors import LedgerError
from seal_memory.records import NewInteraction
if os.geteuid() == 0:
    os.setuid(65534)  # nobody: root may write anywhere
try:
    with Ledger.open(Path(sys.argv[1])) as ledger:
        print(ledger.read_only, [i.text for i in ledger.interactions()], len(ledger.search("mill")))
        try:
            ledger.observe([NewInteraction("more")])
        except LedgerError as error:
            print(error)
except LedgerError as error:
    print("refused:", error)
"""


def test_a_read_only_folder_opens_for_reading_and_refuses_writes(
    open_folder: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    with Ledger.open(open_folder) as ledger:
        ledger.observe([NewInteraction("the mill")])
    os.chmod(open_folder / "ledger.sqlite", 0o444)
    open_folder.chmod(0o555)
    out, _ = run_python(READ_ONLY_USER, str(open_folder)).communicate(timeout=60)
    lines = out.splitlines()
    assert lines[0] == "True ['the mill'] 1"
    assert lines[1].startswith(f"{open_folder} is read-only")


def test_a_read_only_folder_with_an_unfinished_log_is_not_read_wrongly(
    open_folder: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """Opening it as immutable would silently leave out what is only in the log."""
    with Ledger.open(open_folder / "live") as ledger:
        ledger.observe([NewInteraction("the mill")])
        dead = open_folder / "dead"
        dead.mkdir()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(ledger.path.with_name(name), dead / name)
    for file in dead.iterdir():
        file.chmod(0o444)
    dead.chmod(0o555)
    out, _ = run_python(READ_ONLY_USER, str(dead)).communicate(timeout=60)
    assert "refused:" in out
    assert "copy the folder to a writable place" in out
    dead.chmod(0o755)


def test_texts_are_indexed_anew_where_words_are_folded_in_another_way(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        (seen,) = ledger.observe([NewInteraction("Łódź has the key.")])
        connection = ledger._scope.connection
        with connection.atomic():
            connection.run("UPDATE search_terms SET term = 'łodz' WHERE term = 'lodz'")
        connection.run_outside_transaction(f"PRAGMA user_version={len(MIGRATIONS) - 1}")
        assert ledger.search("Lodz") == []
    with Ledger.open(tmp_path) as ledger:
        assert [hit.interaction.id for hit in ledger.search("Lodz")] == [seen.id]
        assert len(ledger.search("key")) == 1


def test_texts_of_an_earlier_release_are_found_in_any_script_after_migrating(tmp_path: Path) -> None:
    """Schema 6 indexed by FTS5, which took a Japanese sentence for one word; its index goes."""
    seen = [("default", "サーバーの管理者は田中さんです。", None), ("default", "It opened late.", "Breweries")]
    seen.append(("b", "boat", ""))
    connection = open_connection(tmp_path / "ledger.sqlite")
    prepare(connection, migrations=MIGRATIONS[:6])
    with connection.atomic():
        for n, (namespace, text, title) in enumerate(seen):
            connection.run(
                "INSERT INTO interactions (namespace, id, status, time, role, content_hash, title, metadata, text)"
                " VALUES (?, ?, 'pending', 0, 'user', ?, ?, '{}', ?)",
                (namespace, f"i{n}", f"h{n}", title, text),
            )
    connection.close()
    with Ledger.open(tmp_path) as ledger:
        assert [hit.interaction.id for hit in ledger.search("管理者")] == ["i0"]
        assert [hit.interaction.id for hit in ledger.search("brewery")] == ["i1"]
        assert ledger.search("boat") == []
        tables = ledger._scope.connection.rows("SELECT name FROM sqlite_master WHERE name LIKE '%fts%'")
        assert [row[0] for row in tables] == []
    with Ledger.open(tmp_path, namespace="b") as other:
        assert [hit.interaction.id for hit in other.search("boats")] == ["i2"]
