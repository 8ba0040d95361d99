"""seal-memory as a benchmark system: one `SealMemory` folder, asked in several ways.

"weights": routed shards. "weights-right-shard": the shard with the evidence is given, which separates the router's
losses from the shards'. "core": one adapter over everything, no routing, without the gate's limit on perplexity.
"hybrid": weights first, text where they are unsure. Not here: any learning of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from benchmarks.systems.base import Asker, Cost, Reply, Unsupported, to_reply
from benchmarks.tasks.base import Chunk, Question
from seal_memory import prompts
from seal_memory._internal.progress import Progress, silent
from seal_memory.answering import best_of_n
from seal_memory.answering.answerer import Answer, Answerer, Mode
from seal_memory.config import Settings
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.learning import drift
from seal_memory.learning.plans import encode_item, plan_steps
from seal_memory.memory import SealMemory
from seal_memory.records import Manifest, Status
from seal_memory.routing.router import Router
from seal_memory.sleep import schedule as bedtime

WEIGHTS, RIGHT_SHARD, CORE, HYBRID = "weights", "weights-right-shard", "core", "hybrid"
ANY_PERPLEXITY = 10.0  # the largest that the setting allows


class Memory:
    """One memory folder. `core`: offer the way "core", which trains one when asked (costly)."""

    name = "seal-memory"
    costly_ways = (CORE,)

    def __init__(
        self,
        asker: Asker,
        folder: Path,
        settings: Settings,
        *,
        model: str,
        core: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.asker, self.settings, self.model, self.folder = asker, settings, model, folder
        self.progress = progress
        self.memory = self._open(settings)
        self.ways = (WEIGHTS, RIGHT_SHARD, HYBRID, CORE) if core else (WEIGHTS, RIGHT_SHARD, HYBRID)
        self._interactions: dict[str, tuple[str, ...]] = {}  # chunk id -> interaction ids
        self._chunk_of: dict[str, str] = {}

    def _open(self, settings: Settings) -> SealMemory:
        return SealMemory.open(
            self.folder, model=self.model, settings=settings, progress=self.progress, engine=self.asker.engine
        )

    def close(self) -> None:
        self.memory.close()

    # -- learning ---------------------------------------------------------------------------------

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        """Observe the chunks and consolidate; after a kill, published ones are not learned again."""
        began = perf_counter()
        self._observe(chunks, step)
        known = {e.id for e in self.memory.ledger.self_edits()}
        self.memory.consolidate()
        self._sleep()
        return Cost(perf_counter() - began, self._training_tokens(known))

    def _sleep(self) -> None:
        """Sleep if the settings say so and enough was published since the last time, like the background trainer."""
        wanted, ledger = self.settings.sleep.mode, self.memory.ledger
        made = ledger.decisions()  # the newest first
        last = next((n for n, d in enumerate(made) if bedtime.EPISODES in d.measures), len(made))
        slept = max((d.snapshot_version or 0 for d in made[last:]), default=0)
        if wanted != "off" and bedtime.published_since(ledger, slept) >= self.settings.sleep.after:
            self.memory.sleep(merge=wanted != "core", core=wanted != "merge")

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        """Observe the chunks again, which only looks up their ids."""
        _ = self.memory.engine  # from now on it finds this memory's adapters; `learn` asks for it, too
        self._observe(chunks, step)

    def _observe(self, chunks: Sequence[Chunk], step: int) -> None:
        for chunk in chunks:
            seen = self.memory.observe(
                chunk.text,
                role=chunk.role,
                title=chunk.title,
                source=chunk.source,
                session=f"step-{step}" if chunk.role != "document" else None,
            )
            self._interactions[chunk.id] = tuple(o.id for o in seen)
            self._chunk_of.update((o.id, chunk.id) for o in seen)

    def _training_tokens(self, known: set[str]) -> int:
        """Real tokens of the new self-edits' training, refused ones too."""
        engine, total = self.asker.engine, 0
        for edit in self.memory.ledger.self_edits():
            if edit.id not in known:
                sizes = [len(encode_item(engine, i).ids) for i in edit.items]
                steps = plan_steps(edit, batch_size=self.settings.learning.batch_size)
                total += sum(sizes[n] for step in steps for n in step)
        return total

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """`SealMemory.forget`, then relearn the rest of the dropped shards."""
        ids = [i for chunk in chunk_ids for i in self._interactions[chunk]]
        self.memory.forget(ids)
        self.memory.consolidate()

    # -- answering --------------------------------------------------------------------------------

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        """Closed book (weights, core), or with text where the weights are unsure (hybrid)."""
        if way == CORE:
            return self._by_core(questions, max_tokens)
        if way == RIGHT_SHARD:
            return self._by_right_shard(questions, max_tokens)
        mode = {WEIGHTS: Mode.WEIGHTS, HYBRID: Mode.HYBRID}[way]
        answers = self._answerer().answer([q.text for q in questions], mode, max_tokens=max_tokens)
        return [self._reply(a) for a in answers]

    def _manifest(self) -> Manifest:
        """The published manifest without its core, which is a separate way here."""
        current = self.memory.ledger.current()
        return replace(current.manifest, core=None) if current is not None else Manifest()

    def _router(self) -> Router:
        return self.memory.routers(self._manifest(), self.memory.ledger)

    def _answerer(self) -> Answerer:
        return Answerer(self.asker, self._router(), self.memory.ledger, self.settings.answering, snapshot=None)

    def _by_right_shard(self, questions: Sequence[Question], max_tokens: int) -> list[Reply]:
        shard_of = {i: s.adapter_id for s in self._manifest().shards for i in s.interaction_ids}
        shards = []
        for question in questions:
            ids = [i for chunk in question.chunk_ids for i in self._interactions.get(chunk, ())]
            shards.append(next((shard_of[i] for i in ids if i in shard_of), None))
        return self._by(shards, questions, max_tokens)

    def _by(self, adapters: Sequence[str | None], questions: Sequence[Question], max_tokens: int) -> list[Reply]:
        """Answer each question with its adapter, as the product does."""
        asked = [(Prompt(prompts.direct(q.text), a), q.text) for q, a in zip(questions, adapters, strict=True)]
        done = best_of_n.complete(
            asked, self.asker, Decoding(max_tokens), best_of_n.sample_options(self.settings.answering)
        )
        return [to_reply(c) for c in done]

    def _by_core(self, questions: Sequence[Question], max_tokens: int) -> list[Reply]:
        return self._by([self._core()] * len(questions), questions, max_tokens)

    def _core(self) -> str:
        """The core over everything published; trains it if these shards have none."""
        current = self.memory.ledger.current()
        if current is None or not current.manifest.shards:
            raise Unsupported("nothing is published, so there is no core")
        if current.manifest.core is None:
            lifted = self.settings.changed(
                **{"gate.max_perplexity_increase": ANY_PERPLEXITY, "gate.min_gain": 0.0, "gate.max_canary_share": 1.0}
            )
            with closing(self._open(lifted)) as memory:
                memory.consolidate(core=True)
            current = self.memory.ledger.current()
        if current is None or current.manifest.core is None:
            raise Unsupported("the gate refused the core")
        return current.manifest.core

    def _reply(self, answer: Answer) -> Reply:
        chunks = tuple(dict.fromkeys(self._chunk_of[i] for i in answer.sources if i in self._chunk_of))
        return Reply(answer.text, answer.prompt_tokens, answer.generated_tokens, chunks)

    # -- costs ------------------------------------------------------------------------------------

    def perplexity(self, way: str) -> float:
        """The fixed text read through the router (weights, hybrid) or by the core."""
        paragraphs = drift.fixed_paragraphs()
        if way == CORE:
            return drift.perplexity(self.asker, [self._core()] * len(paragraphs))
        if way == RIGHT_SHARD:
            return drift.perplexity(self.asker, [None] * len(paragraphs))
        router = self._router()
        return drift.perplexity(self.asker, [router.route(p).adapter_id for p in paragraphs])

    def bytes_on_disk(self) -> int:
        """Everything in the folder: ledger and adapters."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())

    def refused(self) -> int:
        """Interactions whose shard the gate refused (they stay answerable by text)."""
        return self.memory.ledger.counts().get(Status.REFUSED, 0)
