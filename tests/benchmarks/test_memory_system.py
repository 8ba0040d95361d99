"""seal-memory as a system of the benchmarks: what a killed run needs of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.systems.base import Asker
from benchmarks.systems.memory import RIGHT_SHARD, Memory
from benchmarks.tasks.base import Chunk, Question
from seal_memory.engines.local import TransformersEngine

CHUNK = Chunk("c1", "Maud Ellery built the lighthouse at Korrin Bay in 1887.")
QUESTION = Question("q1", "Who built the lighthouse?", ("Maud Ellery",), ("c1",))


def test_a_new_process_asks_the_right_shard_first(
    load_tiny: Callable[[], Any], tiny_model_folder: Path, easy_settings: Callable[..., Any], tmp_path: Path
) -> None:
    """What was learned before is found whichever way is asked first, and answers the same."""
    replies = []
    for act in ("learn", "resume"):
        asker = Asker(TransformersEngine(load_tiny()))
        system = Memory(asker, tmp_path / "memory", easy_settings(), model=str(tiny_model_folder))
        if act == "learn":
            (seen,) = system.memory.observe(CHUNK.text, role="document")
            system.memory.add_quiz([(QUESTION.text, "Maud Ellery")], interaction_ids=[seen.id])
        getattr(system, act)([CHUNK], step=0)
        assert system.refused() == 0, "nothing is published, so nothing can be found again"
        replies += system.answer(RIGHT_SHARD, [QUESTION], max_tokens=4)
        system.close()
    assert replies[0] == replies[1]
