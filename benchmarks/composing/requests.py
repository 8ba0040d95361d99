"""Requests of the composition task: answers of a given form that need invented facts told on earlier days.

The facts and the talk are the diary's; the requests are worded as no training item is. Each carries the rule that
judges it (`checks`). Not here: asking (`ways`), facts (`tasks.diary_facts`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.tasks.base import Chunk, Task, Unit
from benchmarks.tasks.diary import sha256_of
from benchmarks.tasks.diary_chat import day_of_talk
from benchmarks.tasks.diary_facts import Fact, Story, slots

KINDS = ("mail", "json", "call", "two-facts", "about", "nothing")
NEEDS_MEMORY = KINDS[:-1]
TOOL = "file_record"

_MAIL = (
    "Write an e-mail of two sentences to my colleague {reader} that tells {ask}.",
    "Draft two friendly sentences for an e-mail to {reader}. They must say {ask}.",
    "{reader} wants to know {ask}. Please write the e-mail for me, two sentences long.",
)
_JSON = (
    'Answer with one JSON object and nothing else. Its keys are "subject" and "{key}". The subject is {who}; for '
    '"{key}" put {ask}.',
    'Give me {ask}, as JSON: {{"subject": "{who}", "{key}": ...}}. No other text.',
)
_CALL = (
    f'You have one tool, {TOOL}(subject, value). To use it, answer only with JSON of the form {{{{"tool": "{TOOL}", '
    '"arguments": {{"subject": "...", "value": "..."}}}}. Use it now for {who}: the value is {ask}.',
)
_TWO = (
    "Tell me two things in one answer: {one}, and {two}.",
    "I am filling in a form. I need to know {one}, and also {two}.",
)
_ABOUT = (
    "What do you know about {who}?",
    "Sum up what I have told you about {who}.",
    "I am about to talk about {who}. What should I keep in mind?",
)
_READERS = ("Ines", "Paul", "Greta", "Omar")
NOTHING = (
    "Write an e-mail of two sentences that thanks a colleague for her help.",
    'Answer with one JSON object and nothing else: {"city": "Rome", "country": ...}.',
    "What is 7 plus 5?",
    "Name three vegetables.",
    f'You have one tool, {TOOL}(subject, value). To use it, answer only with JSON of the form {{"tool": "{TOOL}", '
    '"arguments": {"subject": "...", "value": "..."}}. Use it now for water: the value is its chemical formula.',
    "Explain in one sentence what a lighthouse is for.",
    "Translate 'good morning' into French.",
    "Write a Python function that adds two numbers.",
    "Which season comes after winter?",
    "What do you know about the Moon?",
    "Draft two friendly sentences that invite a neighbour to dinner.",
    "Is ice heavier than water?",
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request and what judges its answer. `values`: for each fact needed the ways to write its value; for the kind
    "about" any one of them will do. `chunk_ids`: the evidence. `key`: of the value in a JSON object.
    """

    id: str
    kind: str
    text: str
    values: tuple[tuple[str, ...], ...] = ()
    chunk_ids: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """What is told, as a task without questions, and the requests about it."""

    task: Task
    requests: tuple[Request, ...]


def make(*, days: int, facts_per_day: int, per_kind: int, seed: int) -> World:
    """The days and at most `per_kind` requests of each kind; the same for the same arguments."""
    rng = Random(f"compose-{seed}")
    story = Story(rng)
    told = [story.tell(day, count=facts_per_day) for day in range(days)]
    units, place = [], {}
    for day, tellings in enumerate(told, start=1):
        messages = day_of_talk(tellings, rng)
        chunks = []
        for number, (role, text, telling) in enumerate(messages, start=1):
            chunks.append(Chunk(f"day-{day}-m{number}", text, role, source=telling.source if telling else None))
            place.update({id(f): chunks[-1].id for f in (telling.facts if telling else ())})
        units.append(Unit(f"day-{day}", tuple(chunks), ()))
    options = {"days": days, "facts_per_day": facts_per_day, "per_kind": per_kind, "seed": seed}
    lasting = [f for f in story.facts if f.ends is None]
    maker = _Maker({id(f): place[id(f)] for f in lasting}, rng)
    found = maker.requests(lasting, per_kind)
    return World(Task("compose", tuple(units), sha256_of(units), options), tuple(found))


class _Maker:
    """Words the requests; `chunk_of`: the message that tells a fact, by the fact's identity."""

    def __init__(self, chunk_of: dict[int, str], rng: Random) -> None:
        self._chunk_of, self._rng = chunk_of, rng

    def requests(self, facts: Sequence[Fact], per_kind: int) -> Iterator[Request]:
        for kind, templates in (("mail", _MAIL), ("json", _JSON), ("call", _CALL)):
            for n, fact in enumerate(self._some(facts, per_kind)):
                text = templates[n % len(templates)].format(**self._words(fact), reader=self._rng.choice(_READERS))
                yield self._request(f"{kind}-{n + 1}", kind, text, [fact], key=_key(fact))
        pairs = [(a, b) for a in facts for b in facts if a.day < b.day]
        for n, (one, two) in enumerate(self._rng.sample(pairs, min(per_kind, len(pairs)))):
            text = _TWO[n % len(_TWO)].format(one=self._words(one)["ask"], two=self._words(two)["ask"])
            yield self._request(f"two-facts-{n + 1}", "two-facts", text, [one, two])
        by_subject: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            by_subject[fact.subject.name].append(fact)
        chosen = self._rng.sample(list(by_subject.values()), min(per_kind, len(by_subject)))
        for n, own in enumerate(chosen):
            text = _ABOUT[n % len(_ABOUT)].format(who=own[0].subject.name)
            yield self._request(f"about-{n + 1}", "about", text, own)
        for n, text in enumerate(NOTHING[:per_kind]):
            yield Request(f"nothing-{n + 1}", "nothing", text)

    def _some(self, facts: Sequence[Fact], count: int) -> list[Fact]:
        return self._rng.sample(list(facts), min(count, len(facts)))

    def _words(self, fact: Fact) -> dict[str, str]:
        words = slots(fact)
        return {"who": words["who"], "ask": fact.attribute.ask.format(**words), "key": _key(fact)}

    def _request(self, name: str, kind: str, text: str, facts: Sequence[Fact], *, key: str = "") -> Request:
        values = tuple((f.value.text, *f.value.forms) for f in facts)
        return Request(name, kind, text, values, tuple(dict.fromkeys(self._chunk_of[id(f)] for f in facts)), key)


def _key(fact: Fact) -> str:
    return fact.attribute.name.rpartition("_")[2]
