"""Inputs out of good ones: bytes flipped, keys dropped and doubled, types swapped, numbers huge, nesting deep, cut, invisible characters.

The same generator state gives the same input.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from tests.sources.damage import damaged, places, spoiled

NUMBERS: tuple[Any, ...] = (0, -1, 1, 3, 10**6, 10**9, 2**31, 2**63, 2**64, -(2**63), 10**40, 1e300, -1e300, 1e-320, 0.5, True, "7", None)
INVISIBLE = ("\u200b", "\u202e", "\ufeff", "\U000e0041", "\x1b[2J", "\x1b]0;t\x07", "\u2028", "\x00", "\r", "\x85", "e" + "\u0301" * 50)
DEEP = 3000


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three of: a byte changed, a piece taken away, doubled, said many times or put elsewhere, the end cut off, odd bytes put in."""
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randint(0, len(data)), chance.choice((1, 1, 2, 8, 60, 900))
        piece, kind = data[at : at + length], chance.randrange(8)
        if kind == 0 and piece:
            data = data[:at] + bytes([piece[0] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + piece * 2 + data[at + length :]
        elif kind == 3:
            data = data[:at] + piece * min(chance.choice((10, 300, 20_000)), 200_000 // max(len(piece), 1)) + data[at + length :]
        elif kind == 4:
            other = chance.randint(0, len(data))
            data = data[:other] + piece + data[other:]
        elif kind == 5:
            data = data[:at]
        elif kind == 6:
            odd = bytes(chance.choice((0, 255, chance.randrange(256))) for _ in range(chance.choice((1, 4, 8))))
            data = data[:at] + odd + data[at + len(odd) :]
        elif len(data) > 1:
            data = spoiled(data, chance)
    return data


def mutated_json(value: Any, chance: random.Random) -> bytes:
    """A JSON text that says something else than `value`, or is none any more."""
    kind = chance.randrange(6)
    if kind == 0:
        return mutated(json.dumps(value).encode(), chance)
    if kind == 1:
        return json.dumps(with_odd_number(value, chance)).encode()
    if kind == 2:
        return doubled_key(json.dumps(value), chance).encode("utf-8", "surrogatepass")
    if kind == 3:
        return mutated_text(json.dumps(value, ensure_ascii=False), chance).encode("utf-8", "surrogatepass")
    return damaged(value, chance)


def with_odd_number(value: Any, chance: random.Random) -> Any:
    """The value with another number in the place of one of its numbers, else of one of its values."""
    box = [copy.deepcopy(value)]
    every = list(places(box))
    numbers = [(inner, key) for inner, key in every if isinstance(inner[key], int | float)]
    inner, key = chance.choice(numbers or every)
    inner[key] = chance.choice(NUMBERS)
    return box[0]


def doubled_key(text: str, chance: random.Random) -> str:
    """A JSON text with a member of one of its objects a second time, with another value."""
    starts = [at for at, letter in enumerate(text) if letter == "{"]
    if not starts:
        return text
    at = chance.choice(starts) + 1
    key, _, rest = text[at:].partition(":")
    return text[:at] + f"{key}: {json.dumps(chance.choice(NUMBERS))}, " + text[at:] if rest else text


def mutated_text(text: str, chance: random.Random) -> str:
    """A text with letters of its own and others in other places: nested deep, said again, cut, with what nobody sees."""
    for _ in range(chance.randint(1, 3)):
        at, kind = chance.randint(0, len(text)), chance.randrange(6)
        piece = text[at : at + chance.choice((1, 3, 20, 200))]
        if kind == 0:
            text = text[:at] + chance.choice(INVISIBLE) + text[at:]
        elif kind == 1:
            text = text[:at] + chance.choice(("[", "{", "<", "(", "- ", '{"a":', "&#", "`", '\\"', "<a ", "<!--")) * DEEP + text[at:]
        elif kind == 2:
            text = text[:at]
        elif kind == 3:
            text = text[:at] + piece * chance.choice((2, 100)) + text[at:]
        elif kind == 4:
            text = text[:at] + str(chance.choice(NUMBERS)) + text[at + len(piece) :]
        else:
            text = text[: max(at - len(piece), 0)] + text[at:]
    return text
