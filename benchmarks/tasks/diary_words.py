"""The words of a diary, read from `diary_data/`, and the values and subjects drawn from them at random.

Everything that a model could know (towns, firms, brands) is made of syllables; what it could guess (jobs, colours) is
at least drawn at random. Not covered: sentences (`diary_templates`), and that nothing is drawn twice (`diary_facts`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

DATA = Path(__file__).parent / "diary_data"


@dataclass(frozen=True, slots=True)
class Value:
    """A value told about somebody or something; `forms` are other ways to write it that count as well."""

    text: str
    forms: tuple[str, ...] = ()


Draw = Callable[[Random], Value]


def read(name: str) -> dict[str, Any]:
    """The tables and lists of a file of `diary_data`: words, facts or talk."""
    return tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))


WORDS = read("words")


def pick(rng: Random, name: str) -> str:
    """An entry of a list of `WORDS`."""
    return str(rng.choice(WORDS[name]))


def one_of(name: str) -> Draw:
    """Draws an entry of a list of `WORDS`."""
    return lambda rng: Value(pick(rng, name))


# --- values ------------------------------------------------------------------------------------


def person(rng: Random) -> Value:
    return Value(f"{pick(rng, 'first_names')} {pick(rng, 'last_names')}")


def town(rng: Random) -> Value:
    return Value(pick(rng, "town_starts") + pick(rng, "town_ends"))


def word(rng: Random) -> Value:
    return Value(pick(rng, "word_starts") + pick(rng, "word_ends"))


def company(rng: Random) -> Value:
    return Value(f"{word(rng).text} {pick(rng, 'sectors')}")


def hotel(rng: Random) -> Value:
    name = word(rng).text
    return Value(f"Hotel {name}", (f"{name} Hotel", name))


def pet(rng: Random) -> Value:
    return Value(pick(rng, "pet_starts") + pick(rng, "pet_ends"))


def address(rng: Random) -> Value:
    return Value(f"{rng.randint(2, 198)} {pick(rng, 'street_first')} {pick(rng, 'street_second')}")


def date(rng: Random) -> Value:
    day, month = rng.randint(1, 28), pick(rng, "months")
    nth = f"{day}{_ordinal(day)}"
    return Value(f"{day} {month}", (f"{month} {day}", f"{nth} of {month}", f"{nth} {month}", f"{month} {nth}"))


def morning(rng: Random) -> Value:
    return _time(rng.randint(6, 10), rng)


def hour(rng: Random) -> Value:
    return _time(rng.randint(7, 21), rng)


def _time(hours: int, rng: Random) -> Value:
    minutes = f"{rng.randrange(5, 60, 5):02d}"
    if hours > 12:
        return Value(f"{hours}:{minutes}", (f"{hours - 12}:{minutes} pm",))
    return Value(f"{hours}:{minutes}", (f"0{hours}:{minutes}",) if hours < 10 else ())


def year(rng: Random) -> Value:
    return Value(str(rng.randint(1712, 1989)))


def four_digits(rng: Random) -> Value:
    return Value(str(rng.randint(2101, 9899)))


def code(rng: Random) -> Value:
    return Value(f"{rng.choice('BDFGHKLMPRTVX')}-{rng.randint(1000, 9999)}")


def crowns(rng: Random) -> Value:
    return _unit(rng.randint(13, 98), "crowns")


def many_crowns(rng: Random) -> Value:
    return _unit(rng.randint(21, 989) * 50, "crowns")


def metres(rng: Random) -> Value:
    return _unit(rng.randint(213, 3987), "metres")


def count(rng: Random) -> Value:
    return Value(str(rng.randint(13, 389)))


def platform(rng: Random) -> Value:
    number = rng.randint(2, 24)
    return Value(f"platform {number}", (str(number),))


def version(rng: Random) -> Value:
    return Value(f"{rng.randint(2, 19)}.{rng.randint(10, 39)}.{rng.randint(0, 9)}")


def _unit(number: int, unit: str) -> Value:
    return Value(f"{number:,} {unit}", (f"{number:,}",))


def _ordinal(day: int) -> str:
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


DRAWS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        *(person, town, word, company, hotel, pet, address, date, morning, hour, year, four_digits, code),
        *(crowns, many_crowns, metres, count, platform, version),
    )
}
"""The drawing functions of values, by the name that facts.toml calls them by."""


# --- what facts are about ----------------------------------------------------------------------


def place(rng: Random) -> Value:
    name = f"{pick(rng, 'place_first')} {pick(rng, 'place_second')}"
    return Value(f"the {name} {pick(rng, 'place_types')}", (name,))


def room(rng: Random) -> Value:
    return Value(f"the {pick(rng, 'room_first')} {pick(rng, 'room_second')}")


def bridge(rng: Random) -> Value:
    name = word(rng).text
    return Value(f"the {name} Bridge", (name,))


def project(rng: Random) -> Value:
    return Value(f"the {word(rng).text} project")


def ware(rng: Random) -> Value:
    sort = rng.choice(WORDS["wares"])
    return Value(f"a {rng.choice(sort['containers'])} of {rng.choice(sort['goods'])}")


def stock(rng: Random) -> Value:
    return Value(f"{pick(rng, 'stock')} in {pick(rng, 'stores')}")


def paper(rng: Random) -> Value:
    return Value(f"{pick(rng, 'papers')} for {company(rng).text}")


def meal(rng: Random) -> Value:
    return Value(f"{pick(rng, 'meals')} on {pick(rng, 'weekdays')}s")


def forecast(rng: Random) -> Value:
    return Value(f"{town(rng).text} on {date(rng).text}")


def service(rng: Random) -> Value:
    name = f"{word(rng).text.lower()}-{pick(rng, 'services')}"
    return Value(f"the service {name}", (name,))


def train(rng: Random) -> Value:
    start, end = (first + pick(rng, "town_ends") for first in rng.sample(WORDS["town_starts"], 2))
    return Value(f"the train from {start} to {end}")


def appointment(rng: Random) -> str:
    """A sort of appointment; `diary_facts` adds whose it is."""
    return pick(rng, "events")
