"""Recording of one exchange of a chat: its messages, its answer, and under which histories its session is found again.

Not here: text that cannot be recorded, and a ledger that cannot be written (`intake.recording`); what may be learned
(`intake.admission`); whether a request is recorded (`exchange`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from seal_memory.intake.cleaning import clean_messages, clean_text
from seal_memory.intake.recording import Part, Recorded
from seal_memory.memory import SealMemory

OpenMemory = Callable[[], AbstractContextManager[SealMemory]]


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange to record. `answer`: the model's text with its metadata, None where there is none to record.

    The first `replayed` messages came with an earlier turn. `time`: Unix seconds.
    """

    messages: Sequence[Mapping[str, Any]]
    replayed: int
    answer: tuple[str, Mapping[str, Any]] | None
    source: str
    session: str | None
    session_keys: Sequence[str]  # under which the next turn finds the session
    time: float

    @property
    def _names(self) -> dict[str, Any]:
        return {"source": self.source, "session": self.session, "time": self.time}

    def parts(self, open_memory: OpenMemory) -> list[Part]:
        """The parts to record, in order."""

        def messages(some: list[tuple[Mapping[str, Any], bool]]) -> Recorded:
            found = clean_messages([m for m, _ in some], replayed=sum(replayed for _, replayed in some))
            with open_memory() as memory:
                memory.observe_messages(found.messages, replayed=found.replayed, **self._names)
            return Recorded(found.changed, found.skipped)

        def end(some: list[Callable[[SealMemory], Recorded]]) -> Recorded:
            with open_memory() as memory, memory.ledger.atomic():
                done = [write(memory) for write in some]
            return Recorded(sum(d.cleaned for d in done), sum(d.skipped for d in done))

        said = [(m, number < self.replayed) for number, m in enumerate(self.messages)]
        return [Part(messages, said), Part(end, [self._note_session, self._observe_answer])]

    def _note_session(self, memory: SealMemory) -> Recorded:
        if self.session is not None:
            memory.ledger.sessions.note(self.session, self.session_keys)
        return Recorded()

    def _observe_answer(self, memory: SealMemory) -> Recorded:
        text, metadata = self.answer or ("", {})
        kept = clean_text(text.strip())
        if kept:
            memory.observe(kept, role="assistant", metadata=metadata, **self._names)
        return Recorded(cleaned=bool(kept) and kept != text.strip(), skipped=bool(text.strip()) and not kept)
