"""The talk around the facts of a diary: greetings, requests, small talk, and the assistant's replies.

None of it states anything to remember. Not covered: the facts (`diary_facts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from benchmarks.tasks.diary_facts import Telling
from benchmarks.tasks.diary_words import read

Message = tuple[str, str, Telling | None]  # role, text, and what is told by it

TALK = read("talk")


def day_of_talk(told: Sequence[Telling], rng: Random) -> list[Message]:
    """A day's messages: the tellings in order, with a greeting, small talk and a goodbye around them."""
    parts = [_part(telling, rng) for telling in told]
    for exchange in rng.sample(TALK["small_talk"], 1 + (len(told) > 4)):
        parts.insert(rng.randint(0, len(parts)), _said(exchange))
    greeting, goodbye = _said(rng.choice(TALK["greetings"])), _said(rng.choice(TALK["goodbyes"]))
    return [message for part in (greeting, *parts, goodbye) for message in part]


def _part(telling: Telling, rng: Random) -> list[Message]:
    """A telling and what is said right before and after it."""
    if telling.source is not None:
        request, after = rng.choice(TALK["requests"][telling.source]), rng.choice(TALK["after_tool"])
        request = request.replace("{who}", telling.facts[0].subject.name)
        return [("user", request, None), ("tool", telling.text, telling), ("assistant", after, None)]
    reply: list[Message] = [("assistant", rng.choice(TALK["replies"]), None)] if rng.random() < 0.5 else []
    return [("user", telling.text, telling), *reply]


def _said(exchange: Sequence[str]) -> list[Message]:
    return [("user", exchange[0], None), ("assistant", exchange[1], None)]
