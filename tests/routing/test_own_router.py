"""A router of one's own: handed to `open`, it is asked for answers, at the gate, and in every namespace of a pool."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from seal_memory import MemoryPool, Route, Router, SealMemory
from seal_memory.engines.base import Completion, Prompt
from seal_memory.learning import gate
from seal_memory.learning.consolidate import ConsolidateReport
from seal_memory.learning.drift import unrelated_questions
from seal_memory.ledger import Ledger
from seal_memory.records import Manifest
from seal_memory.routing import router as router_module

FIRST = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
SECOND = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
ABOUT_FIRST = "Who is the builder of the lighthouse at Korrin Bay?"

Open = Callable[..., SealMemory]


class Newest:
    """Every question to the newest shard."""

    def __init__(self, manifest: Manifest, ledger: Ledger) -> None:
        self.manifest = manifest

    def route(self, question: str) -> Route:
        return Route.to(self.manifest.shards[-1]) if self.manifest.shards else Route.abstain(self.manifest)


@pytest.fixture
def open_own(
    tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Open:
    monkeypatch.setattr(gate, "MAX_MISROUTED", 1.0)

    def made(**changes: Any) -> SealMemory:
        settings = easy_settings(**changes)
        return SealMemory.open(tmp_path / "memory", model=str(tiny_model_folder), settings=settings, router=Newest)

    return made


def _learn(memory: SealMemory, text: str, quiz: tuple[str, str], session: str) -> ConsolidateReport:
    (seen,) = memory.observe(text, session=session)
    memory.add_quiz([quiz], interaction_ids=[seen.id])
    return memory.consolidate()


def _documented() -> dict[str, str]:
    """The example's class, by the place that shows it, without the line that opens a memory."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (indented,) = re.findall(
        r"(    from .*    SealMemory\.open.*?\n)", inspect.getdoc(router_module) or "", flags=re.DOTALL
    )
    shown = {"docs/api.md": block, "docstring": dedent(indented)}
    return {place: code.strip().rpartition("\n")[0] for place, code in shown.items()}


@pytest.mark.parametrize("place", ["docs/api.md", "docstring"])
def test_the_documented_router_finds_its_shard_and_passes_the_gate(
    place: str, tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> None:
    """It abstains from nearly all everyday prompts, so that what it finds is published."""
    names: dict[str, Any] = {}
    exec(_documented()[place], names)
    model, settings = str(tiny_model_folder), easy_settings()
    with SealMemory.open(tmp_path / "memory", model=model, settings=settings, router=names["Mine"]) as memory:
        report = _learn(memory, FIRST, (ABOUT_FIRST, "Maud Ellery"), "one")
        assert (report.published, report.refused) == (1, 0)
        assert memory.route(ABOUT_FIRST).episode_id is not None
        reached = [q for q in unrelated_questions() if memory.route(q).episode_id is not None]
        assert len(reached) < 0.1 * len(unrelated_questions())


def test_its_route_answers(open_own: Open) -> None:
    """Also where words would have found another shard; its evidence is the answer's source."""
    with open_own() as memory:
        assert memory.route(ABOUT_FIRST) == Route()
        _learn(memory, FIRST, (ABOUT_FIRST, "Maud Ellery"), "one")
        _learn(memory, SECOND, ("Who keeps the report?", "Tomas"), "two")
        current = memory.published()
        assert current is not None
        oldest, newest = current.manifest.shards
        assert memory.ledger.interactions(ids=oldest.interaction_ids)[0].text == FIRST
        answer = memory.ask(ABOUT_FIRST, mode="weights")
        assert [(s.adapter_id, s.score) for s in answer.shards] == [(newest.adapter_id, 1.0)]
        assert answer.sources == newest.interaction_ids


def test_it_is_asked_at_the_gate(open_own: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that takes everyday prompts to a shard publishes none."""
    monkeypatch.setattr(gate, "MAX_MISROUTED", 0.5)
    with open_own() as memory:
        report = _learn(memory, FIRST, (ABOUT_FIRST, "Maud Ellery"), "one")
        assert (report.published, report.refused) == (0, 1)
        assert "100% of unrelated prompts reach a shard" in report.decisions[0].reasons[-1]


def test_the_old_is_audited_through_it(open_own: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new shard that it prefers has to answer what the old one answers."""
    with open_own(gate={"max_old_loss": 0.0}) as memory:
        knowing: set[str | None] = set()

        def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
            known = (p.adapter is not None and (not knowing or p.adapter in knowing) for p in asked)
            return [Completion("Maud Ellery" if k else "", 1, 1, 1.0) for k in known]

        monkeypatch.setattr(memory.engine, "complete", complete)
        _learn(memory, FIRST, (ABOUT_FIRST, "Maud Ellery"), "one")
        knowing.add(memory.route(ABOUT_FIRST).adapter_id)
        report = _learn(memory, SECOND, ("Who keeps the report?", "Tomas"), "two")
        assert (report.published, report.refused) == (0, 1)
        assert "Recall of the old, asked again, fell from 1.00 to 0.00" in report.decisions[0].reasons[0]


def test_every_namespace_of_a_pool_has_it(tmp_path: Path) -> None:
    with MemoryPool(tmp_path, router=Newest) as pool, pool.memory("a") as a, pool.memory("b") as b:
        made: list[Router] = [memory.routers(Manifest(core="a-core"), memory.ledger) for memory in (a, b)]
        for router in made:
            assert isinstance(router, Newest)
            assert router.route("Who?") == Route("a-core", is_core=True)
