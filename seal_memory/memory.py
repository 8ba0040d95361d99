"""`SealMemory`: the one object a user needs. Opens a folder, and hands each verb to the room that does it.

The ledger opens at once; the model loads at the first verb that needs it, so observing never waits for it.
Not here: any of the work itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from seal_memory.answering import Answer, Answerer, parse_mode
from seal_memory.config import Settings
from seal_memory.errors import InputError, UnknownIdError
from seal_memory.learning.progress import Progress, silent
from seal_memory.leasing import lease
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import sortable_id
from seal_memory.messages import parse_message
from seal_memory.observation import from_messages, to_interactions
from seal_memory.overview import status_of
from seal_memory.quizzing import QuizReport, ask_quiz, user_items
from seal_memory.records import Hit, Manifest, Observed, Role, Snapshot, Standing
from seal_memory.reports import Correction, Exported, Status

if TYPE_CHECKING:  # these rooms need torch, which takes seconds to import: only the verbs that use them pay
    from seal_memory.background import Background
    from seal_memory.engines.local import Fetch, TransformersEngine
    from seal_memory.forgetting.deletion import Deletion, ForgetReport
    from seal_memory.learning.consolidate import ConsolidateReport
    from seal_memory.lora.store import AdapterStore
    from seal_memory.opening import SnapshotGuard
    from seal_memory.policy.refining import Refined
    from seal_memory.training import Trainer

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "smollm2-135m"


class SealMemory:
    """A memory folder, opened. Use `SealMemory.open`; usable as a context manager.

    One instance may be shared by threads. Two processes may observe and ask at the same time; only one consolidates
    (the other gets `BusyError`), and a snapshot that one publishes is used by the other from its next question on.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        settings: Settings,
        model: str,
        *,
        clock: Callable[[], float],
        make_id: Callable[[], str],
        progress: Progress,
        engine: TransformersEngine | None = None,
    ) -> None:
        self.folder, self.ledger, self.settings, self.model = folder, ledger, settings, model
        self._clock, self._make_id, self.progress = clock, make_id, progress
        self._given_engine = engine
        self._engine: TransformersEngine | None = None
        self._source: Fetch | None = None
        self._background: Background | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        model: str = DEFAULT_MODEL,
        namespace: str = "default",
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = sortable_id,
        progress: Progress = silent,
        engine: TransformersEngine | None = None,
    ) -> SealMemory:
        """Open or create the memory in folder `path`.

        `model`: the default's name, a local folder, a GGUF file or a hub id; it is loaded when first needed.
        `engine`: another memory's `engine`, to share one loaded model among several memories or namespaces. Raises
        `LedgerError` when the folder cannot be used, `SettingsError` for bad settings.
        """
        folder = Path(path).expanduser()
        settings = settings if settings is not None else Settings.load(folder)
        ledger = Ledger.open(folder, namespace=namespace, clock=clock, make_id=make_id)
        return cls(folder, ledger, settings, model, clock=clock, make_id=make_id, progress=progress, engine=engine)

    def close(self) -> None:
        """Stop the background, close the ledger and let go of the model; an engine that was handed in stays usable."""
        if self._background is not None:
            self._background.stop()
        if self._engine is not None and self._source is not None:
            self._engine.remove_source(self._source)
        self.ledger.close()
        self._engine = self._source = None

    def __enter__(self) -> SealMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def store(self) -> AdapterStore:
        """This namespace's adapters on disk."""
        from seal_memory.lora.store import AdapterStore, folder_name

        return AdapterStore(self.folder / "adapters" / folder_name(self.ledger.namespace))

    @cached_property
    def _guard(self) -> SnapshotGuard:
        from seal_memory.opening import SnapshotGuard

        return SnapshotGuard(self.ledger, self.store)

    @property
    def engine(self) -> TransformersEngine:
        """The engine; loads the model on first use.

        Raises `ModelUnavailableError`, or `BaseModelMismatchError` when this memory's adapters belong to another base.
        """
        if self._engine is None:
            self._engine = self._opened_engine()
        return self._engine

    def _opened_engine(self) -> TransformersEngine:
        from seal_memory.opening import adapter_source, check_base, load_engine

        engine = self._given_engine or load_engine(self.model, self.settings, self.ledger)
        check_base(engine.fingerprint, self.model, self.ledger)
        self._source = adapter_source(engine, self.ledger, self.store)
        engine.add_source(self._source)
        return engine

    # -- taking in --------------------------------------------------------------------------------

    def observe(
        self,
        text: str | Sequence[str],
        *,
        role: str = "user",
        source: str | None = None,
        session: str | None = None,
        title: str | None = None,
        time: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Observed]:
        """Record text that the agent saw; several texts in one call are one transaction.

        Returns one result per recorded chunk: its id, whether it is new, and whether it will be learned (with the
        reason where not). Raises `InputError` for empty text, binary junk or an unknown role.
        """
        texts = [text] if isinstance(text, str) else list(text)
        found = [
            interaction
            for t in texts
            for interaction in to_interactions(
                t,
                role=role,
                source=source,
                session=session,
                title=title,
                time=time,
                metadata=dict(metadata or {}),
                learn_roles=self.settings.learn_roles,
            )
        ]
        return self.ledger.observe(found)

    def observe_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        source: str | None = None,
        session: str | None = None,
        time: float | None = None,
    ) -> list[Observed]:
        """Record OpenAI message dicts, all or none. Raises `InputError` naming the bad message."""
        found = from_messages(
            messages, source=source, session=session, time=time, learn_roles=self.settings.learn_roles
        )
        return self.ledger.observe(found)

    def add_quiz(self, items: Sequence[tuple[str, str]], *, interaction_ids: Sequence[str]) -> list[str]:
        """Hand in your own (question, answer) pairs about interactions; held out for good. Returns ids."""
        made = user_items(items, interaction_ids, make_id=self._make_id)
        self.ledger.add_quiz_items(made)
        return [i.id for i in made]

    # -- learning ---------------------------------------------------------------------------------

    def consolidate(
        self, *, core: bool = False, rebuild: Sequence[str] = (), progress: Progress | None = None
    ) -> ConsolidateReport:
        """Learn everything pending and publish what passes the gate; `core=True` then rebuilds the core.

        `rebuild`: adapter ids of published shards to train again; each answers until its successor is published.
        `progress` is told instead of the memory's own. Raises `BusyError` when another process trains this namespace.
        """
        with self._training(progress) as trainer:
            return trainer.consolidate(core=core, rebuild=rebuild)

    def refine(self, number: int, *, progress: Progress | None = None) -> Refined:
        """Round `number` of refining the edit policy, as the setting `refine` says. Raises as `consolidate` does."""
        with self._training(progress) as trainer:
            return trainer.refine(number)

    @contextmanager
    def _training(self, progress: Progress | None) -> Iterator[Trainer]:
        """The namespace's lease, and who trains under it."""
        from seal_memory.training import Trainer

        with self._job("consolidate") as heartbeat:
            self._guard.usable()  # nothing is built on a damaged snapshot
            yield Trainer(
                self.ledger,
                self.engine,
                self.store,
                self.settings,
                base_model=self.model,
                clock=self._clock,
                make_id=self._make_id,
                progress=progress or self.progress,
                heartbeat=heartbeat,
            )

    def start_background(self, *, poll_seconds: float = 2.0) -> Background:
        """Learn what is pending and audit what is due in a thread of this process, until stopped or closed.

        Answers go before training. Raises `InputError` when it runs already.
        """
        from seal_memory.background import Background

        if self._background is not None and self._background.running:
            raise InputError("This memory's background trainer runs already; stop it first, or use its handle.")
        self._background = Background(self, clock=self._clock, poll_seconds=poll_seconds)
        return self._background

    def _job(self, kind: str) -> AbstractContextManager[Callable[[], None]]:
        return lease(self.ledger, kind)

    # -- answering --------------------------------------------------------------------------------

    @overload
    def ask(self, question: str, *, mode: str = ..., max_tokens: int | None = ...) -> Answer: ...
    @overload
    def ask(self, question: list[str], *, mode: str = ..., max_tokens: int | None = ...) -> list[Answer]: ...
    def ask(
        self, question: str | Sequence[str], *, mode: str = "hybrid", max_tokens: int | None = None
    ) -> Answer | list[Answer]:
        """Answer one question, or several in one batch. `mode`: "weights", "retrieval" or "hybrid".

        Raises `InputError` for an empty question, an unknown mode, or a prompt over the model's context.
        """
        questions = [question] if isinstance(question, str) else list(question)
        if any(not q.strip() for q in questions):
            raise InputError("The question is empty; expected text.")
        answers = self._answerer().answer(questions, parse_mode(mode), max_tokens=self._limit(max_tokens))
        return answers[0] if isinstance(question, str) else answers

    def chat(self, messages: Sequence[Mapping[str, Any]], *, mode: str = "hybrid", max_tokens: int = 256) -> Answer:
        """Continue a conversation of OpenAI message dicts; the last one must be the user's."""
        parsed = [parse_message(m, f"message {n}") for n, m in enumerate(messages)]
        if not parsed or parsed[-1].role is not Role.USER or not parsed[-1].text.strip():
            raise InputError("chat needs messages that end with a user message that has text.")
        chat = [{"role": m.role.value, "content": m.text} for m in parsed]
        answerer = self._answerer()
        return answerer.converse([chat], [chat[-1]["content"]], parse_mode(mode), max_tokens=max_tokens)[0]

    def recall(self, query: str, *, limit: int = 5) -> list[Hit]:
        """The interactions that match a query best (BM25); needs no model."""
        if limit < 1:
            raise InputError(f"limit {limit} is too small; expected at least 1.")
        return self.ledger.search(query, limit=limit)

    def quiz(self, *, mode: str = "weights", limit: int | None = None) -> QuizReport:
        """Ask every held-out question about what is still valid, closed book, and report recall."""
        valid = {i.id for i in self.ledger.interactions() if i.standing is not Standing.SUPERSEDED}
        items = [i for i in self.ledger.quiz_items(held_out=True) if valid.issuperset(i.interaction_ids)]
        return ask_quiz(items[:limit], self._answerer(), parse_mode(mode), self._limit(None))

    def _limit(self, max_tokens: int | None) -> int:
        return self.settings.answer_max_tokens if max_tokens is None else max_tokens

    def _answerer(self) -> Answerer:
        from seal_memory.routing.making import make_router

        engine = self.engine
        snapshot = self._guard.usable()
        manifest = snapshot.manifest if snapshot is not None else Manifest()
        router = make_router(manifest, self.ledger, self.settings, embedders=engine.embedder)
        return Answerer(engine, router, self.ledger, self.settings, snapshot=snapshot.version if snapshot else None)

    # -- keeping it right -------------------------------------------------------------------------

    def correct(self, id: str, text: str) -> Correction:
        """Replace what interaction `id` says; the old wording stays in the history, out of training.

        Raises `UnknownIdError`, `InputError` when nothing changes, `BusyError` while a consolidation runs.
        """
        old = self.ledger.interactions(ids=[id])[0]
        new = to_interactions(
            text,
            role=old.role,
            source=old.source,
            session=old.session,
            title=old.title,
            metadata=dict(old.metadata),
            learn_roles=self.settings.learn_roles,
        )
        if len(new) != 1:
            raise InputError(f"The correction is {len(text)} characters long; expected a single passage.")
        deletion = self._deletion()
        with self._job("consolidate"):
            with self.ledger.atomic():
                adapters, snapshots = deletion.drop_derivatives([id])
                observed = self.ledger.supersede(id, new[0])
            deletion.remove_files(adapters)  # not before the ledger has let go of them
        return Correction(id, observed.id, tuple(adapters), tuple(snapshots))

    def forget(
        self,
        ids: str | Sequence[str] | None = None,
        *,
        session: str | None = None,
        source: str | None = None,
    ) -> ForgetReport:
        """Destroy interactions by id, session or source, and everything derived from them.

        Raises `UnknownIdError` when nothing matches, `InputError` when nothing is named.
        """
        if ids is None and session is None and source is None:
            raise InputError("forget needs ids, a session or a source; to forget everything, delete the folder.")
        if ids is not None:
            chosen = [ids] if isinstance(ids, str) else list(ids)
        else:
            chosen = [i.id for i in self.ledger.interactions(session=session, source=source)]
        if not chosen:
            raise UnknownIdError(f"Nothing to forget: no interaction has session {session!r} / source {source!r}.")
        with self._job("consolidate"):
            self._guard.usable()
            return self._deletion().forget(chosen)

    def _deletion(self) -> Deletion:
        from seal_memory.forgetting.deletion import Deletion

        return Deletion(
            self.ledger, self.store, self.settings, engine=lambda: self.engine, drop=self._drop, clock=self._clock
        )

    def _drop(self, adapter_id: str) -> None:
        if self._engine is not None:
            self._engine.drop(adapter_id)

    def history(self) -> list[Snapshot]:
        """Published snapshots, newest first."""
        return self.ledger.history()

    def rollback(self, version: int) -> Snapshot | None:
        """Make an earlier snapshot the published one; 0 is the untouched base. What it does not hold is pending again.

        Raises `UnknownIdError` for a version that never was, or is gone, `BusyError` while a consolidation runs.
        """
        from seal_memory.learning.rebuilding import roll_back

        with self._job("consolidate"):
            return roll_back(self.ledger, version)

    def export(self, folder: str | Path, *, merged: bool = False) -> Exported:
        """Write the published adapters as PEFT folders, or (`merged`) one model folder with the core merged in."""
        from seal_memory.exporting import export_adapters, export_merged

        snapshot = self._guard.usable()
        if snapshot is None:
            raise InputError("Nothing is published yet, so there is nothing to export; consolidate first.")
        target = Path(folder).expanduser()
        if merged:
            return export_merged(snapshot, self.engine, target)
        return export_adapters(snapshot, self.store, target, base_model=self.model)

    def status(self) -> Status:
        """Counts, the published version, sizes, and the background's queue: needs no model."""
        return status_of(self.ledger, self.folder, self.model, now=self._clock())

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML page about this memory; it quotes texts. Returns the file. Needs no model."""
        from seal_memory.report.page import page

        target = Path(file).expanduser()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(self.ledger, self.status(), now=self._clock()), encoding="utf-8")
        return target
