"""A memory opened with another base model than its adapters', or with none: what still goes, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from seal_memory import SealMemory
from seal_memory.errors import BaseModelMismatchError
from seal_memory.records import Status

Open = Callable[..., SealMemory]
TOLD = {
    "monday": ("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Who built the lighthouse?", "Maud Ellery"),
    "tuesday": ("Tomas Lindqvist keeps the report in drawer 12.", "Where is the report?", "drawer 12"),
}


@pytest.fixture
def other_model(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with other weights."""
    folder = tmp_path / "other-llama"
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    model.lm_head.weight.data.add_(0.01)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model_folder).save_pretrained(folder)
    return folder


@pytest.fixture
def reopen() -> Iterator[Callable[[SealMemory, Path], SealMemory]]:
    """Opens a memory's folder with another model; the first opening is closed."""
    opened: list[SealMemory] = []

    def make(memory: SealMemory, model: Path) -> SealMemory:
        memory.close()
        opened.append(SealMemory.open(memory.folder, model=str(model), settings=memory.settings))
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()


def _learn(memory: SealMemory, day: str) -> str:
    text, question, answer = TOLD[day]
    (seen,) = memory.observe(text, session=day)
    memory.add_quiz([(question, answer)], interaction_ids=[seen.id])
    assert memory.consolidate().version
    return seen.id


def test_nothing_is_trained_beside_another_base_models_adapters(
    open_memory: Open, other_model: Path, reopen: Callable[..., SealMemory]
) -> None:
    """A rollback to that model's version is found before the training; with its own model it is learned."""
    memory = open_memory()
    _learn(memory, "monday")
    memory.rollback(0)
    first_model = Path(memory.model)
    memory = reopen(memory, other_model)
    _learn(memory, "tuesday")
    memory.rollback(1)
    edits, versions = memory.ledger.self_edits(), memory.history()
    with pytest.raises(BaseModelMismatchError, match="open it with the model it was made with"):
        memory.consolidate()
    assert (memory.ledger.self_edits(), memory.history()) == (edits, versions)
    memory = reopen(memory, first_model)
    assert memory.consolidate().version == 3
    assert {i.status for i in memory.ledger.interactions()} == {Status.LEARNED}
    assert memory.ask(TOLD["tuesday"][1], mode="weights").shards  # type: ignore[union-attr]


@pytest.mark.parametrize("there", [True, False], ids=["another model", "no model"])
def test_forgetting_never_waits_for_the_right_model(
    open_memory: Open, other_model: Path, reopen: Callable[..., SealMemory], there: bool
) -> None:
    """Everything goes; only what the weights recall of it is not in the report."""
    memory = open_memory()
    monday = _learn(memory, "monday")
    memory = reopen(memory, other_model if there else Path("/no/such/model.gguf"))
    report = memory.forget(monday)
    assert (report.interactions, len(report.adapters), report.snapshots) == (1, 1, (1,))
    assert (report.recall_before, report.recall_after, report.recall_base) == (None, None, None)
    assert memory.ledger.interactions() == []
    assert memory.store.ids() == ()
