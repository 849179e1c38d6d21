"""Damaged lines out of good records: cut, bent, swollen, with bytes that belong nowhere. The same seed gives the same lines."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

Json = Any
BIG = 10_000_000  # characters of a value
DEEP = 10_000  # levels of nesting
ODD: tuple[Json, ...] = (
    None, True, 0, -1, 1.5, 10**30, 1e308, "", " ", "\n", "x" * 300, "\x00", "\u2028", "\ufeff", "null", "{", "[" * 3000, "{'a': 1}",
    "```json", "```", "<tool_call>", "</tool_call>", "<tool_response>", "<think>", "<|startofthink|>", "<|endofthink|>", "<|startofexec|>",
    "<|endofexec|>", "API-Request: [", "Action:", "\nAction Input:", "\nObservation:", "\nFinal Answer:", "User: ", "assistant", "tool",
    "system", "Finish", "</s>", "<|im_end|>", "1. {", "NaN", [], {}, [[]], [None], {"a": None}, {"type": "text"}, ["x"],
    {"name": "f", "arguments": []}, {"role": "user"}, {"type": {}, "value": {}}, {"from": "assistant", "value": "x"},
)  # fmt: skip
TEXTS = tuple(one for one in ODD if isinstance(one, str))
BYTES = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\udc00x", b"\\u0000", b"{", b"}", b"[", b"]", b'"', b"'", b"\\", b",",
    b":", b"NaN",
)  # fmt: skip


def places(value: Json) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from places(inner)


def damaged(record: Json, chance: random.Random) -> bytes:
    """One line, with one to three things wrong. It holds no line break and is not blank."""
    box = [copy.deepcopy(record)]
    for _ in range(chance.randint(1, 3)):
        bend(box, chance)
    if chance.random() < 0.002:
        swell(box, chance)
    line = json.dumps(box[0], ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.01:
        line = line[:-1] + b', "deep": ' + b"[" * DEEP + b"]" * chance.choice((DEEP, DEEP - 1)) + line[-1:]
    if chance.random() < 0.3:
        line = spoiled(line, chance)
    return line if line.strip(b"\xef\xbb\xbf \t\r\n") else b"0"


def bend(box: list[Json], chance: random.Random) -> None:
    """Changes one place: a value of another type, text put in or cut, a key removed, an entry doubled, a list in another order."""
    every = list(places(box))
    container, key = chance.choice(every if chance.random() < 0.05 else every[1:] or every)
    inner, kind = container[key], chance.randrange(7)
    if kind == 0 and isinstance(inner, str):
        container[key] = inner[: chance.randint(0, len(inner))]
    elif kind == 1 and isinstance(inner, str):
        at = chance.randint(0, len(inner))
        container[key] = inner[:at] + chance.choice(TEXTS) + inner[at + chance.choice((0, 0, 1, 5)) :]
    elif kind == 2 and container is not box:
        del container[key]
    elif kind == 3 and isinstance(container, list):
        container.insert(chance.randint(0, len(container)), copy.deepcopy(inner))
    elif kind == 4 and isinstance(container, list):
        chance.shuffle(container)
    elif kind == 5 and isinstance(container, dict) and isinstance(inner, str):
        container[chance.choice(TEXTS)] = container.pop(key)
    else:
        container[key] = copy.deepcopy(chance.choice(ODD))


def swell(box: list[Json], chance: random.Random) -> None:
    """Puts a text of ten million characters in the place of a value."""
    container, key = chance.choice(list(places(box)))
    piece = chance.choice((*TEXTS, "x", "{'a': ", '{"a": ', "字", "\\", "`", '"', "Action: f\nAction Input: {}\n"))
    container[key] = (piece or "x") * (BIG // len(piece or "x"))


def spoiled(line: bytes, chance: random.Random) -> bytes:
    """Cuts the line, or changes bytes of it, whatever they belong to."""
    if chance.random() < 0.3:
        return line[: chance.randint(1, len(line))]
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(line))
        line = line[:at] + chance.choice(BYTES) + line[at + chance.choice((0, 1, 1, 7)) :]
    return line
