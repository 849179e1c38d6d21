"""What people type: frames round a phrase, sums from patterns, numbers in words, small letters, a typo, no question mark."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from agenttune.desk.live_world import lines

_SLOT = re.compile(r"\{([a-z]):(\d+)-(\d+)\}")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDED = frozenset("wv")  # slots whose numbers are typed in words


def in_words(number: int) -> str:
    """``six hundred and forty two``; from 0 to 9999."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % size
    return f"{in_words(number // size)} {name}" + (f"{' and' if rest < 100 else ''} {in_words(rest)}" if rest else "")


def filled(rng: random.Random, text: str, expression: str) -> tuple[str, str]:
    """A pattern's text and its expression with numbers drawn for the slots."""
    values: dict[str, str] = {}

    def typed(found: re.Match[str]) -> str:
        number = _number(rng, int(found[2]), int(found[3]))
        values[found[1]] = str(number)
        return in_words(number) if found[1] in _WORDED else str(number)

    shown = _SLOT.sub(typed, text)
    return shown, substituted(expression, values)


def _number(rng: random.Random, low: int, high: int) -> int:
    """Short numbers as often as long ones; every other number in words is a round one."""
    longest = len(str(high))
    low, high = max(low, 10 ** rng.randint(0, longest - 1)) if longest > 2 else low, high
    return rng.randint(min(low, high), high)


def substituted(expression: str, values: dict[str, str]) -> str:
    """The letters of an expression (one or two at a time: ``a.bc``) replaced by their figures."""

    def figure(found: re.Match[str]) -> str:
        return "".join(values[letter] for letter in found[0]) if all(letter in values for letter in found[0]) else found[0]

    return re.sub(r"(?<![A-Za-z])[a-zA-Z]{1,2}(?![A-Za-z])", figure, expression)


def framed(rng: random.Random, phrase: str, code: str) -> str:
    """A noun phrase (``n``) or a sum (``s``) in a frame."""
    return rng.choice(lines("frames", code)).replace("{x}", phrase)


def typed(rng: random.Random, text: str, keep: Sequence[str] = ()) -> str:
    """As people type it. `keep` are names that no typo touches; small letters may take theirs too."""
    text = text.strip()
    if rng.random() < 0.12:
        text = rng.choice(lines("frames", "b")).rstrip() + " " + text
    if rng.random() < 0.06:
        text = _mistyped(rng, text, keep)
    style = rng.random()
    if style < 0.35:
        text = text.lower()
    elif style < 0.75:
        text = text[0].upper() + text[1:]
    if text[-1] not in ".?!=":
        text += rng.choice(("?", "?", "", "", " ?", ".")) if style > 0.2 else ""
    elif text[-1] == "?" and rng.random() < 0.3:
        text = text[:-1].rstrip()
    return text


def _mistyped(rng: random.Random, text: str, keep: Sequence[str]) -> str:
    kept = " ".join(keep).lower().split()
    places = [found for found in re.finditer(r"[A-Za-z]{5,}", text) if found[0].lower() not in kept]
    if not places:
        return text
    found = rng.choice(places)
    at = found.start() + rng.randint(1, len(found[0]) - 3)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
