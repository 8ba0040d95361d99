"""`SealMemory`: the one object a user needs. Opens a folder, and hands each verb to the room that does it.

The ledger opens at once; the model loads at the first verb that needs it, so observing never waits for it.
Not here: any of the work itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from seal_memory._internal.progress import Progress, silent
from seal_memory.answering.answerer import Answer, Answerer, checked, parse_mode
from seal_memory.answering.conversation import Conversation, chat_prompt, text_prompt
from seal_memory.answering.quiz_report import QuizReport, ask_quiz, items_in_use, user_items
from seal_memory.config import Settings
from seal_memory.engines.base import Decoding
from seal_memory.errors import AdapterError, CorruptAdapterError, InputError, UnknownIdError
from seal_memory.forgetting.edits import chosen, corrected, roll_back
from seal_memory.intake.admission import from_messages, from_texts
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import sortable_id
from seal_memory.records import Hit, Interaction, Manifest, Observed, Snapshot
from seal_memory.report.status import memory_status
from seal_memory.results import Correction, Exported, MemoryStatus
from seal_memory.routing.router import LoadableRouter
from seal_memory.runtime.engines import MemoryEngines

if TYPE_CHECKING:  # these rooms need torch, which takes seconds to import: only the verbs that use them pay
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.vllm.engine import VllmEngine
    from seal_memory.forgetting.deletion import Deletion, ForgetReport
    from seal_memory.learning.consolidate import ConsolidateReport
    from seal_memory.learning.workbench import Workbench
    from seal_memory.lora.store import AdapterStore
    from seal_memory.policy.refining import RefineReport
    from seal_memory.routing.router import MakeRouter, Route, Router
    from seal_memory.runtime.engines import AnsweringEngine
    from seal_memory.runtime.loading import SnapshotGuard
    from seal_memory.sleep.sleeper import SleepReport
    from seal_memory.training.background import Background
    from seal_memory.training.trainer import Trainer

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
        engine: TransformersEngine | Callable[[], TransformersEngine] | None = None,
        answering: VllmEngine | Callable[[], VllmEngine] | None = None,
        router: MakeRouter | None = None,
    ) -> None:
        self.folder, self.ledger, self.settings, self.model = folder, ledger, settings, model
        self._clock, self._make_id, self.progress, self._given_router = clock, make_id, progress, router
        self._engines = MemoryEngines(
            folder, ledger, settings.engine, model, store=lambda: self.store, engine=engine, answering=answering
        )
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
        engine: TransformersEngine | Callable[[], TransformersEngine] | None = None,
        answering: VllmEngine | Callable[[], VllmEngine] | None = None,
        router: MakeRouter | None = None,
        quota: int | None = None,
    ) -> SealMemory:
        """Open or create the memory in folder `path`.

        `model`: the default's name, a local folder, a GGUF file or a hub id; it is loaded when first needed.
        `engine`: another memory's `engine` (or what gives it when it is first needed), to share one loaded model among
        several memories. `answering`: a vLLM server's engine, for what is asked; several memories may share it.
        `router`: makes a router of your own for a manifest and its ledger (`routing.router` shows one), in place of the
        setting `answering.router`; it is asked wherever a question looks for its shard, at the gate too.
        `quota`: bytes of text that the namespace may hold; what would exceed it raises `QuotaError`.
        Raises `LedgerError` when the folder cannot be used, `SettingsError` for bad settings.
        """
        folder = Path(path).expanduser()
        settings = settings if settings is not None else Settings.load(folder)
        ledger = Ledger.open(folder, namespace=namespace, clock=clock, make_id=make_id, quota=quota)
        more: dict[str, Any] = {"engine": engine, "answering": answering, "router": router}
        return cls(folder, ledger, settings, model, clock=clock, make_id=make_id, progress=progress, **more)

    def close(self) -> None:
        """Stop the background, close the ledger and let go of the model; an engine that was handed in stays usable."""
        if self._background is not None:
            self._background.stop()
        self._engines.close()
        self.ledger.close()

    def __enter__(self) -> SealMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def store(self) -> AdapterStore:
        """This namespace's adapters on disk."""
        from seal_memory.lora.store import AdapterStore, adopt_former_folder, folder_name

        name, adapters = self.ledger.namespace, self.folder / "adapters"
        if not self.ledger.read_only and folder_name(name) != name and (adapters / name).is_dir():
            others = set(self.ledger.namespaces.names()) - {name}
            own = [a.id for a in self.ledger.adapters()]
            taken = any(folder_name(other) == name for other in others)
            adopt_former_folder(adapters, name, own=own, owner_elsewhere=taken)
        return AdapterStore(adapters / folder_name(name))

    @cached_property
    def routers(self) -> MakeRouter:
        """What makes the router of a manifest: the one handed to `open`, or as the settings say."""
        from seal_memory.routing.builtin import router_maker

        return self._given_router or router_maker(self.settings.answering)

    @cached_property
    def _guard(self) -> SnapshotGuard:
        from seal_memory.runtime.loading import SnapshotGuard

        return SnapshotGuard(self.ledger, self.store)

    @property
    def engine(self) -> TransformersEngine:
        """The engine in this process, which trains; loads the model on first use.

        Raises `ModelUnavailableError`, or `BaseModelMismatchError` when this memory's adapters belong to another base.
        """
        return self._engines.local

    @property
    def answering(self) -> AnsweringEngine:
        """What answers: `engine`, or a vLLM server's, which is not spoken to yet. Raises as `engine`."""
        return self._engines.answering

    @property
    def workbench(self) -> Workbench:
        """What trains this memory: ledger, engine (loaded when first used), adapter store, settings, routers, clock."""
        from seal_memory.learning.workbench import Workbench

        return Workbench(
            self.ledger,
            lambda: self.engine,
            self.store,
            self.settings,
            routers=self.routers,
            base_model=self.model,
            clock=self._clock,
            make_id=self._make_id,
            progress=self.progress,
        )

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
        found = from_texts(
            [text] if isinstance(text, str) else text,
            role=role,
            source=source,
            session=session,
            title=title,
            time=time,
            metadata=metadata,
            learn_roles=self.settings.learning.roles,
            quarantine_roles=self.settings.safety.quarantine_roles,
        )
        return self.ledger.observe(found)

    def observe_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        source: str | None = None,
        session: str | None = None,
        time: float | None = None,
        replayed: int = 0,
    ) -> list[Observed]:
        """Record OpenAI message dicts, all or none. Raises `InputError` naming the bad message.

        The first `replayed` messages are a history that comes again with every turn: what is known of it is no
        further sighting.
        """
        found = from_messages(
            messages,
            source=source,
            session=session,
            time=time,
            learn_roles=self.settings.learning.roles,
            quarantine_roles=self.settings.safety.quarantine_roles,
            replayed=replayed,
        )
        return self.ledger.observe(found)

    def quarantine(self, *, rejected: bool = False) -> list[Interaction]:
        """What instructs the model and waits for a person, with its reason; or (`rejected`) what one turned down."""
        return self.ledger.quarantine.held(rejected=rejected)

    def approve(self, ids: str | Sequence[str], *, reason: str | None = None) -> list[Interaction]:
        """Let what is held or rejected be learned; all or none. Raises `UnknownIdError`, `InputError` if neither."""
        return self.ledger.quarantine.approve([ids] if isinstance(ids, str) else ids, reason)

    def reject(self, ids: str | Sequence[str], *, reason: str | None = None) -> list[Interaction]:
        """Keep what is held out for good, also seen again. Raises `UnknownIdError`, `InputError` if not held."""
        return self.ledger.quarantine.reject([ids] if isinstance(ids, str) else ids, reason)

    def add_quiz(self, items: Sequence[tuple[str, str]], *, interaction_ids: Sequence[str]) -> list[str]:
        """Hand in your own (question, answer) pairs about interactions; held out for good. Returns ids."""
        made = user_items(items, interaction_ids, make_id=self._make_id)
        self.ledger.add_quiz_items(made)
        return [i.id for i in made]

    # -- learning ---------------------------------------------------------------------------------

    def consolidate(
        self,
        *,
        core: bool = False,
        rebuild: Sequence[str] = (),
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> ConsolidateReport:
        """Learn everything pending and publish what passes the gate; `core=True` then rebuilds the core.

        `rebuild`: adapter ids of published shards to train again; each answers until its successor is published.
        `limit`: learn only so many episodes now; the rest stays pending. `progress` is told, not the memory's own.
        Raises `BusyError` when another process trains this namespace.
        """
        with self._training(progress) as trainer:
            return trainer.consolidate(core=core, rebuild=rebuild, limit=limit)

    def refine(self, number: int, *, progress: Progress | None = None) -> RefineReport:
        """Round `number` of refining the edit policy, as `policy.refine` says. Raises as `consolidate` does."""
        with self._training(progress) as trainer:
            return trainer.refine(number)

    def sleep(
        self, *, merge: bool = True, core: bool = True, again: bool = False, progress: Progress | None = None
    ) -> SleepReport:
        """Merge shards of one topic, then build the core; each is published only if nothing is lost.

        `again`: also merges that were refused before. Raises as `consolidate` does.
        """
        with self._training(progress) as trainer:
            return trainer.sleep(merge=merge, core=core, again=again)

    @contextmanager
    def _training(self, progress: Progress | None) -> Iterator[Trainer]:
        from seal_memory.runtime.loading import check_base
        from seal_memory.training.trainer import leased

        bench = replace(self.workbench, progress=progress or self.progress)
        with leased(bench, self._guard) as trainer:
            check_base(bench.engine.fingerprint, self.model, self.ledger)  # a rollback may have published another's
            yield trainer

    def start_background(self, *, poll_seconds: float = 2.0) -> Background:
        """Learn what is pending and audit what is due in a thread of this process, until stopped or closed.

        Answers go before training. Raises `InputError` when it runs already.
        """
        from seal_memory.training.background import start

        self._background = start(self, self._background, clock=self._clock, poll_seconds=poll_seconds)
        return self._background

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
        questions = checked([question] if isinstance(question, str) else question)
        limit = self.settings.answering.max_tokens if max_tokens is None else max_tokens
        answers = self._answerer().answer(questions, parse_mode(mode), max_tokens=limit)
        return answers[0] if isinstance(question, str) else answers

    def chat(self, messages: Sequence[Mapping[str, Any]], *, mode: str = "hybrid", max_tokens: int = 256) -> Answer:
        """Continue a conversation of OpenAI message dicts; the last one must be the user's, or a tool's."""
        return self.converse(messages, mode=mode, decoding=Decoding(max_tokens)).run()[0]

    def converse(
        self,
        said: str | Sequence[Mapping[str, Any]],
        *,
        mode: str = "hybrid",
        decoding: Decoding | None = None,
        n: int = 1,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Conversation:
        """Get ready to continue a chat (OpenAI message dicts) or a text (str) `n` times; `run()` does it.

        Raises `InputError` for what is no chat, unknown modes and tools, or a prompt over the model's context.
        """
        prompt, question = text_prompt(said) if isinstance(said, str) else chat_prompt(said, tools)
        chosen, how = parse_mode(mode), decoding if decoding is not None else Decoding()
        self.answering.check(prompt, how)
        answerer = self._answerer(shared=True)
        return Conversation(answerer, prompt, question, chosen, how, n)

    def recall(self, query: str, *, limit: int = 5) -> list[Hit]:
        """The interactions that match a query best (BM25); needs no model."""
        if limit < 1:
            raise InputError(f"limit {limit} is too small; expected at least 1.")
        return self.ledger.search(query, limit=limit)

    def quiz(self, *, mode: str = "weights", limit: int | None = None) -> QuizReport:
        """Ask every held-out question about what is still valid, closed book, and report recall."""
        items = items_in_use(self.ledger)
        return ask_quiz(items[:limit], self._answerer(), parse_mode(mode), self.settings.answering.max_tokens)

    def published(self, *, verify: bool = False) -> Snapshot | None:
        """The snapshot in use, its files checked (`verify`: all read anew); None is the untouched base."""
        if verify:
            self.heal()
        return self._guard.usable()

    def heal(self) -> set[str]:
        """Read all published adapters' files; the damaged ones. What they held is pending, and answered by text."""
        return self._guard.heal()

    def _loads(self, adapter_id: str) -> bool:
        try:
            self._engines.load(adapter_id)
        except CorruptAdapterError as error:
            logger.error("%s", error)
            self.heal()
            return False
        except (AdapterError, UnknownIdError):
            if self.ledger.adapters(ids=[adapter_id]):
                raise
            return False  # forgotten since the snapshot was read
        return True

    def _answerer(self, *, shared: bool = False) -> Answerer:
        """`shared`: chats that wait at the same time are answered in one batch."""
        engine = self._engines.chatting if shared else self._engines.answering
        snapshot = self.published()
        self._engines.retain(snapshot)
        router = LoadableRouter(self._router(snapshot), self._loads)
        return Answerer(
            engine, router, self.ledger, self.settings.answering, snapshot=snapshot.version if snapshot else None
        )

    def route(self, question: str) -> Route:
        """The published shard that would answer a question closed book; its `adapter_id` is None where none would."""
        return self._router(self.published()).route(question)

    def _router(self, snapshot: Snapshot | None) -> Router:
        return self.routers(snapshot.manifest if snapshot is not None else Manifest(), self.ledger)

    # -- keeping it right -------------------------------------------------------------------------

    def correct(self, id: str, text: str) -> Correction:
        """Replace what interaction `id` says; the old wording stays in the history, out of training.

        Waits for no trainer. Raises `UnknownIdError`, `InputError` when nothing changes.
        """
        self._engines.open_server()  # what cannot be told that an adapter is gone is no place to begin
        return corrected(self.ledger, self._deletion(), id, text, settings=self.settings)

    def forget(
        self, ids: str | Sequence[str] | None = None, *, session: str | None = None, source: str | None = None
    ) -> ForgetReport:
        """Destroy interactions by id, session or source, and everything derived from them; a model is not needed.

        Waits for no trainer: what it trains on them meanwhile is not published. Raises `UnknownIdError` when nothing
        matches, `InputError` when nothing is named.
        """
        wanted = chosen(self.ledger, ids, session=session, source=source)
        self._guard.usable()  # what is measured before and after is what is served
        deletion = self._deletion()
        return deletion.measured(deletion.forget(wanted))

    def _deletion(self) -> Deletion:
        from seal_memory.forgetting.deletion import Deletion

        return Deletion(self.workbench, drop=self._engines.drop)

    def history(self) -> list[Snapshot]:
        """Published snapshots, newest first."""
        return self.ledger.history()

    def rollback(self, version: int) -> Snapshot | None:
        """Make an earlier snapshot the published one; 0 is the untouched base. What it does not hold is pending again.

        Waits for no trainer. Raises `UnknownIdError` for a version that never was, or is gone.
        """
        return roll_back(self.ledger, version)

    def export(self, folder: str | Path, *, merged: bool = False) -> Exported:
        """Write the published adapters as PEFT folders, or (`merged`) one model folder with the core merged in."""
        from seal_memory.runtime.export import export

        to, found = Path(folder).expanduser(), self.published(verify=True)
        return export(found, to, merged=merged, store=self.store, engine=lambda: self.engine, base=self.model)

    def status(self) -> MemoryStatus:
        """Counts, the published version, sizes, and the background's queue: needs no model."""
        return memory_status(self.ledger, self.folder, self.model, now=self._clock())

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML page about this memory; it quotes texts. Returns the file. Needs no model."""
        from seal_memory.report.page import write_page

        return write_page(Path(file).expanduser(), self.ledger, self.status(), now=self._clock())
