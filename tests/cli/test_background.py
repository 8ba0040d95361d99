"""`worker`, `report`, and what `status` says about the background, end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seal_memory.ledger import Ledger

Run = Callable[..., Any]


def test_worker_once_learns_what_is_pending(run: Run, passages_file: Path) -> None:
    """Then there is nothing left to do, and status knows when the next audit is."""
    run("ingest", passages_file, "--with-questions")
    assert run("worker", "--once", "--json").json == {"done": 1, "failed": 0, "dead": 0, "handed_back": 0}
    assert "0 jobs done" in run("worker", "--once").out
    status = run("status", "--json").json
    assert (status["shards"], status["queue"], status["dead"], status["audits_due"]) == (2, [], [], 0)
    assert status["next_audit"] > 0
    assert "next audit: " in run("status").out


def test_worker_keeps_to_its_namespace(run: Run, passages_file: Path) -> None:
    run("ingest", passages_file, "--with-questions")
    assert run("worker", "--once", "--namespace", "other", "--json").json["done"] == 0
    assert run("status", "--json").json["interactions"]["pending"] == 2


def test_worker_without_a_memory_says_so(run: Run) -> None:
    assert run("worker", "--once", "--json", code=1).json["error"]["type"] == "InputError"


def test_status_shows_the_queue_and_what_was_given_up(run: Run, tmp_path: Path) -> None:
    run("observe", "Hello!")
    with Ledger.open(tmp_path / "memory") as ledger:
        ledger.queue.enqueue_job("rebuild", {"shard": "a-1"}, max_attempts=1)
        job = ledger.queue.lease_next_job(["rebuild"], owner="p", lease_seconds=9)
        assert job is not None
        ledger.queue.fail_job(job, "the disk is full")
        ledger.queue.enqueue_job("audit", {})
    data = run("status", "--json").json
    assert [(j["kind"], j["state"]) for j in data["queue"]] == [("audit", "queued")]
    assert [(j["kind"], j["error"], j["attempts"]) for j in data["dead"]] == [("rebuild", "the disk is full", 1)]
    shown = run("status").out
    assert "the disk is full" in shown
    assert "queued" in shown


def test_report_writes_one_page(run: Run, published: Path, tmp_path: Path) -> None:
    data = run("report", tmp_path / "out" / "report.html", "--json").json
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert data["bytes"] == len(text.encode())
    assert text.startswith("<!doctype html>")
    assert "<svg" in text
    assert "Velmar Timber" in text


def test_a_report_that_cannot_be_written_says_so(run: Run, published: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "error" in run("report", tmp_path / "file" / "report.html", "--json", code=1).json
