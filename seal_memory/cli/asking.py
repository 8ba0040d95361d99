"""Commands `ask`, `chat` and `recall`. Not here: answering (`seal_memory.answering.answerer`)."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, console, fields_of, say, shorten, table
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.intake.cleaning import clean_text, without_surrogates

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.answering.answerer import Answer
    from seal_memory.memory import SealMemory
    from seal_memory.records import Observed

__all__ = ["AnswerMode", "ask", "chat", "recall"]

AnswerMode = Literal[
    "weights", "retrieval", "hybrid", "compose"
]  # of answering.answerer.Mode, which --help must not import
KEPT_MESSAGES = 8  # latest messages of a conversation that stay in the prompt

ModeOption = Annotated[AnswerMode, typer.Option(help="Where the answer may come from.")]


def ask(
    call: Invocation,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question.")],
    mode: ModeOption = "hybrid",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Maximum length of the answer, in tokens.")] = None,
) -> Output:
    """Answer a question from the weights, from stored text, or both.

    weights: no stored text in the prompt. retrieval: the best matching texts in the prompt. hybrid: text only where the
    weights are unsure. compose: the untouched model answers, from short notes that the weights recite.
    """
    with call.loaded("answering") as memory:
        answer = memory.ask(question, mode=mode, max_tokens=max_tokens)
        sources = _texts(memory, answer)
    return Output({"question": question, **fields_of(answer)}, lambda out: _show_answer(answer, sources, out))


def _texts(memory: SealMemory, answer: Answer) -> dict[str, str]:
    found = memory.ledger.interactions(ids=answer.sources) if answer.sources else []
    return {i.id: i.text for i in found}


def _show_answer(answer: Answer, sources: Mapping[str, str], out: Console) -> None:
    say(out, answer.text or "(no answer)")
    say(out, _origin(answer), style="dim")
    for note in answer.notes:
        say(out, f"  remembered: {note}", style="dim")
    for id, text in sources.items():
        say(out, f"  {id}  {shorten(text)}", style="dim")


def _origin(answer: Answer) -> str:
    parts = [answer.mode.value, f"confidence {answer.confidence:.2f}"]
    parts += [f"shard {s.adapter_id} ({s.score:.2f})" for s in answer.shards]
    parts += [f"version {answer.snapshot}" if answer.snapshot else "untouched base"]
    parts += [f"{answer.prompt_tokens} prompt tokens"]
    return " · ".join(parts)


# -- chat ---------------------------------------------------------------------------------------------


def chat(
    call: Invocation,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Send this, print the answer, and exit.")
    ] = None,
    mode: ModeOption = "hybrid",
    max_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer, in tokens.")] = 256,
    session: Annotated[str | None, typer.Option(help="The session to record your messages under.")] = None,
    no_observe: Annotated[bool, typer.Option("--no-observe", help="Do not record your messages.")] = False,
) -> Output:
    """Chat with the memory; your messages are recorded. /quit or the end of input ends the chat."""
    talk = _ChatSession(call, mode, max_tokens, None if no_observe else session or f"chat-{uuid.uuid4().hex[:8]}")
    with call.memory(create=True) as memory:
        with call.bars.step("loading the model"):
            memory.answering  # noqa: B018 (the property loads it)
        if message is not None:
            talk.turn(memory, message)
        else:
            talk.run(memory)
    return Output({"session": talk.session, "turns": talk.turns}, talk.show)


class _ChatSession:
    """One chat: its history and turns. `session` None: nothing is recorded."""

    def __init__(self, call: Invocation, mode: AnswerMode, max_tokens: int, session: str | None) -> None:
        self.call, self.mode, self.max_tokens, self.session = call, mode, max_tokens, session
        self.turns: list[dict[str, Any]] = []
        self._history: list[dict[str, str]] = []
        self._shown = 0

    def run(self, memory: SealMemory) -> None:
        """Read messages until /quit or the end of input; an unusable one prints an error and does not end the chat."""
        out = console(stderr=self.call.as_json)
        if sys.stdin.isatty():
            say(out, f"model {memory.model}, memory {memory.folder}; /quit ends", style="dim")
        while (message := _read_message()) is not None:
            if not message.strip():
                continue
            try:
                self.turn(memory, message)
            except InputError as error:
                say(console(stderr=True), f"error: {error}", style="red")
                continue
            if not self.call.as_json:
                self.show(out)

    def turn(self, memory: SealMemory, message: str) -> None:
        """Answer one message, then record it: afterwards, so that retrieval does not find the question itself."""
        from seal_memory import prompts

        message = without_surrogates(message)
        asked = [*self._history, {"role": "user", "content": message}][-KEPT_MESSAGES + 1 :]
        system = {"role": "system", "content": prompts.SYSTEM}
        try:
            with self.call.bars.step("answering"):
                answer = memory.chat([system, *asked], mode=self.mode, max_tokens=self.max_tokens)
        finally:
            seen = self._record(memory, message)
        self._history = [*asked, {"role": "assistant", "content": answer.text}]
        self.turns.append({"message": message, "answer": answer, "observed": seen})

    def _record(self, memory: SealMemory, message: str) -> list[Observed]:
        """Record a message; what cannot be recorded costs a line on standard error, never the answer."""
        text = clean_text(message)
        if self.session is None or not text:
            return []
        if text != message:
            say(console(stderr=True), "note: recorded without its unreadable characters", style="dim")
        try:
            return memory.observe(text, session=self.session)
        except SealMemoryError as error:
            say(console(stderr=True), f"warning: the message was not recorded: {error}", style="yellow")
            return []

    def show(self, out: Console) -> None:
        """Print the turns that were not printed yet."""
        for turn in self.turns[self._shown :]:
            _show_answer(turn["answer"], {}, out)
        self._shown = len(self.turns)


def _read_message() -> str | None:
    """The next line of input; None for /quit and the end of input."""
    if sys.stdin.isatty():
        sys.stderr.write("> ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    if not line or line.strip() in ("/quit", "/exit"):
        return None
    return line.rstrip("\n")


# -- recall -------------------------------------------------------------------------------------------


def recall(
    call: Invocation,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words to search for.")],
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of results.")] = 5,
) -> Output:
    """Search interactions by their words; needs no model."""
    with call.memory() as memory:
        hits = memory.recall(query, limit=limit)
    rows = [
        (f"{h.score:.2f}", h.interaction.id, h.interaction.status.value, shorten(h.interaction.text, 60)) for h in hits
    ]

    def show(out: Console) -> None:
        if rows:
            out.print(table(["score>", "id!", "status", "text"], rows))
        else:
            say(out, "Nothing matches.")

    return Output({"query": query, "hits": [{**fields_of(h.interaction), "score": h.score} for h in hits]}, show)
