"""Recollecting: the short notes in which a memory says, closed book, what it knows about a request.

The router names the best shards (or the core) for the request's cues; these recite under the cues, greedily, in a
batch. A note is kept only where the memory is sure of it: see `is_sure`. No stored text is read. Not here: the
cues (`cues`), the answer that another model, or the untouched base, makes of the notes (`answerer`).
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
MOST_ROWS = 10  # (shard, cue) pairs of one request
MOST_NOTES = 3
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
    """What the memory says about each request; all requests in one batch.

    First the requests' own words are the cues. In a second batch those names are asked about of which no note speaks.
    `on_text` gets empty pieces while notes are made, and may end them by raising.
    """
    rows = [_Row(n, *row) for n, cues in enumerate(requests) for row in _rows(cues, router)]
    own = [r for r in rows if not r.cue.about]
    found = _recited([Recollection() for _ in requests], own, requests, engine, on_text)
    left = [r for r in rows if r.cue.about and not _speaks_of(found[r.request], r.cue.about)]
    return _recited(found, left, requests, engine, on_text)


@dataclass(frozen=True, slots=True)
class _Row:
    """One adapter that is asked one cue of a request."""

    request: int
    cue: Cue
    route: Route
    is_routed: bool


def _recited(
    found: Sequence[Recollection],
    rows: Sequence[_Row],
    requests: Sequence[Cues],
    engine: Engine,
    on_text: OnText | None,
) -> list[Recollection]:
    """The recollections with what the rows recite: one batch of the adapters, and one of the base's scores."""
    asked = [Prompt(prompts.direct(r.cue.text), r.route.adapter_id) for r in rows]
    working: OnText | None = None if on_text is None else lambda row, piece: on_text(rows[row].request, "")
    said = continue_prompts(engine, asked, Decoding(NOTE_TOKENS, top_logprobs=0), on_text=working)
    texts = [_whole(c) for c in said]
    scored = [k for k, text in enumerate(texts) if text]
    base = engine.score([(replace(asked[k], adapter=None), texts[k]) for k in scored]) if scored else []
    gains = {k: math.log(max(said[k].confidence, 1e-9)) - s.logprob for k, s in zip(scored, base, strict=True)}
    done = list(found)
    for n, cues in enumerate(requests):
        own = [k for k, row in enumerate(rows) if row.request == n]
        notes = [_note(texts[k], rows[k], said[k], gains[k]) for k in own if k in gains]
        read = sum(said[k].prompt_tokens * (2 if k in gains else 1) for k in own)
        made = sum(said[k].generated_tokens for k in own)
        before = found[n]
        kept = _best(before.notes, notes, cues)
        done[n] = Recollection(kept, before.prompt_tokens + read, before.generated_tokens + made)
    return done


def _note(text: str, row: _Row, said: Completion, gain: float) -> Note:
    return Note(text, row.cue, row.route, row.is_routed, certainty(said), gain)


def _speaks_of(recollection: Recollection, name: str) -> bool:
    return any(stems(name) & stems(note.text) for note in recollection.notes)


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
        if not cue.about and route.adapter_id not in _ids(routes) and (cues.stems & stems(cue.text) or not cues.stems)
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


def _best(before: Sequence[Note], notes: Sequence[Note], cues: Cues) -> tuple[Note, ...]:
    """The notes so far and the sure new ones, none that another holds; those of the routed adapters first.

    Where the router's adapter told what its cue asks for, another's note is only of use as an older or newer state of
    it; any other one would only find its way into the answer.
    """
    kept = list(before)
    sure = [n for n in sorted(notes, key=lambda n: not n.is_routed) if is_sure(n, cues)]
    leading = {n.cue.text: n for n in sure if n.is_routed and _tells_what_is_asked(n, cues)}
    for note in sure:
        lead = leading.get(note.cue.text, note)
        if (note.is_routed or lead is note or _restates(lead, note)) and not any(_holds(other, note) for other in kept):
            kept.append(note)
    return tuple(kept[:MOST_NOTES])


def _tells_what_is_asked(note: Note, cues: Cues) -> bool:
    """Whether a note shares a word with its cue beside names."""
    return bool((stems(note.cue.text) & stems(note.text)) - cues.stems)


def _restates(one: Note, other: Note) -> bool:
    return restates(*without_names(Query.of(one.text), one.text, other.text))


def _holds(one: Note, other: Note) -> bool:
    return normalise(other.text) in normalise(one.text)
