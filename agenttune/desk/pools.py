"""Values for the slots of a pattern: what the sentence shows, and what the call must carry."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agenttune.desk.tables import lists, rows
from agenttune.desk.tools_numbers import written_date

# How evaluation compares a value; everything else is compared as text, whatever its letter case and spaces.
COMPARE = {"expression": "expression", "short_text": "exact", "password": "exact"}
COMPARE |= dict.fromkeys(("date", "date_later", "future_date", "birth_date", "date_now"), "date")
_FIRST = {"city": ("cities", 0, 4), "country": ("countries", 0, 3), "dish": ("recipes", 0, 2)}
_COLUMN = {
    "word": "words", "common_word": "synonyms", "simple_word": "translations", "song": "songs", "film": "movies", "colour": "colours",
}  # fmt: skip
_LISTED = {"ticker": "stock"}


@dataclass(frozen=True, slots=True)
class Value:
    """What a sentence shows, what the call carries, and other values that are as right."""

    shown: str
    given: Any
    also: tuple[Any, ...] = ()


@dataclass(slots=True)
class Draw:
    """The values of one request: no value twice from one pool. `fresh` also draws values that training never shows."""

    rng: random.Random
    fresh: bool
    lang: str
    used: dict[str, list[str]] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)

    def pick(self, values: tuple[str, ...], pool: str) -> str:
        """One of `values`. Every fifth is kept from training; half the draws of a fresh request are among those."""
        kept = values[2::5] if len(values) >= 10 else ()
        if self.fresh and kept and self.rng.random() < 0.5:
            open_ = kept
        else:
            open_ = values if self.fresh else tuple(value for value in values if value not in kept)
        left = [value for value in open_ if value not in self.used.get(pool, ())]
        value = self.rng.choice(left)
        self.used.setdefault(pool, []).append(value)
        return value

    def value(self, pool: str) -> Value:
        """A value of a pool by its name."""
        if pool in _MADE:
            made = _MADE[pool](self)
            return made if isinstance(made, Value) else Value(str(made), made)
        text = self.pick(self.values(pool), pool)
        return Value(text, text)

    def values(self, pool: str) -> tuple[str, ...]:
        """All values of a pool that is a list."""
        chinese = self.lang == "zh"
        if pool in _FIRST:
            name, english, other = _FIRST[pool]
            return tuple(row[other if chinese else english] for row in rows(name))
        if pool in _COLUMN:
            return tuple(row[0] for row in rows(_COLUMN[pool]))
        name = _LISTED.get(pool, pool)
        return lists()[f"{name}_zh" if chinese and f"{name}_zh" in lists() else name]


def _number(low: float, high: float, digits: int) -> Callable[[Draw], float | int]:
    def draw(one: Draw) -> float | int:
        value = round(one.rng.uniform(low, high), digits)
        return int(value) if digits == 0 or float(value).is_integer() else value

    return draw


def _some(*draws: Callable[[Draw], Any]) -> Callable[[Draw], Any]:
    return lambda one: one.rng.choice(draws)(one)


def _between(low: int, high: int, step: int = 1) -> Callable[[Draw], int]:
    return lambda one: one.rng.randrange(low, high + 1, step)


def _expression(one: Draw) -> str:
    rng = one.rng
    a, b, c = (rng.choice((rng.randint(2, 99), rng.randint(100, 999), _number(1, 50, 1)(one))) for _ in range(3))
    sign, other = rng.choice("+-*/"), rng.choice("+-*")
    gap = rng.choice((" ", " ", ""))
    forms = (f"{a} {sign} {b}", f"{a} {sign} {b} {other} {c}", f"({a} {other} {b}) {sign} {c}", f"{a} {sign} ({b} + {c})")
    return rng.choice(forms).replace(" ", gap)


def _day(one: Draw, first: dt.date, span: int, key: str = "") -> Value:
    day = first + dt.timedelta(days=one.rng.randint(0, span))
    one.memo["day"] = day
    style = one.memo.setdefault("style", one.rng.choice((0, 3) if one.lang == "zh" else (0, 0, 1, 1, 2)))
    text = written_date(day, style)
    return Value(text, text)


def _later(one: Draw) -> Value:
    return _day(one, one.memo["day"] + dt.timedelta(days=1), 400) if "day" in one.memo else _day(one, dt.date(2025, 6, 1), 400)


def _pair(one: Draw, side: int) -> str:
    if "pair" not in one.memo:
        one.memo["pair"] = one.pick(one.values("unitpair"), "unitpair").split(",")
    return str(one.memo["pair"][side])


def _currency(one: Draw) -> str:
    column = one.memo.setdefault("money", 3 if one.lang == "zh" else one.rng.choice((0, 0, 1)))
    return one.pick(tuple(row[column] for row in rows("currencies")), "currency")


def _time(one: Draw) -> str:
    hour, minute = one.rng.randint(7, 22), one.rng.choice((0, 0, 15, 30, 45, 10, 20))
    if one.lang == "zh" or one.rng.random() < 0.5:
        return f"{hour}:{minute:02d}"
    half = "am" if hour < 12 else "pm"
    return f"{(hour - 1) % 12 + 1}{f':{minute:02d}' if minute else ''} {half}"


def _person(one: Draw) -> str:
    if one.lang == "zh":
        return one.pick(one.values("person"), "person")
    first = one.pick(one.values("first"), "first")
    return first if one.rng.random() < 0.25 else f"{first} {one.pick(one.values('last'), 'last')}"


def _when(one: Draw) -> Value:
    shown = one.rng.choice(one.values("day"))
    bare = shown.removeprefix("on ")
    return Value(shown, bare, () if bare == shown else (shown,))


def _style(one: Draw) -> Value:
    style = one.rng.choice(one.values("style"))
    return Value(style, style, (f"{style} case",))


def _phone(one: Draw) -> str:
    rng = one.rng
    short = f"555-{rng.randint(1000, 9999)}"
    home = f"0{rng.randint(20, 99)} {rng.randint(100000, 9999999)}"
    return rng.choice((short, home, f"+{rng.randint(30, 49)} {rng.randint(100, 999)} {rng.randint(100000, 999999)}"))


def _code(letters: str, low: int, high: int) -> Callable[[Draw], str]:
    return lambda one: f"{one.rng.choice(letters.split())}{one.rng.randint(low, high)}"


def _joined(pool: str, low: int, high: int) -> Callable[[Draw], str]:
    return lambda one: ", ".join(one.pick(one.values(pool), pool) for _ in range(one.rng.randint(low, high)))


def _numbers(one: Draw) -> str:
    high, digits = one.rng.choice(((20, 0), (100, 0), (6, 1)))
    return ", ".join(str(_number(1, high, digits)(one)) for _ in range(one.rng.randint(3, 6)))


def _above(low: str, span: int) -> Callable[[Draw], int]:
    return lambda one: int(one.memo.get(low, 10)) + one.rng.randint(4, span)


def _low(one: Draw) -> int:
    one.memo["low"] = one.rng.choice((0, 1, 1, 5, 10, 20, 50, 100))
    return int(one.memo["low"])


def _topic(one: Draw) -> Value:
    title = one.pick(tuple(row[0] if one.lang == "zh" else row[2] for row in rows("encyclopaedia")), "topic")
    return Value(title, title, (title.removeprefix("the "),) if title.startswith("the ") else ())


def _password(one: Draw) -> str:
    word = one.pick(one.values("passwordword"), "passwordword")
    return f"{word}{one.rng.choice(('', '', '!', '#', '_', '-'))}{one.rng.randint(1, 9999)}"


_MADE: dict[str, Callable[[Draw], Any]] = {
    "expression": _expression,
    "quantity": _some(_between(2, 20), _between(25, 500, 5), _number(1, 90, 1)),
    "degrees": _some(_between(-20, 120), _between(15, 26), _number(34, 42, 1)),
    "unit_from": lambda one: _pair(one, 0),
    "unit_to": lambda one: _pair(one, 1),
    "whole": _some(_between(11, 99), _between(101, 999), _between(1001, 9999)),
    "whole2": _some(_between(12, 96, 4), _between(15, 300, 5), _between(18, 900, 6)),
    "roman_year": _some(_between(4, 99), _between(101, 999), _between(1400, 2030)),
    "base": lambda one: one.rng.choice((2, 3, 4, 5, 7, 8, 12, 16, 20)),
    "kilos": _some(_between(45, 120), _number(45, 110, 1)),
    "centimetres": _between(150, 205),
    "price": _some(_between(5, 400), _number(3, 300, 2), _number(10, 99, 1)),
    "money": _some(_between(5, 95, 5), _between(100, 5000, 50), _number(4, 900, 2)),
    "tip_percent": lambda one: one.rng.choice((5, 7, 10, 12, 15, 20, 22)),
    "tax_rate": lambda one: one.rng.choice((5, 6, 7, 7.5, 8, 8.25, 9, 10, 19, 20, 21)),
    "party": _between(2, 9),
    "loan": _between(2000, 400000, 500),
    "interest": _number(1.5, 9, 1),
    "term": lambda one: one.rng.choice((2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)),
    "dice_count": _between(2, 6),
    "dice_sides": lambda one: one.rng.choice((4, 8, 10, 12, 20)),
    "low": _low,
    "high": _above("low", 400),
    "numberlist": _numbers,
    "before_value": _some(_between(20, 900), _between(1000, 20000, 100)),
    "after_value": _some(_between(20, 900), _between(1000, 20000, 100)),
    "days": _some(_between(3, 30), _between(35, 300)),
    "year": _between(1888, 2096),
    "date": lambda one: _day(one, dt.date(2024, 1, 1), 1000),
    "date_later": _later,
    "future_date": lambda one: _day(one, dt.date(2025, 4, 1), 600),
    "date_now": lambda one: _day(one, dt.date(2025, 4, 1), 900),
    "birth_date": lambda one: _day(one, dt.date(1945, 1, 1), 25000),
    "clock_time": _time,
    "currency": _currency,
    "day": _when,
    "style": _style,
    "language": lambda one: one.rng.choice(("Spanish", "French", "German", "Italian", "Portuguese", "Dutch")),
    "person": _person,
    "phone": _phone,
    "flight": lambda one: f"{one.pick(one.values('airline'), 'airline')}{one.rng.randint(100, 4999)}",
    "order": _code("A- B- ORD- PX X- 10 77 #", 1000, 99999),
    "small": _between(2, 12),
    "password": _password,
    "topic": _topic,
    "wordlist": _joined("itemword", 3, 5),
    "stay": _some(_between(2, 9), lambda one: one.rng.choice((1.5, 2.5, 3.5))),
    "trip": _between(60, 1400, 10),
    "consumption": _number(4, 12, 1),
    "semitones": _between(2, 7),
    "minutes": _between(2, 59),
    "volume": _between(5, 95),
    "radius": _some(_between(2, 60), _number(1, 20, 1)),
    "grams": _between(20, 450, 5),
    "monthday": _between(4, 28),
    "street2": lambda one: one.pick(one.values("street"), "street"),
    "zipcode": lambda one: f"{one.rng.randint(10000, 99999)}",
    "systolic": _between(100, 185),
    "diastolic": _between(60, 110),
    "runkm": _some(_between(3, 21), _number(3, 15, 1)),
    "runmin": _between(15, 130),
    "battery": _between(40, 100, 5),
}
