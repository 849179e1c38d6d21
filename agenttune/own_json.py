"""JSON that agenttune wrote itself, read as carefully as anybody's: a file may be cut, edited, or of another version.

One reader for reports, runs and their cases: a dataclass says what its fields hold, and what does not fit is a sentence with the file, the
key and what was expected.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from agenttune.errors import Refusal, UserError

T = TypeVar("T")
_MOST = 1 << 63  # of whole numbers; nothing that is counted comes near it, and sums of larger ones cannot be printed
_NONE: Mapping[Any, Callable[[Any], Any]] = types.MappingProxyType({})
_SAID: dict[Any, str] = {
    int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "an object", list: "a list", type(None): "nothing",
}  # fmt: skip


def parsed(text: str, where: str) -> Any:
    """The JSON value of a text. Raises `UserError` that begins with `where`, the name of its file or line."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is damaged: it is not JSON ({str(error)[:100] or 'nested too deeply'})") from error


def from_json(value: Any, kind: type[T], where: str, *, whole: bool = False, read: Mapping[Any, Callable[[Any], Any]] = _NONE) -> T:
    """A dataclass out of its JSON object. With `whole` every field must be there, else those without a default.

    Fields hold numbers, texts, booleans, tuples, mappings and dataclasses of these, unions with None, or any JSON; `read` maps other types
    to the function that reads them. Raises `UserError`.
    """
    made: T = _Reader(where, read).object(value, kind, "", whole=whole)
    return made


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """`where` names the file or line in messages."""

    where: str
    read: Mapping[Any, Callable[[Any], Any]]

    def object(self, value: Any, kind: Any, at: str, *, whole: bool = False) -> Any:
        if not isinstance(value, Mapping):
            raise self.wrong(at, "an object", value)
        fields = {one.name: one for one in dataclasses.fields(kind)}
        for name in value:
            if name not in fields:
                raise UserError(f'{self.where} has a key that this version does not know, "{_inner(at, str(name))[:200]}"')
        for name, one in fields.items():
            needed = whole or (one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING)
            if needed and name not in value:
                raise UserError(f'{self.where} lacks "{_inner(at, name)}": it is damaged, or of another version')
        hints = _hints(kind)
        return kind(**{name: self.value(one, hints[name], _inner(at, name)) for name, one in value.items()})

    def value(self, value: Any, hint: Any, at: str) -> Any:
        """The value as what a field's type says."""
        outer, inner = typing.get_origin(hint), typing.get_args(hint)
        if hint is Any:
            return value
        if outer in (types.UnionType, typing.Union):
            rest = [one for one in inner if one is not type(None)]
            return None if value is None and len(rest) < len(inner) else self.value(value, rest[0], at)
        if outer is tuple:
            return self.tuple(value, inner, at)
        if outer in (dict, Mapping) and isinstance(value, Mapping):
            return {str(key): self.value(one, inner[1], _inner(at, str(key))) for key, one in value.items()}
        if outer in (dict, Mapping):
            raise self.wrong(at, "an object", value)
        if hint in self.read:
            return self.other(value, hint, at)
        return self.object(value, hint, at) if dataclasses.is_dataclass(hint) else self.scalar(value, hint, at)

    def tuple(self, value: Any, inner: tuple[Any, ...], at: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self.wrong(at, "a list", value)
        kinds = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise UserError(f'"{at}" in {self.where} must hold {len(kinds)} values, this holds {len(value)}')
        return tuple(self.value(one, kind, f"{at}[{number}]") for number, (one, kind) in enumerate(zip(value, kinds, strict=True)))

    def other(self, value: Any, hint: Any, at: str) -> Any:
        try:
            return self.read[hint](value)
        except (Refusal, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f'"{at}" in {self.where} cannot be read: it is damaged, or of another version') from error

    def scalar(self, value: Any, hint: Any, at: str) -> Any:
        if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        if isinstance(value, int) and abs(value) > _MOST:
            raise UserError(f'"{at[:200]}" in {self.where} is a number beyond all measure: it is damaged')
        if isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
            return value
        raise self.wrong(at, _SAID.get(hint, str(hint)), value)

    def wrong(self, at: str, wanted: str, value: Any) -> UserError:
        what = f'"{at[:200]}" in {self.where}' if at else self.where
        found = _SAID.get(type(value), "something else")
        return UserError(f"{what} must be {wanted}, this is {found}: it is damaged, or of another version")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _inner(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
