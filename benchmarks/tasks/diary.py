"""The diary task: invented facts told to an agent over days in dialogue, some of which change later.

A day is a unit, its messages are the chunks. Facts about people, places, the user's preferences, numbers, and results
of the assistant's tools, mixed with chatter; no model can know them. Each fact has one question, in one of six
phrasings; one question a day asks for what was never told. Not covered: facts that only follow from several messages,
relative dates ("tomorrow"), several speakers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from random import Random

from benchmarks.tasks.base import Chunk, Question, Task, Unit
from benchmarks.tasks.diary_chat import day_of_talk
from benchmarks.tasks.diary_facts import Fact, Story, Subject, slots
from benchmarks.tasks.diary_templates import Attribute
from benchmarks.tasks.reading import at_least_one

PHRASINGS = ("plain", "inverted", "terse", "indirect", "paraphrase", "reverse")


def make(*, days: int = 6, facts_per_day: int = 8, seed: int = 0) -> Task:
    """A diary; the same for the same arguments. Raises `InputError` when there are no words for so many facts."""
    at_least_one(days, "days")
    at_least_one(facts_per_day, "facts_per_day")
    rng = Random(seed)
    story = Story(rng)
    told = [story.tell(day, count=facts_per_day) for day in range(days)]
    asker = _Asker(story, rng)
    units = []
    for day, tellings in enumerate(told):
        messages = day_of_talk(tellings, rng)
        chunks = [
            Chunk(f"day-{day + 1}-m{number}", text, role, source=telling.source if telling else None)
            for number, (role, text, telling) in enumerate(messages, start=1)
        ]
        place = {id(f): c.id for c, (_, _, t) in zip(chunks, messages, strict=True) for f in (t.facts if t else ())}
        facts = [fact for telling in tellings for fact in telling.facts]
        units.append(Unit(f"day-{day + 1}", tuple(chunks), asker.questions(day, facts, [place[id(f)] for f in facts])))
    options = {"days": days, "facts_per_day": facts_per_day, "seed": seed}
    return Task("diary", tuple(units), sha256_of(units), options)


class _Asker:
    """Asks in all phrasings about equally often, and for each thing that was never told at most once."""

    def __init__(self, story: Story, rng: Random) -> None:
        self.story, self.rng = story, rng
        self._phrasings: list[str] = []
        self._untold: set[tuple[str, str]] = set()

    def questions(self, day: int, facts: Sequence[Fact], chunk_ids: Sequence[str]) -> tuple[Question, ...]:
        """One question for each fact, whose evidence is the chunk beside it, and one that has no answer."""
        asked = [self._about(fact, f"day-{day + 1}-q{n}", chunk_ids[n - 1]) for n, fact in enumerate(facts, start=1)]
        never = [(s, a) for s, a in self.story.untold(day) if (s.name, a.name) not in self._untold]
        if never:
            asked.append(self._about_nothing(*self.rng.choice(never), f"day-{day + 1}-q{len(facts) + 1}"))
        return tuple(asked)

    def _about(self, fact: Fact, question_id: str, chunk_id: str) -> Question:
        wordings = {
            name: [w.format(**slots(fact)) for w in w_all] for name, w_all in fact.attribute.questions().items()
        }
        if fact.attribute.reverse and not fact.former:  # of a changed value, the value itself is asked for
            wordings["reverse"] = [wording.format(**slots(fact)) for wording in fact.attribute.reverse]
        phrasing = self._phrasing(list(wordings))
        answer = fact.value
        names = (fact.subject.name, *fact.subject.forms)
        return Question(
            question_id,
            self.rng.choice(wordings[phrasing]).format(**slots(fact)),
            names if phrasing == "reverse" else (answer.text, *answer.forms),
            (chunk_id,),
            kind="update" if fact.former else fact.attribute.kind,
            phrasing=phrasing,
            outdated=tuple(value.text for value in fact.former),
            valid_until=fact.ends,
        )

    def _about_nothing(self, subject: Subject, attribute: Attribute, question_id: str) -> Question:
        self._untold.add((subject.name, attribute.name))
        wordings = attribute.questions()
        phrasing = self._phrasing(list(wordings))
        text = self.rng.choice(wordings[phrasing]).format(**subject.slots())
        return Question(question_id, text, (), (), kind="unanswerable", phrasing=phrasing)

    def _phrasing(self, possible: Sequence[str]) -> str:
        """The next phrasing that fits; one that does not fit waits for its turn."""
        if not any(name in possible for name in self._phrasings):
            self._phrasings += self.rng.sample(PHRASINGS, len(PHRASINGS))
        chosen = next(name for name in self._phrasings if name in possible)
        self._phrasings.remove(chosen)
        return chosen


def sha256_of(units: Sequence[Unit]) -> str:
    """The SHA-256 of a generated task, whose data is no file."""
    canonical = json.dumps([asdict(unit) for unit in units], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
