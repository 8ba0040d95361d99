"""Damaged files, other models, enormous and broken text, disks that refuse: a clear error or a documented way on."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import Answer, SealMemory
from seal_memory.errors import BaseModelMismatchError, ChangedError, InputError, LedgerError, ModelUnavailableError
from seal_memory.learning.consolidate import Consolidator
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE
from seal_memory.lora.store import AdapterStore
from seal_memory.records import Status

REPOSITORY = Path(__file__).resolve().parents[1]

FIRST = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
SECOND = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
QUESTIONS = {
    FIRST: ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery"),
    SECOND: ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12"),
}

Open = Callable[..., SealMemory]


def _observe(memory: SealMemory, text: str) -> str:
    (seen,) = memory.observe(text)
    memory.add_quiz([QUESTIONS[text]], interaction_ids=[seen.id])
    return seen.id


@pytest.fixture
def published(open_memory: Open) -> SealMemory:
    """A memory of two versions, closed: 1 holds the first text, 2 both."""
    with open_memory() as memory:
        for text in (FIRST, SECOND):
            _observe(memory, text)
            assert memory.consolidate().published == 1
    return memory


def _folder_of(memory: SealMemory, version: int) -> Path:
    """Where the adapter lies that came with a version."""
    return memory.store.folder(memory.ledger.snapshot(version).manifest.shards[-1].adapter_id)


def _ask(memory: SealMemory, text: str) -> Answer:
    answer = memory.ask(QUESTIONS[text][0], mode="weights")
    assert isinstance(answer, Answer)
    return answer


# -- damaged adapters -------------------------------------------------------------------------------


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / TENSORS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / TENSORS_FILE).write_bytes(content)


def _cut_short(folder: Path) -> None:
    (folder / TENSORS_FILE).write_bytes((folder / TENSORS_FILE).read_bytes()[:100])


def _lose_the_config(folder: Path) -> None:
    (folder / CONFIG_FILE).unlink()


@pytest.mark.parametrize("damage", [_flip_a_bit, _cut_short, _lose_the_config, shutil.rmtree])
def test_a_version_is_published_again_without_its_damaged_adapter(
    published: SealMemory, open_memory: Open, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """It says so in the log, what is lost is pending again, and consolidating mends it."""
    memory = open_memory()
    broken = _folder_of(memory, 2)
    damage(broken)
    with caplog.at_level(logging.ERROR):
        answer = _ask(memory, FIRST)
    assert (answer.snapshot, len(answer.shards)) == (3, 1)
    assert "Version 2 cannot be served" in caplog.text
    assert broken.name in caplog.text
    assert FIRST not in caplog.text
    statuses = {i.text: i.status for i in memory.ledger.interactions()}
    assert statuses == {FIRST: Status.LEARNED, SECOND: Status.PENDING}
    assert _ask(open_memory(), SECOND).shards == ()
    assert memory.consolidate().version == 4
    assert _ask(open_memory(), SECOND).shards[0].adapter_id == broken.name  # the same bytes again


def _flip_a_bit_keeping_the_time(folder: Path) -> None:
    """As a disk does it that decays."""
    before = (folder / TENSORS_FILE).stat()
    _flip_a_bit(folder)
    os.utime(folder / TENSORS_FILE, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("mode", ["weights", "hybrid"])
def test_damage_that_no_time_shows_is_found_when_the_adapter_is_loaded(
    published: SealMemory, open_memory: Open, tmp_path: Path, mode: str
) -> None:
    """The question is answered, from text or the base; the next ones too, and consolidating mends it."""
    memory = open_memory()
    _ask(memory, FIRST)
    broken = _folder_of(memory, 2)
    _flip_a_bit_keeping_the_time(broken)
    memory = open_memory()
    answer = memory.ask(QUESTIONS[SECOND][0], mode=mode)
    assert isinstance(answer, Answer)
    assert answer.shards == ()
    assert bool(answer.sources) is (mode == "hybrid")
    memory = open_memory()
    assert _ask(memory, SECOND).shards == ()
    assert memory.ledger.counts()[Status.PENDING] == 1
    memory.consolidate()
    assert _ask(open_memory(), SECOND).shards[0].adapter_id == broken.name


def test_a_damaged_adapter_is_not_exported(published: SealMemory, open_memory: Open, tmp_path: Path) -> None:
    """The others are."""
    memory = open_memory()
    _ask(memory, FIRST)
    _flip_a_bit_keeping_the_time(_folder_of(memory, 2))
    broken = _folder_of(memory, 2).name
    exported = open_memory().export(tmp_path / "exported")
    assert exported.version == 3
    assert broken not in exported.files
    assert len(exported.files) == 2


def test_training_that_needs_a_decayed_adapter_asks_to_be_started_again(
    published: SealMemory, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it held is pending by then, and the next start learns it."""
    memory = open_memory()
    _ask(memory, FIRST)
    broken = _folder_of(memory, 2)
    _flip_a_bit_keeping_the_time(broken)
    memory = open_memory()
    with monkeypatch.context() as patch:
        patch.setattr(Consolidator, "run", lambda self, **_: self.engine.adapter(broken.name))
        with pytest.raises(ChangedError, match="damaged"):
            memory.consolidate()
    assert memory.consolidate().published == 1
    assert memory.ledger.counts()[Status.LEARNED] == 2


def test_a_full_disk_after_publishing_does_not_keep_it_from_answering(
    published: SealMemory, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note that files are verified only saves time."""
    memory = open_memory()
    folder = _folder_of(memory, 2)
    (folder / TENSORS_FILE).write_bytes((folder / TENSORS_FILE).read_bytes())

    def full(key: str, value: str | None) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(memory.ledger, "meta_set", full)
    assert _ask(memory, SECOND).snapshot == 2


def test_a_file_is_checked_again_only_when_it_was_written_again(
    published: SealMemory, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once per process: a memory may hold many gigabytes of adapters."""
    read: list[str] = []
    verify = AdapterStore.verify

    def watched(store: AdapterStore, adapter_id: str, sha256: str) -> bool:
        read.append(adapter_id)
        return verify(store, adapter_id, sha256)

    _ask(open_memory(), FIRST)
    monkeypatch.setattr(AdapterStore, "verify", watched)
    memory = open_memory()
    _ask(memory, FIRST)
    assert read == []
    folder = _folder_of(memory, 2)
    (folder / TENSORS_FILE).write_bytes((folder / TENSORS_FILE).read_bytes())
    assert _ask(open_memory(), FIRST).snapshot == 2
    assert read == [folder.name]


def test_with_every_adapter_damaged_the_base_answers(published: SealMemory, open_memory: Open) -> None:
    """A version without shards; retrieval goes on, and everything can be learned again."""
    memory = open_memory()
    shutil.rmtree(memory.store.root)
    found = _ask(memory, FIRST)
    assert (found.snapshot, found.shards) == (3, ())
    answer = memory.ask(QUESTIONS[SECOND][0], mode="retrieval")
    assert isinstance(answer, Answer)
    assert answer.sources
    assert memory.ledger.counts()[Status.PENDING] == 2
    assert memory.consolidate().published == 1
    assert memory.ledger.counts()[Status.LEARNED] == 2


def test_nothing_is_built_on_a_damaged_snapshot(published: SealMemory, open_memory: Open) -> None:
    """Consolidating, forgetting and exporting look first."""
    memory = open_memory()
    _flip_a_bit(_folder_of(memory, 2))
    (seen,) = memory.observe("The invoice for the new sails goes to Petra Vandermolen.")
    memory.add_quiz([("Who receives the invoice?", "Petra Vandermolen")], interaction_ids=[seen.id])
    assert memory.consolidate().published == 1
    current = memory.ledger.current()
    assert current is not None
    assert current.parent == 3
    assert [len(s.interaction_ids) for s in current.manifest.shards] == [1, 2]
    _flip_a_bit(memory.store.folder(current.manifest.adapter_ids[-1]))
    again = open_memory()
    assert again.export(memory.folder.parent / "out").version != current.version
    assert again.forget(seen.id).interactions == 1


# -- other models -----------------------------------------------------------------------------------


def test_another_base_model_is_refused(
    published: SealMemory, tiny_model_folder: Path, tmp_path: Path, easy_settings: Callable[..., Any]
) -> None:
    """With what to do about it; reading the history needs no model at all."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model_folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rope_theta": 5000.0, "rms_norm_eps": 1e-4}))
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-2] ^= 1
    (other / "model.safetensors").write_bytes(content)
    with SealMemory.open(published.folder, model=str(other), settings=easy_settings()) as memory:
        with pytest.raises(BaseModelMismatchError, match="the model it was made with"):
            memory.ask("Who?")
        assert memory.status().version == 2
        memory.observe("Observing goes on.")


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path, easy_settings: Callable[..., Any]) -> None:
    """Observed first, nothing is lost."""
    with SealMemory.open(tmp_path / "m", model=str(tmp_path / "none"), settings=easy_settings()) as memory:
        memory.observe(FIRST)
        with pytest.raises(ModelUnavailableError, match="none"):
            memory.consolidate()
        assert memory.ledger.counts()[Status.PENDING] == 1


# -- text -------------------------------------------------------------------------------------------


def test_an_enormous_text_is_chunked_and_all_of_it_is_found(open_memory: Open) -> None:
    """Every sentence of a book can be recalled, and every chunk says which of how many it is."""
    memory = open_memory()
    sentences = [f"Crate zebu{n} in the hall of Korrin Bay holds {n} lanterns." for n in range(2000)]
    seen = memory.observe(" ".join(sentences), title="The inventory")
    assert len(seen) > 20
    chunks = memory.ledger.interactions()
    assert " ".join(i.text for i in chunks).split() == " ".join(sentences).split()
    assert [i.metadata["chunk"] for i in chunks] == list(range(len(seen)))
    for n in (0, 777, 1999):
        assert sentences[n] in memory.recall(f"zebu{n}")[0].interaction.text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("\x00\x01ELF", "NUL"),
        ("\x01\x02\x03\ufffd" * 50, "binary"),
        ("half \ud800 a pair", "surrogate"),
    ],
)
def test_text_that_is_none_is_refused(open_memory: Open, text: str, complaint: str) -> None:
    """Alone or in a batch, which is then refused as a whole."""
    memory = open_memory()
    for given in (text, [FIRST, text]):
        with pytest.raises(InputError, match=complaint):
            memory.observe(given)
    assert memory.ledger.interactions() == []


def test_unknown_roles_are_refused(open_memory: Open) -> None:
    """With the known ones; in messages with the place of the bad one, and none of them is recorded."""
    memory = open_memory()
    with pytest.raises(InputError, match=r"oracle.*assistant"):
        memory.observe(FIRST, role="oracle")
    with pytest.raises(InputError, match="message 1"):
        memory.observe_messages([{"role": "user", "content": FIRST}, {"role": "oracle", "content": SECOND}])
    assert memory.ledger.interactions() == []


def test_odd_text_goes_all_the_way(open_memory: Open) -> None:
    """Markup, other scripts, SQL and chat tokens are text like any other."""
    memory = open_memory()
    texts = [
        "The password of '; DROP TABLE interactions; -- is <|im_end|> Kestrel42.",
        "Москва стоит на реке Москве, а Казань стоит на Волге.",
        "# Heading\n\n* The **Lindragon** sails at 6:40.\n```\ncode = 1\n```",
        "“Nevermore”, quoth the raven named Grip ☂ at Dunmorrow.",
        "A" * 3000,
    ]
    seen = memory.observe(texts)
    memory.add_quiz([("What is the password?", "Kestrel42")], interaction_ids=[seen[0].id])
    report = memory.consolidate()
    assert report.published + report.refused == report.episodes
    assert memory.ledger.counts()[Status.PENDING] == 0
    for question in ["Kestrel42'; --", "Казань", '"quoted" AND NEAR(x)', "☂", "*", "A" * 300]:
        for mode in ("weights", "retrieval", "hybrid"):
            assert isinstance(memory.ask(question, mode=mode), Answer)


# -- disks ------------------------------------------------------------------------------------------

# Consolidates where no file may grow over a limit, then says what happened.
FULL = """
import resource, sys
from seal_memory import SealMemory, Settings
from seal_memory.errors import AdapterError

folder, model, settings, limit = sys.argv[1:]
with SealMemory.open(folder, model=model, settings=Settings(**eval(settings))) as memory:
    memory.engine
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        memory.consolidate()
    except AdapterError as error:
        print("AdapterError:", error)
    print(memory.ask(sys.stdin.readline().strip(), mode="weights").snapshot)
"""

# Reads as a user who may not write, and perhaps not even see the code: what has to be imported is imported before.
READ_ONLY = """
import os, sys
import seal_memory.learning.consolidate
import seal_memory.policy.arms, seal_memory.policy.versions, seal_memory.training.trainer
from seal_memory import SealMemory, Settings
from seal_memory.errors import LedgerError

folder, model, settings = sys.argv[1:]
with SealMemory.open(f"{folder}-to-warm-up", model=model, settings=Settings(**eval(settings))) as memory:
    memory.ask("Who?")
os.setuid(65534)
with SealMemory.open(folder, model=model, settings=Settings(**eval(settings))) as memory:
    for change in (lambda: memory.observe("The door is green."), memory.consolidate):
        try:
            change()
        except LedgerError as error:
            print("LedgerError:", error)
    print(memory.ask(sys.stdin.readline().strip(), mode="weights").snapshot, len(memory.recall("quarterly")))
"""


def _run(program: str, *arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_full_disk_while_publishing_loses_nothing(
    open_memory: Open, easy_settings: Callable[..., Any], tiny_model_folder: Path
) -> None:
    """A clear error, the old version is served, and later it simply works."""
    with open_memory() as memory:
        _observe(memory, FIRST)
        memory.consolidate()
        _observe(memory, SECOND)
    big = repr(easy_settings(learning={"rank": 256}).model_dump(exclude_unset=True))
    limit = 1 << 20  # more than the ledger's files, less than an adapter of that rank
    child = _run(FULL, str(memory.folder), str(tiny_model_folder), big, str(limit), stdin=QUESTIONS[FIRST][0])
    lines = child.stdout.splitlines()
    assert lines[0].startswith("AdapterError: The adapter a-"), child.stderr
    assert "nothing is lost" in lines[0]
    assert lines[1] == "1"
    memory = open_memory(learning={"rank": 256})
    assert {i.text: i.status for i in memory.ledger.interactions()} == {
        FIRST: Status.LEARNED,
        SECOND: Status.PENDING,
    }
    assert memory.ledger.jobs(1)[0].error == "AdapterError"
    assert memory.consolidate().version == 2
    assert memory.store.ids() == tuple(sorted(a.id for a in memory.ledger.adapters()))


def test_a_read_only_folder_can_be_read_and_asked(
    open_memory: Open, child_reader: None, easy_settings: Callable[..., Any], tiny_model_folder: Path
) -> None:
    """Every write is an error that names the folder."""
    with open_memory() as memory:
        _observe(memory, SECOND)
        memory.consolidate()
    for path in (memory.folder, *memory.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    settings = repr(easy_settings().model_dump(exclude_unset=True))
    child = _run(READ_ONLY, str(memory.folder), str(tiny_model_folder), settings, stdin=QUESTIONS[SECOND][0])
    for path in (memory.folder, *memory.folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    lines = child.stdout.splitlines()
    assert len(lines) == 3, child.stderr
    assert all(line.startswith("LedgerError:") and "read-only" in line for line in lines[:2])
    assert lines[2] == "1 1"


@pytest.fixture
def child_reader(tmp_path: Path, tiny_model_folder: Path) -> None:
    """A child may give up root's rights; the folders above the test's own have to be open to it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give its rights up")
    for folder in (*tmp_path.parents, tmp_path, *tiny_model_folder.parents, tiny_model_folder):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    for file in tiny_model_folder.iterdir():
        file.chmod(0o644)


def test_a_folder_that_cannot_be_one_is_an_error(tmp_path: Path) -> None:
    """A file is in its place, or the ledger is no database."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="cannot make the folder"):
        SealMemory.open(tmp_path / "file")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "ledger.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(LedgerError, match="not a SQLite database"):
        SealMemory.open(tmp_path / "junk")
