"""Recollecting: the short notes in which a memory says, closed book, what it knows about a request.

The router names the best shards (or the core) for the request's cues; these recite under every cue, greedily and in one
batch. A note is kept only where the memory is sure of it: see `is_sure`. No stored text is read. Not here: the answer
that another model, or the untouched base, makes of the notes (`answerer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seal_memory import prompts
from seal_memory.answering.cues import Cue, Cues
from seal_memory.engines.base import Completion, Decoding, Engine, OnText, Prompt, continue_prompts
from seal_memory.language.text import normalise, sentences
from seal_memory.routing.router import Route, Router, routes_of
from seal_memory.routing.words import Query, restates, stems, without_names

NOTE_TOKENS = 40  # longest note
MOST_SHARDS = 3  # asked for one request
MOST_ROWS = 12  # (shard, cue) pairs of one request
MOST_NOTES = 4
MIN_CERTAINTY = 0.9  # see `certainty`
MIN_COVERAGE = 0.3  # share of a cue's words in a note that shares no name with the request
MIN_GAIN = 1.0  # nats a token by which the adapter must hold the note likelier than the untouched base does


@dataclass(frozen=True, slots=True)
class Note:
    """What an adapter recited under a cue, and how sure it is.

    `is_routed`: whether the router chose this adapter for this cue. `certainty`: see the function. `gain`: mean
    log-probability a token under the adapter minus the same under the base, in nats.
    """

    text: str
    cue: Cue
    route: Route
    is_routed: bool
    certainty: float
    gain: float


@dataclass(frozen=True, slots=True)
class Recollection:
    """The notes about one request, best first; empty where the memory knows nothing. Tokens are counted as spent."""

    notes: tuple[Note, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(n.text for n in self.notes)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The adapters behind the notes, each once."""
        return tuple({n.route.adapter_id: n.route for n in self.notes}.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the interactions on whose evidence those adapters were asked."""
        return tuple(dict.fromkeys(i for n in self.notes for i in n.route.interaction_ids))


def recollect(
    requests: Sequence[Cues], engine: Engine, router: Router, *, on_text: OnText | None = None
) -> list[Recollection]:
    """What the memory says about each request; all requests in one batch, the base's scores in another.

    `on_text` gets empty pieces while notes are made, and may end them by raising.
    """
    rows = [(n, *row) for n, cues in enumerate(requests) for row in _rows(cues, router)]
    if not rows:
        return [Recollection() for _ in requests]
    asked = [Prompt(prompts.direct(cue.text), route.adapter_id) for _, cue, route, _ in rows]
    working: OnText | None = None if on_text is None else lambda row, piece: on_text(rows[row][0], "")
    said = continue_prompts(engine, asked, Decoding(NOTE_TOKENS, top_logprobs=0), on_text=working)
    texts = [_whole(c) for c in said]
    scored = [k for k, text in enumerate(texts) if text]
    base = engine.score([(replace(asked[k], adapter=None), texts[k]) for k in scored]) if scored else []
    gains = {k: math.log(max(said[k].confidence, 1e-9)) - s.logprob for k, s in zip(scored, base, strict=True)}
    found = []
    for n, cues in enumerate(requests):
        own = [k for k, row in enumerate(rows) if row[0] == n]
        notes = [Note(texts[k], *rows[k][1:], certainty(said[k]), gains[k]) for k in own if k in gains]
        spent = sum(said[k].prompt_tokens * (2 if k in gains else 1) for k in own)
        kept = _best(notes, cues)
        found.append(Recollection(kept, spent, sum(said[k].generated_tokens for k in own)))
    return found


def certainty(completion: Completion) -> float:
    """The lowest token probability of a recitation but one, 0..1.

    Where a recitation begins (with the fact, or "The user said:") is open, and costs one token. A second one that the
    adapter doubts is where it joins a name to another name's statement.
    """
    logprobs = sorted(t.logprob for t in completion.tokens)
    return math.exp(logprobs[min(1, len(logprobs) - 1)]) if logprobs else 0.0


def is_sure(note: Note, cues: Cues) -> bool:
    """Whether a note is the memory's own and about the request.

    Its adapter must be sure of it, and must hold it far likelier than the untouched base does: what the base would say
    anyway is no memory. An adapter that is asked about something else recites what it knows, surely; so a note must
    share a name with the request, or enough words with its cue.
    """
    if note.certainty < MIN_CERTAINTY or note.gain < MIN_GAIN:
        return False
    held = stems(note.text)
    return bool(cues.stems & held) or Query.of(note.cue.text).covered(held) >= MIN_COVERAGE


def _rows(cues: Cues, router: Router) -> list[tuple[Cue, Route, bool]]:
    """Which adapter is asked which cue, and whether the router chose it for that cue.

    The best few of all cues are asked the request's own words, too: a fact is often told in other words than it is
    asked for.
    """
    routed = [(cue, routes_of(router, cue.text, limit=MOST_SHARDS if cue.about else 1)) for cue in cues.cues]
    best: dict[str, Route] = {}
    for _, routes in sorted(routed, key=lambda r: -max((x.score for x in r[1]), default=0.0)):
        for route in routes:
            if route.adapter_id is not None and len(best) < MOST_SHARDS:
                best.setdefault(route.adapter_id, route)
    rows = [(cue, best[a], True) for cue, routes in routed for a in _ids(routes) if a in best]
    rows += [
        (cue, route, False)
        for cue, routes in routed
        for route in best.values()
        if not cue.about and route.adapter_id not in _ids(routes)
    ]
    return rows[:MOST_ROWS]


def _ids(routes: Iterable[Route]) -> list[str]:
    return [r.adapter_id for r in routes if r.adapter_id is not None]


def _whole(completion: Completion) -> str:
    """The recited text without a sentence that the limit cut off, where another one is whole."""
    text = completion.text.strip()
    if completion.finish == "stop":
        return text
    parts = sentences(text)
    return " ".join(parts[:-1]) if len(parts) > 1 else text


def _best(notes: Sequence[Note], cues: Cues) -> tuple[Note, ...]:
    """The sure notes: those of the adapters chosen for the request's own words first, no two that say the same."""
    kept: list[Note] = []
    for note in sorted(notes, key=lambda n: (not n.is_routed, bool(n.cue.about))):
        if is_sure(note, cues) and not any(_same(note, other) for other in kept):
            kept.append(note)
    return tuple(kept[:MOST_NOTES])


def _same(one: Note, other: Note) -> bool:
    """Whether two notes say the same of the same name, perhaps with another value."""
    a, b = normalise(one.text), normalise(other.text)
    if a in b or b in a:
        return True
    rest = without_names(Query.of(one.text), one.text, other.text)
    return restates(*rest)
