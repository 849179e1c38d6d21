"""Values of several fields as types: dataclasses, `TypedDict` and pydantic models, and the bounds that `Field` sets."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from agenttune.agent.toolbox.answers import ArgumentsError
from agenttune.agent.toolbox.signatures.docstrings import read_docstring
from agenttune.agent.toolbox.signatures.schemas import inlined

_BOUNDS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("minItems", "maxItems", "format", "examples"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One field: its type, whether it must be given, and what the class says of it."""

    hint: Any
    required: bool
    text: str


def members(hint: Any) -> dict[str, Member] | None:
    """The fields of a dataclass or a `TypedDict`; None for any other type."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        missing = dataclasses.MISSING
        own = {one.name: one.default is missing and one.default_factory is missing for one in dataclasses.fields(hint) if one.init}
    elif typing.is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__required_keys__")):
        own = {name: name in hint.__required_keys__ for name in hint.__annotations__}
    else:
        return None
    hints = typing.get_type_hints(hint, include_extras=True)
    documented = hint.__doc__ if hint.__doc__ and not hint.__doc__.startswith(f"{hint.__name__}(") else ""
    texts = read_docstring(documented or "", tuple(own)).parameters
    return {name: _member(hints[name], required, texts.get(name, "")) for name, required in own.items()}


def _member(hint: Any, required: bool, text: str) -> Member:
    """`Required` and `NotRequired` say it themselves; where annotations are text, the class could not know."""
    if typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        return Member(hint=typing.get_args(hint)[0], required=typing.get_origin(hint) is typing.Required, text=text)
    return Member(hint=hint, required=required, text=text)


def is_model(hint: Any) -> bool:
    """Whether a type is a pydantic model. Whoever has one has imported pydantic; it is not imported here."""
    return isinstance(hint, type) and hasattr(hint, "model_json_schema") and hasattr(hint, "model_validate")


def model_schema(hint: Any) -> dict[str, Any]:
    """The schema of a pydantic model, without references and titles."""
    return inlined(hint.model_json_schema())


def has_bounds(marks: tuple[Any, ...]) -> bool:
    """Whether an `Annotated` holds a pydantic `Field` or one of annotated_types' bounds."""
    return any(type(mark).__module__.partition(".")[0] in ("pydantic", "annotated_types") for mark in marks)


def bounds(hint: Any, marks: tuple[Any, ...]) -> dict[str, Any]:
    """The bounds that marks set, as keys of JSON Schema."""
    from pydantic import TypeAdapter

    found = TypeAdapter(Annotated[hint, *marks]).json_schema()
    return {key: value for key, value in found.items() if key in _BOUNDS}


def field_text(marks: tuple[Any, ...]) -> str:
    """The description that a `Field` gives; empty where there is none."""
    texts = [getattr(mark, "description", None) for mark in marks if not isinstance(mark, str)]
    return next((text for text in texts if isinstance(text, str)), "")


def validated(kind: Any, value: Any, where: str) -> Any:
    """The value as pydantic takes it for a model, or for a type with marks. Raises `ArgumentsError` with its first complaint."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        given = json.dumps(first.get("input"), ensure_ascii=False, default=str)[:80]
        raise ArgumentsError(f"{where}{f' at {place}' if place else ''}: {first['msg']}, not {given}") from error
