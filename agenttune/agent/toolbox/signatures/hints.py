"""Python types as JSON Schema, and a model's JSON values as values of those types."""

from __future__ import annotations

import json
import math
import re
import types
import typing
from enum import Enum
from typing import Annotated, Any, Literal

from agenttune.agent.toolbox.answers import ArgumentsError
from agenttune.agent.toolbox.signatures.structures import Member, bounds, field_text, has_bounds, is_model, members, model_schema, validated
from agenttune.errors import UserError, nearest

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_WORDS = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def unwrap_annotated(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its `Annotated` shell, and what the shell held."""
    marks: tuple[Any, ...] = ()
    while typing.get_origin(hint) is Annotated:
        hint, *extra = typing.get_args(hint)
        marks += tuple(extra)
    return hint, marks


def schema(hint: Any, where: str, inside: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The JSON Schema of a type. Raises `UserError` that names `where` for a type a model cannot send.

    `inside` are the types around it: one that holds itself is any object there.
    """
    hint, marks = unwrap_annotated(hint)
    shape = _shape(hint, where, inside)
    return {**shape, **bounds(hint, marks)} if has_bounds(marks) else shape


def _shape(hint: Any, where: str, inside: tuple[Any, ...]) -> dict[str, Any]:
    if is_model(hint):
        return model_schema(hint)
    held = members(hint)
    if held is not None:
        return {"type": "object"} if hint in inside else _object(held, where, (*inside, hint))
    if hint is Any:
        return {}
    if hint in _NAMES:
        return {"type": _NAMES[hint]}
    if _choices(hint) is not None:
        return _enum(list(_choices(hint) or ()))
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is list:
        return {"type": "array", **({"items": schema(inner[0], where, inside)} if inner else {})}
    if origin is dict and (not inner or inner[0] is str):
        return {"type": "object", **({"additionalProperties": schema(inner[1], where, inside)} if inner else {})}
    if origin in (typing.Union, types.UnionType):
        return _union([schema(one, where, inside) for one in inner])
    shown = getattr(hint, "__name__", None) or str(hint)
    raise UserError(
        f"{where} has the type {shown}, which a model cannot send; use str, int, float, bool, list, dict[str, …], Literal, Enum, None, "
        "a dataclass, a TypedDict or a pydantic model"
    )


def _object(held: dict[str, Member], where: str, inside: tuple[Any, ...]) -> dict[str, Any]:
    properties = {}
    for name, one in held.items():
        marks = unwrap_annotated(one.hint)[1]
        text = next((mark for mark in marks if isinstance(mark, str)), field_text(marks) or one.text)
        properties[name] = {**schema(one.hint, f"{name} in {where}", inside), **({"description": text} if text else {})}
    required = [name for name, one in held.items() if one.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _choices(hint: Any) -> dict[Any, Any] | None:
    """JSON value → Python value of a `Literal` or an `Enum`; None for any other type."""
    if typing.get_origin(hint) is Literal:
        return {value: value for value in typing.get_args(hint)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {member.value: member for member in hint}
    return None


def _enum(values: list[Any]) -> dict[str, Any]:
    kinds = {_NAMES.get(type(value)) for value in values}
    return {**({"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}), "enum": values}


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """``T | None`` keeps the shape of T and lists null beside its type; several scalars share one type list; the rest is ``anyOf``."""
    others = [part for part in parts if part != {"type": "null"}]
    if {} in others:
        return {}
    if all(set(part) == {"type"} and isinstance(part["type"], str) for part in others):
        return {"type": [part["type"] for part in parts]} if len(parts) > 1 else parts[0]
    if len(others) == 1 and isinstance(others[0].get("type"), str):
        one = dict(others[0])
        return {**one, "type": [one["type"], "null"], **({"enum": [*one["enum"], None]} if "enum" in one else {})}
    return {"anyOf": parts}


def coerce(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as the type asks for it; raises `ArgumentsError` that names `where`.

    The declared rule of coercion, each direction without loss: text of digits is an integer or a number, a whole number is an
    integer, an integer is a number or text, ``"true"`` and ``"false"`` are booleans. Nothing else is converted.
    """
    hint, marks = unwrap_annotated(hint)
    made = _coerced(hint, value, where)
    return validated(Annotated[hint, *marks], made, where) if has_bounds(marks) else made


def _coerced(hint: Any, value: Any, where: str) -> Any:
    if is_model(hint):
        return validated(hint, value, where)
    held = members(hint)
    if held is not None:
        return _structure(hint, held, value, where)
    if hint is Any:
        return value
    if hint in _NAMES:
        return _scalar(hint, value, where)
    choices = _choices(hint)
    if choices is not None:
        return _choice(choices, value, where)
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is list:
        if not isinstance(value, list):
            raise _misfit(where, "a list", value)
        return [coerce(inner[0] if inner else Any, one, f"item {place} of {where}") for place, one in enumerate(value, 1)]
    if origin is dict:
        if not isinstance(value, dict):
            raise _misfit(where, "an object", value)
        return {key: coerce(inner[1] if inner else Any, one, f'"{key}" in {where}') for key, one in value.items()}
    return _member(inner, value, where)


def _structure(hint: Any, held: dict[str, Member], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(where, "an object", value)
    for name in value:
        if name not in held:
            raise ArgumentsError(f'{where} has no "{name}"{nearest(name, held)}; it has {", ".join(held)}')
    missing = [name for name, one in held.items() if one.required and name not in value]
    if missing:
        raise ArgumentsError(f"{where} lacks {', '.join(missing)}")
    made = {name: coerce(held[name].hint, one, f'"{name}" in {where}') for name, one in value.items()}
    try:
        return hint(**made)
    except (ValueError, TypeError) as error:  # a dataclass may judge its values itself
        raise ArgumentsError(f"{where}: {error}") from error


def _member(options: tuple[Any, ...], value: Any, where: str) -> Any:
    exact = [one for one in options if unwrap_annotated(one)[0] is type(value)]
    first: ArgumentsError | None = None
    for one in [*exact, *options]:
        try:
            return coerce(one, value, where)
        except ArgumentsError as error:
            first = first or error
    assert first is not None
    raise first


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is type(None) and value is None:
        return None
    made = {float: _as_float, int: _as_int, bool: _as_bool, str: _as_text}.get(hint, _never)(value)
    if made is None:
        raise _misfit(where, _WORDS[hint], value)
    return made


def _never(value: Any) -> None:
    return None


def _as_text(value: Any) -> str | None:
    if type(value) is int and abs(value) < 10**400:
        return str(value)
    return value if isinstance(value, str) else None


def _as_bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _as_int(value: Any) -> int | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _as_float(value: Any) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value.strip())
    if type(value) is int:
        try:
            return float(value) if float(value) == value else None
        except OverflowError:
            return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _choice(choices: dict[Any, Any], value: Any, where: str) -> Any:
    for known, member in choices.items():
        if type(known) is type(value) and known == value:
            return member
    for known, member in choices.items():  # text of a number, or a number of its text
        if isinstance(value, str | int) and not isinstance(value, bool) and type(known) in (str, int) and str(known) == str(value):
            return member
    listed = ", ".join(json.dumps(known, ensure_ascii=False, default=str) for known in choices)
    hint = nearest(value, [known for known in choices if isinstance(known, str)]) if isinstance(value, str) else ""
    raise ArgumentsError(f"{where} must be one of {listed}, not {shown(value)}{hint}")


def _misfit(where: str, wanted: str, value: Any) -> ArgumentsError:
    return ArgumentsError(f"{where} must be {wanted}, not {shown(value)}")


def shown(value: Any) -> str:
    """A value as short JSON for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"
