"""The report page: whole in itself, well formed, safe with any text, and it tells what waits and why."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.forgetting.retention import kept_by_age, retention_matrix
from seal_memory.ledger import Ledger
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Audit,
    Decision,
    Manifest,
    NewInteraction,
    ShardEntry,
    Status,
)
from seal_memory.report import charts
from seal_memory.report.page import page
from seal_memory.report.status import memory_status

NOW = 1_800_000_000.0
NASTY = "<script>alert('x')</script> & \"quotes\""
VOID = {"meta", "br", "hr", "img", "input", "link"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Ledger.open(tmp_path_factory.mktemp("empty")) as opened:
        return opened.path


@pytest.fixture
def ledger(tmp_path: Path, empty: Path) -> Iterator[Ledger]:
    shutil.copy(empty, tmp_path)
    with Ledger.open(tmp_path, clock=lambda: NOW) as opened:
        yield opened


def adapter(name: str, interaction: str) -> AdapterRecord:
    plan = {"rank": 4, "alpha": 8.0, "target_modules": ["q_proj"]}
    kind = AdapterKind.SHARD
    return AdapterRecord(name, kind, f"e-{name}", (interaction,), None, "base", plan, 0, "d", f"s-{name}", 10, NOW)


@pytest.fixture
def lived(ledger: Ledger) -> Ledger:
    """Two versions, audits, a queue, a dead job, something refused."""
    one, two, bad = ledger.observe([NewInteraction("The mill burned."), NewInteraction("Ada came."),
                                    NewInteraction(NASTY)])  # fmt: skip
    shards = []
    for name, seen in (("a-one", one), ("a-two", two)):
        ledger.add_adapter(adapter(name, seen.id))
        shards.append(ShardEntry(name, f"e-{name}", (seen.id,)))
        ledger.add_snapshot(Manifest(tuple(shards)), parent=None, base_fingerprint="base")
    ledger.set_status([bad.id], Status.REFUSED, "too little gained")
    ledger.add_decision(Decision("d", None, "e-x", False, ("too little gained",), {}, None, NOW))
    ledger.audits.schedule(3600)
    for n, recall in enumerate((1.0, 0.5)):
        found = Audit("a-one", "e-a-one", 2, NOW + n, recall, 2)
        ledger.audits.record(found, weakened=False, first_interval=3600)
    ledger.queue.enqueue_job("audit", {}, max_attempts=1)
    job = ledger.queue.lease_next_job(["audit"], owner="p", lease_seconds=9)
    assert job is not None
    ledger.queue.fail_job(job, f"the disk is full {NASTY}")
    ledger.queue.enqueue_job("rebuild", {"shard": "a-one"})
    return ledger


def made(ledger: Ledger) -> str:
    return page(ledger, memory_status(ledger, Path("/memory"), NASTY, now=NOW), now=NOW)


class Balance(HTMLParser):
    """Which elements are open; closing another one is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> set[str]:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert not parser.seen & {"script", "link", "img", "iframe"}
    assert re.findall(r"https?:|url\(|@import|\bon\w+=", text) == []
    return parser.seen


def test_a_new_memory_has_a_page_too(ledger: Ledger) -> None:
    text = made(ledger)
    assert "svg" not in check(text)
    assert "Nothing is published yet." in text


def test_the_page_is_whole_in_itself_and_tells_everything(lived: Ledger) -> None:
    """No script, nothing from elsewhere; observed text stays text."""
    text = made(lived)
    assert {"svg", "table", "polyline"} <= check(text)
    for told in ("too little gained", "the disk is full", "after 1 attempts", "rebuild", "version 2 ←"):
        assert told in text
    assert "Backward transfer -0.500" in text
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") >= 3


audits = st.lists(
    st.builds(
        lambda memory, version, time, recall: Audit(f"a-{memory}", f"e-{memory}{NASTY}", version, time, recall, 4),
        st.integers(0, 60),
        st.integers(1, 9),
        st.integers(0, 60).map(float),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=80,
    unique_by=lambda a: (a.episode_id, a.time),
)


@given(audits)
def test_pictures_of_any_audits_are_well_formed(found: list[Audit]) -> None:
    matrix = retention_matrix(found)
    for picture in (charts.heat_map(matrix, matrix.memories), charts.curve(kept_by_age(found))):
        assert ElementTree.fromstring(picture).tag == "svg"


def test_the_heat_map_has_a_number_for_every_audit(lived: Ledger) -> None:
    matrix = retention_matrix(lived.audits.results())
    numbers = re.findall(r'class="mid (?:strong|weak)">(\d+)<', charts.heat_map(matrix, matrix.memories))
    assert numbers == ["100", "50"]


def test_the_lineage_marks_what_is_new_and_what_is_published(lived: Ledger) -> None:
    picture = charts.lineage(lived.history(), 2)
    assert [picture.count(f'class="{kind}"') for kind in ("new", "kept", "core")] == [2, 1, 0]
    assert "version 2 ←" in picture


def test_the_page_tells_how_the_edit_policy_does(ledger: Ledger) -> None:
    """Reward by round, every version's verdict, the arms by what they earned; hostile names stay text."""
    for n, promoted in enumerate((False, False)):
        measures = {"round": float(n + 1), "reward_old": 0.1, "reward_new": 0.2 * n}
        ledger.policy.add_version(
            None, [], parent=None, promoted=promoted, reasons=[f"not better {NASTY}"], measures=measures,
            base_fingerprint="base",
        )  # fmt: skip
    good, bad = '[[["entity",1.0]],1.0,1.5,1.0]', NASTY
    ledger.policy.add_arm_rewards([("e1", good, 0.3), ("e2", good, 0.5), ("e3", bad, -0.1)])
    text = made(ledger)
    assert {"svg", "table", "polyline"} <= check(text)
    for told in ("2 versions were tried, 0 promoted", "kept as evidence", "entity 1; steps ×1.5", "+0.400", "-0.100"):
        assert told in text
    assert text.index("+0.400") < text.index("-0.100")
    status = memory_status(ledger, Path("/memory"), "tiny", now=NOW)
    assert (status.note_writer, status.policy_versions, status.arms_tried) == (None, 2, 3)


@given(st.lists(st.tuples(st.text(max_size=4), st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=9))
def test_a_picture_of_any_rewards_is_well_formed(found: list[tuple[str, float, float]]) -> None:
    plain = [(re.sub(r"[^\w]", "x", name), old, new) for name, old, new in found]
    picture = ElementTree.fromstring(charts.rewards(plain))
    assert len(picture.findall("circle")) == 2 * len(plain)
