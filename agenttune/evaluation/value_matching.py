"""Whether two argument values are the same, under a comparison that the suite or the tool declares."""

from __future__ import annotations

import ast
import datetime
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import Any

from agenttune.data.quality.schema_check import is_type, types_of
from agenttune.values.trajectory import Json

_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,4})?\s*", re.ASCII)
_ARITHMETIC = re.compile(r"[\d.eE+\-*/%()\s]+", re.ASCII)
_LONGEST = 200  # characters of an expression; a longer one is compared as text, so no nesting is too deep to walk
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WRITTEN = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})", re.ASCII),
    re.compile(r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*[日号]", re.ASCII),
    re.compile(r"(?P<d>\d{1,2})(st|nd|rd|th)?\s+(of\s+)?(?P<m>[a-z]{3,9})\.?,?\s+(?P<y>\d{4})", re.ASCII | re.IGNORECASE),
    re.compile(r"(?P<m>[a-z]{3,9})\.?\s+(?P<d>\d{1,2})(st|nd|rd|th)?,?\s+(?P<y>\d{4})", re.ASCII | re.IGNORECASE),
)


def matches(seen: Json, wanted: Json, how: str = "exact", schema: Json = None) -> bool:
    """Whether `seen` is `wanted`, under one of `COMPARISONS` and of a type that the parameter's JSON Schema allows.

    ``exact``: the same JSON. Where the schema names no type, 3, 3.0 and "3" are one number, because a tool list without types leaves
    the choice open; where it does, a string is a string and a number is a number. Two texts must be the same text (Unicode NFC).
    Each other comparison takes what ``exact`` takes, and more. ``text``: letter case and white space do not matter. ``number``:
    texts of numbers are numbers, to nine digits. ``date``: the same day, however it is written. ``set``: the same members, in a
    list or with commas, in any order. ``expression``: the same arithmetic value, or the same characters but for white space.
    """
    if exact(seen, wanted, schema):
        return True
    if how == "exact" or of_other_type(seen, wanted, schema):
        return False
    reading = COMPARISONS[how]
    left, right = reading(seen), reading(wanted)
    if isinstance(left, float) and isinstance(right, float):
        return math.isfinite(left) and math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return left is not None and type(left) is type(right) and left == right


def of_other_type(seen: Json, wanted: Json, schema: Json) -> bool:
    """Whether the schema names types of which `wanted` is one and `seen` is none. Where `wanted` breaks it, it says nothing."""
    types = types_of(schema) if isinstance(schema, Mapping) else ()
    return any(is_type(wanted, name) for name in types) and not any(is_type(seen, name) for name in types)


def exact(seen: Json, wanted: Json, schema: Json = None) -> bool:
    """JSON equality; as numbers where one side is a number. Inside lists and objects each part has its own schema."""
    if of_other_type(seen, wanted, schema):
        return False
    known: Mapping[str, Json] = schema if isinstance(schema, Mapping) else {}
    if isinstance(seen, bool) or isinstance(wanted, bool):
        return seen is wanted
    if isinstance(seen, str) and isinstance(wanted, str):
        return unicodedata.normalize("NFC", seen) == unicodedata.normalize("NFC", wanted)
    if isinstance(seen, list) and isinstance(wanted, list):
        return len(seen) == len(wanted) and all(exact(one, other, known.get("items")) for one, other in zip(seen, wanted, strict=True))
    if isinstance(seen, Mapping) and isinstance(wanted, Mapping):
        inner = known.get("properties")
        inner = inner if isinstance(inner, Mapping) else {}
        return seen.keys() == wanted.keys() and all(exact(seen[key], wanted[key], inner.get(key)) for key in wanted)
    left, right = number(seen), number(wanted)
    return seen is wanted if left is None or right is None else left == right


def number(value: Json) -> Decimal | None:
    """A number, or the text of one, without rounding."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    return Decimal(value) if isinstance(value, int) or _NUMBER.fullmatch(value) else None


def _none(value: Json) -> None:
    """``exact`` has said all there is to say."""


def _text(value: Json) -> str | None:
    return squeezed(value) if isinstance(value, str) else None


def squeezed(text: str) -> str:
    """`text` without white space and letter case, in compatibility form: full-width letters and signs are the plain ones."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _number(value: Json) -> float | None:
    found = number(value)
    return None if found is None else float(found)


def _date(value: Json) -> datetime.date | str | None:
    """A day, or for words that are none ("tomorrow") the text."""
    if not isinstance(value, str):
        return None
    for pattern in _WRITTEN:
        if found := pattern.fullmatch(value.strip()):
            try:
                return datetime.date(int(found["y"]), _month(found["m"]), int(found["d"]))
            except ValueError:
                return squeezed(value)
    try:
        return datetime.datetime.fromisoformat(value.strip()).date()
    except ValueError:
        return squeezed(value)


def _month(text: str) -> int:
    """1 to 12 of digits, or of an English month or its first letters; 0 for anything else."""
    if text.isdigit():
        return int(text)
    return next((number for number, name in enumerate(_MONTHS, 1) if name.startswith(text.lower())), 0)


def _set(value: Json) -> frozenset[Hashable] | None:
    if isinstance(value, str):
        value = [part for part in re.split(r"[,;，；、]|\band\b|和", value) if part.strip()]
    return frozenset(_member(part) for part in value if part != "") if isinstance(value, list) else None


def _member(part: Json) -> Hashable:
    found = number(part)
    return squeezed(str(part)) if found is None else found


def _expression(value: Json) -> float | str | None:
    if not isinstance(value, str):
        return _number(value)
    text = value.translate({ord("×"): "*", ord("÷"): "/", ord("−"): "-", ord("^"): "**", ord("（"): "(", ord("）"): ")"})
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).strip()
    if len(text) > _LONGEST or not _ARITHMETIC.fullmatch(text):
        return squeezed(text)
    try:
        return float(_arithmetic(ast.parse(text, mode="eval").body))
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return squeezed(text)


def _arithmetic(node: ast.expr) -> float:
    """The value of a small arithmetic expression, in floats so that no power grows without end; anything else is a `ValueError`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _arithmetic(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        made = _OPERATORS[type(node.op)](_arithmetic(node.left), _arithmetic(node.right))
        if isinstance(made, float):  # a negative number to a broken power is complex
            return made
    raise ValueError("not arithmetic")


COMPARISONS: Mapping[str, Callable[[Json], Any]] = {
    "exact": _none,
    "text": _text,
    "number": _number,
    "date": _date,
    "set": _set,
    "expression": _expression,
}
