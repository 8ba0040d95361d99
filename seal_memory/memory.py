"""`SealMemory`: the one object a user needs. It opens a memory folder and delegates each verb to a package.

The ledger opens at once; the model loads at the first verb that needs it, so observing never waits for it.
Not here: the work itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakMethod

from seal_memory._internal.progress import Progress, silent
from seal_memory.answering.answerer import Answer, Answerer, check_questions, parse_mode
from seal_memory.answering.contract import parse_contract
from seal_memory.answering.conversation import Conversation, chat_prompt, default_mode, text_prompt
from seal_memory.answering.quiz_report import QuizReport, ask_quiz, user_items, valid_items
from seal_memory.answering.recollecting import Recollection
from seal_memory.config import Settings
from seal_memory.engines.base import Decoding
from seal_memory.errors import AdapterError, CorruptAdapterError, InputError, LedgerError, UnknownIdError
from seal_memory.forgetting.edits import correct_interaction, ids_to_forget, roll_back
from seal_memory.intake.admission import LOOK_BACK, AdmissionRules, from_messages, from_texts, hold_continuation
from seal_memory.ledger import Ledger
from seal_memory.ledger.arguments import (
    require_count,
    require_name,
    require_sequence,
    require_string,
    require_text,
    require_texts,
)
from seal_memory.ledger.encoding import sortable_id
from seal_memory.records import Hit, Interaction, Manifest, NewInteraction, Observed, Provenance, Snapshot
from seal_memory.report.status import memory_status
from seal_memory.results import Correction, Exported, MemoryStatus
from seal_memory.routing.router import LoadableRouter
from seal_memory.runtime.engines import MemoryEngines
from seal_memory.safety.classifiers import TextClassifier

if TYPE_CHECKING:  # these need torch, which takes seconds to import: only the verbs that use them import it
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
    """An open memory folder. Make it with `SealMemory.open`; usable as a context manager.

    One instance may be shared by threads. Two processes may observe and ask at the same time; only one trains
    (the other gets `BusyError`), and a snapshot that one publishes is used by the other from its next question on.
    Every verb raises `LedgerError` when the database cannot be read or written.
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
        classifier: TextClassifier | None = None,
    ) -> None:
        self.folder, self.ledger, self.settings, self.model = folder, ledger, settings, model
        self._clock, self._make_id, self.progress, self._given_router = clock, make_id, progress, router
        self._classifier = classifier
        self._engines = MemoryEngines(
            folder, ledger, settings.engine, model, store=lambda: self.store, engine=engine, answering=answering
        )
        self._background: Background | None = None
        self._at_close: list[Callable[[SealMemory], None]] = []
        self._before_forget: list[WeakMethod[Callable[[], None]]] = []
        self._after_forget: list[WeakMethod[Callable[[], None]]] = []

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
        classifier: TextClassifier | None = None,
    ) -> SealMemory:
        """Open the memory in folder `path`, or create it.

        Args:
            path: The folder; `~` is expanded.
            model: The default model's name, a local folder, a GGUF file or a hub id; loaded when first needed.
            namespace: One agent's or user's part of the folder, with interactions and adapters of its own.
            settings: `Settings`; None reads the folder's `settings.toml` and the environment.
            clock: Returns the time in Unix seconds.
            make_id: Returns a new id for an interaction, quiz item or job.
            progress: Called with a phase's name, and how much of it is done of how much.
            engine: Another memory's `engine`, or a function that returns it when first needed, to share one loaded
                model among memories.
            answering: A vLLM server's engine that answers questions; memories may share it.
            router: Makes a router of your own for a manifest and its ledger (`routing.router` shows one), in place of
                the setting `answering.router`. Questions and the publish gate both use it; pass it at every open.
            quota: Bytes of text that the namespace may hold; more is refused with `QuotaError`. None: no limit.
            classifier: May hold a text back, beside the filter's own rules (`safety.classifiers`).

        Raises:
            LedgerError: The folder cannot be used; `NewerSchemaError` where a newer seal-memory wrote it.
            SettingsError: A setting is unknown or out of range.
        """
        folder = _path(path, "the memory's folder")
        if quota is not None:
            require_count(quota, "quota")
        settings = settings if settings is not None else Settings.load(folder)
        if not isinstance(settings, Settings):
            raise InputError(f"settings is a {type(settings).__name__}; expected Settings(...) or None")
        ledger = Ledger.open(folder, namespace=namespace, clock=clock, make_id=make_id, quota=quota)
        more: dict[str, Any] = {"engine": engine, "answering": answering, "router": router, "classifier": classifier}
        return cls(folder, ledger, settings, model, clock=clock, make_id=make_id, progress=progress, **more)

    def at_close(self, callback: Callable[[SealMemory], None]) -> None:
        """Call `callback(memory)` when this memory is about to close, while the ledger is still open."""
        self._at_close.append(callback)

    def before_forget(self, method: Callable[[], None]) -> None:
        """Call a method before every forget by this memory, for as long as the method's object lives."""
        self._before_forget.append(WeakMethod(method))

    def after_forget(self, method: Callable[[], None]) -> None:
        """Call a method after every forget by this memory, for as long as the method's object lives."""
        self._after_forget.append(WeakMethod(method))

    def close(self) -> None:
        """Stop the background trainer, close the ledger, release the model. An engine passed to `open` stays open."""
        while self._at_close:
            self._at_close.pop()(self)
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
        """The adapter files of this namespace."""
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
        """The function that makes a manifest's router: the one passed to `open`, or the settings' own."""
        from seal_memory.routing.builtin import router_maker

        return self._given_router or router_maker(self.settings.answering)

    @cached_property
    def _guard(self) -> SnapshotGuard:
        from seal_memory.runtime.loading import SnapshotGuard

        return SnapshotGuard(self.ledger, self.store)

    @property
    def engine(self) -> TransformersEngine:
        """The engine in this process, which trains; loads the model on first use.

        Raises:
            ModelUnavailableError: The model cannot be found or loaded.
            BaseModelMismatchError: This memory's adapters were trained on another base model.
        """
        return self._engines.local

    @property
    def answering(self) -> AnsweringEngine:
        """The engine that answers: `engine`, or a vLLM server's, which is not contacted yet. Raises as `engine`."""
        return self._engines.answering

    @property
    def workbench(self) -> Workbench:
        """Ledger, engine (loaded on first use), store, settings, routers and clock, for what trains this memory."""
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

    # -- observing --------------------------------------------------------------------------------

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
        """Record text that the agent saw; several texts in one call are one transaction. Needs no model.

        Args:
            text: One text or several. One over 4,000 characters is split into chunks.
            role: Speaker: "user", "assistant", "system", "tool" or "document", or another usual name of one ("human").
            source: Origin, such as a file, a tool or a user; `forget` takes it.
            session: Conversation that the text belongs to; `forget` takes it.
            title: Title of the document that the text is from.
            time: Unix seconds; None is now.
            metadata: JSON values kept with the text.

        Returns:
            One result per recorded chunk: its id, whether it is new, and whether it will be learned (with the reason
            where not).

        Raises:
            InputError: A text is empty, binary or no valid Unicode; a role, source, session, title, time or metadata
                cannot be used.
        """
        texts = [text] if isinstance(text, str) else text
        require_sequence(texts, "text")
        provenance = Provenance(role, source, session, title, time, {} if metadata is None else metadata)
        return self._record(from_texts(texts, provenance, self._admission_rules))

    def observe_messages(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        source: str | None = None,
        session: str | None = None,
        time: float | None = None,
        replayed: int = 0,
    ) -> list[Observed]:
        """Record OpenAI message dicts, all or none. Needs no model.

        Args:
            messages: Message dicts; a message without content (only tool calls) is left out.
            source: As for `observe`, of all messages.
            session: As for `observe`, of all messages.
            time: Unix seconds, of all messages; None is now.
            replayed: Number of first messages that are repeated history. A known text among them does not count as
                seen again.

        Returns:
            One result per recorded chunk, as `observe`.

        Raises:
            InputError: A message is bad; names its index, from 0.
        """
        require_count(replayed, "replayed")
        provenance = Provenance(source=source, session=session, time=time)
        return self._record(from_messages(messages, provenance, self._admission_rules, replayed=replayed))

    @property
    def _admission_rules(self) -> AdmissionRules:
        safety = self.settings.safety
        return AdmissionRules(self.settings.learning.roles, safety.quarantine_roles, classifier=self._classifier)

    def _record(self, new: list[NewInteraction]) -> list[Observed]:
        if not new:
            return []
        with self.ledger.atomic():
            before = self.ledger.recent(LOOK_BACK, session=new[0].session)
            return self.ledger.observe(hold_continuation(before, new, self._admission_rules))

    def quarantine(self, *, rejected: bool = False) -> list[Interaction]:
        """List quarantined interactions, which instruct the model and wait for a person, oldest first.

        `rejected`: list those that a person rejected instead. Each says its reason.
        """
        return self.ledger.quarantine.held(rejected=rejected)

    def approve(self, ids: str | Sequence[str], *, reason: str | None = None) -> list[Interaction]:
        """Release quarantined or rejected interactions for learning, all or none; `reason` is kept with the decision.

        Returns the interactions, now pending, oldest first. Raises `UnknownIdError` for an id that is not in this
        namespace, `InputError` for one that is neither quarantined nor rejected.
        """
        return self.ledger.quarantine.approve(require_texts(ids, "ids"), require_name(reason, "reason"))

    def reject(self, ids: str | Sequence[str], *, reason: str | None = None) -> list[Interaction]:
        """Reject quarantined interactions for good, even if seen again, all or none; `reason` is kept.

        Returns the interactions, now rejected, oldest first. Raises `UnknownIdError` for an id that is not in this
        namespace, `InputError` for one that is not quarantined.
        """
        return self.ledger.quarantine.reject(require_texts(ids, "ids"), require_name(reason, "reason"))

    def add_quiz(self, items: Sequence[tuple[str, str]], *, interaction_ids: Sequence[str]) -> list[str]:
        """Add (question, answer) pairs of your own about interactions; they are held out, so never trained on.

        Returns the quiz items' ids, in order. Raises `InputError` for an empty side or a question that training uses
        already, `UnknownIdError` for an unknown or forgotten interaction.
        """
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
        """Train all pending interactions and publish the adapters that pass the gate.

        A refused adapter is a decision in the report, not an error.

        Args:
            core: Train the core again afterwards.
            rebuild: Adapter ids of published shards to train again; each answers until its successor is published.
            limit: Most episodes to learn now; the others stay pending.
            progress: Called instead of the memory's own.

        Returns:
            The published version (None: nothing was published), counts, the gate's decisions, and recall of the
            held-out questions before and after, 0..1.

        Raises:
            BusyError: Another process trains this namespace; `ChangedError` where it is to be started again.
            ModelUnavailableError: As `engine`.
            BaseModelMismatchError: As `engine`.
        """
        rebuild = require_texts(rebuild, "rebuild")
        if limit is not None:
            require_count(limit, "limit")
        with self._training(progress) as trainer:
            return trainer.consolidate(core=core, rebuild=rebuild, limit=limit)

    def refine(self, number: int, *, progress: Progress | None = None) -> RefineReport:
        """Run one round of refining the edit policy: the parts that the setting `policy.refine` names.

        Args:
            number: The round's number. An interrupted round resumes; a finished one does nothing.
            progress: Called instead of the memory's own.

        Returns:
            The round, its policy version (None: no note-writer was trained), episodes explored and tokens trained.

        Raises:
            BusyError: Another process trains this namespace.
            ModelUnavailableError: As `engine`.
            BaseModelMismatchError: As `engine`.
        """
        with self._training(progress) as trainer:
            return trainer.refine(number)

    def sleep(
        self, *, merge: bool = True, core: bool = True, again: bool = False, progress: Progress | None = None
    ) -> SleepReport:
        """Merge shards of one topic, then train the core; each is published only if nothing is lost.

        Args:
            merge: Merge shards.
            core: Train the core.
            again: Try merges again that were refused before.
            progress: Called instead of the memory's own.

        Returns:
            The published version (None: nothing was published), counts, the gate's decisions, and shards and bytes of
            adapters before and after.

        Raises:
            BusyError: Another process trains this namespace.
            ModelUnavailableError: As `engine`.
            BaseModelMismatchError: As `engine`.
        """
        with self._training(progress) as trainer:
            return trainer.sleep(merge=merge, core=core, again=again)

    @contextmanager
    def _training(self, progress: Progress | None) -> Iterator[Trainer]:
        from seal_memory.runtime.loading import check_base
        from seal_memory.training.trainer import leased

        bench = replace(self.workbench, progress=progress or self.progress)
        with leased(bench, self._guard) as trainer:
            check_base(bench.engine.fingerprint, self.model, self.ledger)  # a rollback may have changed the base
            yield trainer

    def start_background(self, *, poll_seconds: float = 2.0) -> Background:
        """Start a thread that learns pending interactions and audits due shards, until it is stopped or closed.

        Answers go before training. `poll_seconds`: time between two looks for work. Returns the running trainer, with
        `stop` and `wait_idle`. Raises `InputError` when it runs already.
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
        """Answer one question, or several in one batch. Nothing is recorded.

        Args:
            question: One question, or a list.
            mode: "weights" (closed book), "retrieval" (stored text in the prompt), "hybrid": weights, and text where
                the router or the answer is unsure, or "compose": the untouched base, with short notes in its prompt
                that the weights recite closed book.
            max_tokens: Most tokens of an answer; None is the setting `answering.max_tokens`.

        Returns:
            One answer, or a list in the order of the questions; each names its confidence, shards and sources.

        Raises:
            InputError: A question is empty, or the mode is unknown.
            PromptTooLongError: A prompt does not fit the model's context.
            ModelUnavailableError: As `engine`.
            BaseModelMismatchError: As `engine`.
            EngineUnavailableError: The vLLM server that answers cannot be reached, or has no room.
        """
        questions = check_questions(require_texts(question, "question"))
        limit = self.settings.answering.max_tokens if max_tokens is None else max_tokens
        answers = self._answerer().answer(questions, parse_mode(mode), max_tokens=limit)
        return answers[0] if isinstance(question, str) else answers

    def chat(self, messages: Sequence[Mapping[str, Any]], *, mode: str | None = None, max_tokens: int = 256) -> Answer:
        """Answer a conversation. Nothing is recorded.

        Args:
            messages: OpenAI message dicts; the last must be a user's or a tool's, and hold text.
            mode: As for `ask`; the last user message is routed. None: as for `converse`.
            max_tokens: Most tokens of the answer.

        Returns:
            The answer.

        Raises:
            InputError: The messages are no such conversation, or the mode is unknown.
            PromptTooLongError: As `ask`.
            ModelUnavailableError: As `ask`.
            BaseModelMismatchError: As `ask`.
            EngineUnavailableError: As `ask`.
        """
        return self.converse(messages, mode=mode, decoding=Decoding(max_tokens)).run()[0]

    def converse(
        self,
        said: str | Sequence[Mapping[str, Any]],
        *,
        mode: str | None = None,
        decoding: Decoding | None = None,
        n: int = 1,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        parallel_tool_calls: bool = True,
        response_format: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """Check a chat or a text to continue, and bind it to the published snapshot; `run()` then continues it.

        Args:
            said: OpenAI message dicts, or plain text.
            mode: As for `ask`. None: "compose" with tools, structured output, or over eight messages; else "hybrid".
            decoding: Temperature, stop strings and limits; None is greedy.
            n: Number of samples.
            tools: OpenAI tool definitions; an answer's `tool_calls` name them.
            tool_choice: "auto" (None too), "none", "required", a tool's name, or OpenAI's objects for one tool or
                several. A forced call is exactly one, and valid by the tool's schema.
            parallel_tool_calls: Whether an answer may hold several calls.
            response_format: OpenAI's object: text, json_object, or json_schema with a schema that the answer follows.

        Returns:
            A conversation whose `run(on_text)` makes the answers and streams their text.

        Raises:
            InputError: The messages are no conversation, the text is empty, or the mode, an option or a tool is not
                supported.
            PromptTooLongError: As `ask`.
            ModelUnavailableError: As `ask`.
            BaseModelMismatchError: As `ask`.
            EngineUnavailableError: As `ask`.
        """
        contract = parse_contract(
            tools=tools,
            tool_choice=tool_choice,
            parallel_tool_calls=parallel_tool_calls,
            response_format=response_format,
        )
        prompt, question = text_prompt(said) if isinstance(said, str) else chat_prompt(said)
        if contract.tools:
            prompt = contract.with_tools(prompt, self.answering.encoder.call_form)
        elif contract.schema is not None:
            prompt = replace(prompt, schema=contract.schema)
        structured = contract.schema is not None
        parsed_mode = default_mode(prompt, structured=structured) if mode is None else parse_mode(mode)
        decoding = decoding if decoding is not None else Decoding()
        self.answering.check(prompt, decoding)
        return Conversation(self._answerer(shared=True), prompt, question, parsed_mode, decoding, n, contract=contract)

    def recollect(self, said: str | Sequence[Mapping[str, Any]]) -> Recollection:
        """The notes that the adapters recite about a request, closed book, for another model's prompt.

        Args:
            said: OpenAI message dicts, or plain text; a follow-up's subject is taken from the turns before.

        Returns:
            The notes, best first; none where the memory is not sure. `prompts.remembered(notes)` words them for a
            system message.

        Raises:
            InputError: The messages are no conversation, or the text is empty.
            PromptTooLongError: As `ask`.
            ModelUnavailableError: As `ask`.
            BaseModelMismatchError: As `ask`.
            EngineUnavailableError: As `ask`.
        """
        prompt, _ = text_prompt(said) if isinstance(said, str) else chat_prompt(said)
        return self._answerer(shared=True).recollect([prompt])[0]

    def recall(self, query: str, *, limit: int = 5) -> list[Hit]:
        """Search the interactions by BM25, for any text. Needs no model.

        Returns at most `limit` hits, best first, none of them superseded, quarantined or rejected. Raises `InputError`
        for a limit under 1.
        """
        return self.ledger.search(require_string(query, "query"), limit=require_count(limit, "limit", least=1))

    def quiz(self, *, mode: str = "weights", limit: int | None = None) -> QuizReport:
        """Ask the held-out questions about interactions that are still valid: the first `limit`, or (None) all.

        Returns accuracy, exact match, F1 and the router's accuracy, 0..1, with every answer. Raises as `ask`.
        """
        if limit is not None:
            require_count(limit, "limit")
        items = valid_items(self.ledger)
        return ask_quiz(items[:limit], self._answerer(), parse_mode(mode), self.settings.answering.max_tokens)

    def published(self, *, verify: bool = False) -> Snapshot | None:
        """Return the published snapshot after checking its files; None is the untouched base.

        A snapshot with damaged adapters is published again without them. `verify`: read every file again.
        """
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
            try:
                self.heal()
            except LedgerError as another:  # read-only, or no room: the question is answered all the same
                logger.warning("the damaged adapter stays published for now: %s", another)
            return False
        except (AdapterError, UnknownIdError):
            if self.ledger.adapters(ids=[adapter_id]):
                raise
            return False  # forgotten since the snapshot was read
        return True

    def _answerer(self, *, shared: bool = False) -> Answerer:
        """Bind an answerer to the published snapshot; `shared` batches it with other callers."""
        engine = self._engines.batched if shared else self._engines.answering
        snapshot = self.published()
        self._engines.retain(snapshot)
        router = LoadableRouter(self._router(snapshot), self._loads)
        return Answerer(
            engine, router, self.ledger, self.settings.answering, snapshot=snapshot.version if snapshot else None
        )

    def route(self, question: str) -> Route:
        """Find the published adapter that would answer a question closed book, without answering it.

        Returns the route; its `adapter_id` is None where the untouched base would answer.
        """
        return self._router(self.published()).route(require_string(question, "question"))

    def _router(self, snapshot: Snapshot | None) -> Router:
        return self.routers(snapshot.manifest if snapshot is not None else Manifest(), self.ledger)

    # -- correcting, forgetting, publishing -------------------------------------------------------

    def correct(self, id: str, text: str) -> Correction:
        """Replace the text of an interaction; the old wording stays on record, out of training and answers.

        Adapters that were trained on the old wording are removed; the new one is pending. Waits for no trainer.

        Args:
            id: The interaction.
            text: Its new text, at most one chunk.

        Returns:
            The old and the new id, and the adapters and snapshots that were removed.

        Raises:
            UnknownIdError: The id is not in this namespace.
            InputError: The text is empty, too long or unchanged, or the interaction was corrected before.
        """
        require_text(id, "id")
        self._engines.open_server()  # connect first: the vLLM server must be told to drop adapters
        return correct_interaction(self.ledger, self._deletion(), id, text, rules=self._admission_rules)

    def forget(
        self, ids: str | Sequence[str] | None = None, *, session: str | None = None, source: str | None = None
    ) -> ForgetReport:
        """Destroy interactions, and everything derived from them: quiz items, self-edits, adapters and snapshots.

        Needs no model; where there is one, the report says what it still recalls. Waits for no trainer: what one trains
        on them meanwhile is not published.

        Args:
            ids: One id or several; given these, session and source are not used.
            session: All interactions of a session; what was seen in another one, too, stays there.
            source: All interactions of a source, likewise; with `session` too, only what was seen there from it.

        Returns:
            Counts and ids of what was destroyed, interactions to be learned again, and recall of the forgotten
            questions before, after, and of the untouched base, 0..1 (None: not measured).

        Raises:
            InputError: Nothing is named.
            UnknownIdError: An id is unknown, or nothing matches.
        """
        named = None if ids is None else require_texts(ids, "ids")
        require_name(session, "session")
        require_name(source, "source")
        _call_all(self._before_forget)  # what waits to be recorded is forgotten, too
        wanted = ids_to_forget(self.ledger, named, session=session, source=source)
        if ids is not None:
            session = source = None
        self._guard.usable()  # recall is measured on what is served
        deletion = self._deletion()
        done = deletion.forget(wanted, session=session, source=source)
        _call_all(self._after_forget)
        return deletion.with_recall(done)

    def _deletion(self) -> Deletion:
        from seal_memory.forgetting.deletion import Deletion

        return Deletion(self.workbench, drop=self._engines.drop)

    def history(self) -> list[Snapshot]:
        """List the published snapshots, newest first."""
        return self.ledger.history()

    def rollback(self, version: int) -> Snapshot | None:
        """Publish an earlier version again, 0 for the untouched base; interactions outside it are pending again.

        Returns the published snapshot, None for the untouched base. Raises `UnknownIdError` for a version that never
        existed, was destroyed by a forget, or was pruned. Waits for no trainer.
        """
        return roll_back(self.ledger, version)

    def export(self, folder: str | Path, *, merged: bool = False) -> Exported:
        """Write the published adapters as PEFT folders with a `manifest.json`, into a new or empty folder.

        `merged`: write one safetensors model with the core merged into the base instead, which loads the model.
        Returns the folder, the version, and the names written. Raises `InputError` when nothing is published, the
        folder is not empty, or (`merged`) there is no core.
        """
        from seal_memory.runtime.export import export

        to, found = _path(folder, "the export's folder"), self.published(verify=True)
        return export(found, to, merged=merged, store=self.store, engine=lambda: self.engine, base=self.model)

    def status(self) -> MemoryStatus:
        """Count interactions, adapters and bytes, and list the background trainer's queue. Needs no model."""
        return memory_status(self.ledger, self.folder, self.model, now=self._clock())

    def report(self, file: str | Path) -> Path:
        """Write one self-contained HTML page about this memory and return its path. Needs no model.

        The page quotes texts, also quarantined ones: treat it like the memory itself.
        """
        from seal_memory.report.page import write_page

        return write_page(_path(file, "the report's file"), self.ledger, self.status(), now=self._clock())


def _call_all(methods: Iterable[WeakMethod[Callable[[], None]]]) -> None:
    for method in [found for ref in methods if (found := ref()) is not None]:
        method()


def _path(path: object, name: str) -> Path:
    """A path, with `~` expanded. Raises `InputError` for anything but a path or a string that a file system takes."""
    try:
        if isinstance(path, str | os.PathLike) and b"\x00" not in os.fsencode(path):
            return Path(path).expanduser()
    except UnicodeEncodeError:
        raise InputError(f"{name} holds half of a surrogate pair; expected a path") from None
    shown = repr(path) if isinstance(path, str | int | float | None) else f"a {type(path).__name__}"
    raise InputError(f"{name} is {shown}; expected a path")
