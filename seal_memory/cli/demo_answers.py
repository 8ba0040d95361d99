"""The answering process of the demo: opens the memory's folder and answers from it alone.

`python -m seal_memory.cli.demo_answers` reads one request as JSON on standard input, and prints one JSON object with
the figures of each system as the last line of standard output. Not here: learning the story (`demo`), the table
(`demo_table`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import jsonable
from seal_memory.cli.progress import Bars
from seal_memory.errors import SealMemoryError

if TYPE_CHECKING:
    from seal_memory.memory import SealMemory

__all__ = ["SYSTEMS", "Figures", "Inquiry", "Request", "DemoAnswer", "figures", "measure", "peak_memory_mb"]

SYSTEMS = ("base", "weights", "retrieval", "hybrid", "oracle")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question with its gold answer and source: `text` for the oracle, `ids` to score the router."""

    question: str
    answer: str
    text: str
    ids: tuple[str, ...]
    session: str


@dataclass(frozen=True, slots=True)
class Request:
    """The request to the answering process: the memory's folder, how to open it, the questions."""

    folder: str
    model: str
    namespace: str
    overrides: Mapping[str, str]
    inquiries: tuple[Inquiry, ...]
    as_json: bool

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The request as `json.dumps(asdict(request))` wrote it."""
        data = json.loads(text)
        inquiries = tuple(Inquiry(**{**one, "ids": tuple(one["ids"])}) for one in data.pop("inquiries"))
        return cls(**data, inquiries=inquiries)


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """One answer of one system."""

    text: str
    prompt_tokens: int
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """One system's figures over all questions. `seconds`: wall time per question, all asked in one batch."""

    accuracy: float
    f1: float
    prompt_tokens: float
    seconds: float
    right: tuple[bool, ...]
    texts: tuple[str, ...]


def figures(inquiries: Sequence[Inquiry], answers: Sequence[DemoAnswer], seconds: float) -> Figures:
    """Grade the answers: normalised containment of the gold answer, and token F1."""
    from seal_memory.language.metrics import contains, mean, token_f1

    right = tuple(contains(s.text, i.answer) for s, i in zip(answers, inquiries, strict=True))
    return Figures(
        mean(map(float, right)),
        mean(token_f1(s.text, i.answer) for s, i in zip(answers, inquiries, strict=True)),
        mean(float(s.prompt_tokens) for s in answers),
        seconds / max(1, len(answers)),
        right,
        tuple(s.text for s in answers),
    )


def measure(
    memory: SealMemory, inquiries: Sequence[Inquiry], progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Ask every system every question, one batch a system; returns the figures and the router's accuracy."""
    memory.engine.complete(_closed_book(inquiries[:1]), max_tokens=1)  # warm up: exclude one-time costs
    measured: dict[str, Any] = {}
    routed = 0
    for number, system in enumerate(SYSTEMS):
        progress("answering in a new process", number, len(SYSTEMS))
        began = time.perf_counter()
        answers = _ask(memory, system, inquiries)
        measured[system] = figures(inquiries, answers, time.perf_counter() - began)
        if system == "weights":
            routed = sum(bool(set(s.sources) & set(i.ids)) for s, i in zip(answers, inquiries, strict=True))
    progress("answering in a new process", len(SYSTEMS), len(SYSTEMS))
    return {"systems": measured, "router_accuracy": routed / len(inquiries)}


def _ask(memory: SealMemory, system: str, inquiries: Sequence[Inquiry]) -> list[DemoAnswer]:
    if system in ("base", "oracle"):
        asked = _closed_book(inquiries) if system == "base" else _open_book(inquiries)
        done = memory.engine.complete(asked, max_tokens=memory.settings.answering.max_tokens)
        return [DemoAnswer(c.text, c.prompt_tokens) for c in done]
    answers = memory.ask([i.question for i in inquiries], mode=system)
    return [DemoAnswer(a.text, a.prompt_tokens, a.sources) for a in answers]


def _closed_book(inquiries: Sequence[Inquiry]) -> list[Any]:
    """Prompts with the question alone, for the untouched base."""
    from seal_memory import prompts
    from seal_memory.engines.base import Prompt

    return [Prompt(prompts.direct(i.question)) for i in inquiries]


def _open_book(inquiries: Sequence[Inquiry]) -> list[Any]:
    """Prompts with the right text and the question, for the untouched base."""
    from seal_memory import prompts
    from seal_memory.engines.base import Prompt

    return [Prompt(prompts.read(i.text, i.question)) for i in inquiries]


def peak_memory_mb() -> float | None:
    """This process's peak resident memory in MB; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def main() -> int:
    """Answer the request on standard input. An error is printed as a JSON line, with exit code 1."""
    request = Request.from_json(sys.stdin.read())
    call = Invocation(
        Path(request.folder),
        request.model,
        request.namespace,
        request.overrides,
        request.as_json,
        Bars.for_terminal(as_json=request.as_json),
    )
    try:
        with redirect_stdout(sys.stderr), call.bars, call.memory() as memory:
            with call.bars.step("loading the model in a new process"):
                memory.engine  # noqa: B018 (the property loads it)
            found = measure(memory, request.inquiries, call.bars)
    except SealMemoryError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(jsonable({**found, "peak_memory_mb": peak_memory_mb()})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
