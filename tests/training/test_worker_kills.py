"""A worker killed with SIGKILL at random moments ends in the same published state as an undisturbed one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.worker_kills import SETTINGS, TEXTS, KillTest


def test_eight_kills_lose_nothing_and_publish_nothing_twice(tmp_path: Path, tiny_model_folder: Path) -> None:
    """Wherever it died: every text is learned once, in one shard, all files are whole, no job is left over."""
    settings = {
        **SETTINGS,
        "engine.dtype": "float32",
        "learning.min_steps": 12,
        "engine.cache_dir": str(tmp_path / "cache"),
    }
    outcome = KillTest(tmp_path, str(tiny_model_folder), settings=settings, seed=5).run(8, 3)
    assert outcome.kills == 8
    assert outcome.same, (outcome.undisturbed, outcome.disturbed)
    for end in (outcome.undisturbed, outcome.disturbed):
        assert (end.lost, end.damaged, end.leftovers) == ((), (), ())
        assert len(end.learned) == outcome.sessions * TEXTS
        assert sorted(text for shard in end.shards for text in shard) == sorted(end.learned)
        assert set(end.accepted.values()) == {1}
        assert {state for state, count in end.jobs.items() if count} == {"done"}
