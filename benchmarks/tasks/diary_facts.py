"""The story of a diary: on each day new facts, and changes of facts of earlier days.

Nobody has two homes at once and no two have the same one, so a question about a fact has one answer on any day.
Not covered: the questions (`diary`), greetings and other talk (`diary_chat`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.tasks import diary_words as words
from benchmarks.tasks.diary_templates import ATTRIBUTES, Attribute
from benchmarks.tasks.diary_words import Draw, Value, one_of
from seal_memory.errors import InputError

SOURCES = {"event": "calendar", "forecast": "weather", "bridge": "search", "service": "shell", "train": "timetable"}
PREFIXES = {source: source.capitalize() + ": " for source in SOURCES.values()} | {"search": "Search result: "}
_SUBJECTS: dict[str, Draw] = {
    "place": words.place,
    "product": one_of("products"),
    "meal": words.meal,
    "hotel": words.town,
    "document": one_of("documents"),
    "room": words.room,
    "ware": words.ware,
    "stock": words.stock,
    "paper": words.paper,
    "project": words.project,
    "forecast": words.forecast,
    "bridge": words.bridge,
    "service": words.service,
    "train": words.train,
}
_BAG = ["person"] * 3 + ["place"] * 2 + ["preference"] + ["number"] * 2 + ["tool"] * 2
_CHANGES = 6  # one fact in so many, from the second day on, is a change
_PAIRS = 0.3  # so often a sentence tells two facts at once
_AGAIN = 0.6  # so often a fact is about somebody or something already known
_TRIES = 500


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what a fact is about, known since `day`."""

    topic: str
    name: str
    forms: tuple[str, ...]
    day: int

    def slots(self) -> dict[str, str]:
        """What the slots {who}, {Who} and {bare} stand for."""
        bare = self.name.removeprefix("the ").removeprefix("a ")
        return {"who": self.name, "Who": self.name[:1].upper() + self.name[1:], "bare": bare}


@dataclass(slots=True)
class Fact:
    """A value that holds from `day` until the day `ends`; `former`: the values it had before, the latest first."""

    subject: Subject
    attribute: Attribute
    value: Value
    day: int
    former: tuple[Value, ...] = ()
    ends: int | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """One message that tells facts."""

    text: str
    source: str | None
    facts: tuple[Fact, ...]


class Story:
    """Everything told so far. Whatever is drawn, is drawn from `rng`."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.facts: list[Fact] = []
        self.subjects: list[Subject] = []
        self.told: dict[tuple[str, str], Fact] = {}  # the latest fact by subject and attribute
        self._seen: defaultdict[Hashable, set[str]] = defaultdict(set)
        self._kinds: list[str] = []

    def tell(self, day: int, *, count: int) -> list[Telling]:
        """The messages of a day, which tell `count` facts together; some are changes."""
        told: list[Telling] = []
        for _ in range(_changes(day, count)):
            change = self._change(day)
            told += [change] if change else []
        if day and len(told) < count:
            told += [self._tell_new(day, "person", 1, again=1.0)]  # more about somebody, and no change
        while (left := count - sum(len(t.facts) for t in told)) > 0:
            told.append(self._tell_new(day, self._kind(), left, again=_AGAIN))
        self.rng.shuffle(told)
        return told

    def untold(self, day: int) -> list[tuple[Subject, Attribute]]:
        """What is never told of subjects that are known by then; complete once the last day is told."""
        known = [subject for subject in self.subjects if subject.day <= day]
        return [(s, a) for s in known for a in ATTRIBUTES if a.topic == s.topic and not self._has(s, a)]

    # --- new facts -----------------------------------------------------------------------------

    def _tell_new(self, day: int, kind: str, left: int, *, again: float) -> Telling:
        attribute, subject = self._choose(day, kind, again)
        facts = [self._add(Fact(subject, attribute, self._value(attribute), day))]
        others = [a for a in ATTRIBUTES if a.topic == subject.topic and a.clause and self._open(subject, a)]
        if left > 1 and attribute.clause and others and self.rng.random() < _PAIRS:
            other = self.rng.choice(others)
            facts.append(self._add(Fact(subject, other, self._value(other), day)))
            return self._telling(_pair(facts), facts)
        return self._telling(self.rng.choice(attribute.told), facts)

    def _choose(self, day: int, kind: str, again: float) -> tuple[Attribute, Subject]:
        fitting = [a for a in ATTRIBUTES if a.kind == kind]
        for attribute in self.rng.sample(fitting, len(fitting)):
            known = [s for s in self.subjects if s.topic == attribute.topic and self._open(s, attribute)]
            earlier = [s for s in known if s.day < day] or known
            if earlier and self.rng.random() < again:
                return attribute, self.rng.choice(earlier)
            subject = self._subject(attribute.topic, day)
            if subject is not None:
                return attribute, subject
        raise _exhausted(kind)

    def _subject(self, topic: str, day: int) -> Subject | None:
        """Somebody or something new; None when there is nothing left of the sort."""
        if topic == "event":
            drawn = self._fresh(topic, lambda rng: Value(f"{words.appointment(rng)} of {self._somebody()}"))
        elif topic == "contact":
            drawn = self._fresh(topic, lambda rng: Value(self._somebody()))
        elif topic == "person":
            drawn = self._fresh(words.person, words.person)
        else:
            drawn = self._fresh(topic, _SUBJECTS[topic])
        if drawn is None:
            return None
        self.subjects.append(Subject(topic, drawn.text, drawn.forms, day))
        return self.subjects[-1]

    def _somebody(self) -> str:
        """Somebody's name, often that of a person of whom something was told."""
        people = [s.name for s in self.subjects if s.topic == "person"]
        if people and self.rng.random() < 0.5:
            return self.rng.choice(people)
        stranger = self._fresh(words.person, words.person)
        return stranger.text if stranger else self.rng.choice(people)

    def _value(self, attribute: Attribute, former: Sequence[Value] = ()) -> Value:
        """A value the fact never had, and, of an attribute with unique values, that nobody else ever had."""
        if attribute.unique:
            value = self._fresh(attribute.value, attribute.value)
        else:
            value = _until(self.rng, attribute.value, lambda v: v not in former)
        if value is None:
            raise _exhausted(attribute.name)
        return value

    def _fresh(self, key: Hashable, draw: Draw) -> Value | None:
        value = _until(self.rng, draw, lambda v: v.text not in self._seen[key])
        if value is not None:
            self._seen[key].add(value.text)
        return value

    def _kind(self) -> str:
        if not self._kinds:
            self._kinds = self.rng.sample(_BAG, len(_BAG))
        return self._kinds.pop()

    # --- changes -------------------------------------------------------------------------------

    def _change(self, day: int) -> Telling | None:
        """A new value for a fact of an earlier day, if there is one that can change."""
        open_to_change = [f for f in self.facts if f.attribute.changed and f.day < day and f.ends is None]
        if not open_to_change:
            return None
        old = self.rng.choice(open_to_change)
        former = (old.value, *old.former)
        new = Fact(old.subject, old.attribute, self._value(old.attribute, former), day, former)
        old.ends = day
        return self._telling(self.rng.choice(old.attribute.changed), [self._add(new)])

    # --- the books -----------------------------------------------------------------------------

    def _open(self, subject: Subject, attribute: Attribute) -> bool:
        """Whether this may be told; of people and places one thing stays untold, to ask for in vain."""
        untold = [a for a in ATTRIBUTES if a.topic == subject.topic and not self._has(subject, a)]
        return attribute in untold and (len(untold) > 1 or subject.topic not in ("person", "place"))

    def _has(self, subject: Subject, attribute: Attribute) -> bool:
        return (f"{subject.topic} {subject.name}", attribute.name) in self.told

    def _add(self, fact: Fact) -> Fact:
        self.told[f"{fact.subject.topic} {fact.subject.name}", fact.attribute.name] = fact
        self.facts.append(fact)
        return fact

    def _telling(self, template: str, facts: Sequence[Fact]) -> Telling:
        text = template.format(**slots(facts[0]), species=words.pick(self.rng, "species"))
        return Telling(text[:1].upper() + text[1:], SOURCES.get(facts[0].subject.topic), tuple(facts))


def slots(fact: Fact) -> dict[str, str]:
    """What the slots of a sentence about the fact stand for."""
    old = fact.former[0].text if fact.former else ""
    values = {"value": fact.value.text, "a": _article(fact.value.text), "old": old, "a_old": _article(old)}
    return fact.subject.slots() | values


def _pair(facts: Sequence[Fact]) -> str:
    """A sentence of two clauses about the same subject, in the order of the templates; its slots are filled in."""
    ordered = sorted(facts, key=lambda fact: ATTRIBUTES.index(fact.attribute))
    clauses = [fact.attribute.clause.format(**slots(fact), species="{species}") for fact in ordered]
    source = SOURCES.get(facts[0].subject.topic)
    return f"{PREFIXES[source] if source else ''}{facts[0].subject.name} {clauses[0]} and {clauses[1]}."


def _changes(day: int, count: int) -> int:
    return day * count // _CHANGES - (day - 1) * count // _CHANGES if day else 0


def _article(value: str) -> str:
    return "an" if value[:1].lower() in tuple("aeiou") else "a"


def _until(rng: Random, draw: Draw, fits: Callable[[Value], bool]) -> Value | None:
    return next((value for value in (draw(rng) for _ in range(_TRIES)) if fits(value)), None)


def _exhausted(what: str) -> InputError:
    return InputError(f"the diary has no more words for another fact ({what}); make it of fewer facts")
