"""A tool is a typed function with a docstring; its schema comes from the signature."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from agenttune.agent.toolbox.answers import LIMIT, ArgumentsError, ToolError, cut, described, text_of
from agenttune.agent.toolbox.callables import AnyCallable, Described, described_callable
from agenttune.agent.toolbox.docstrings import read_docstring
from agenttune.agent.toolbox.hints import coerce, schema, unwrap_annotated
from agenttune.agent.toolbox.permissions import Effect, effect_named
from agenttune.errors import UserError, nearest
from agenttune.values.trajectory import JsonObject, ToolSpec


class UndocumentedError(UserError):
    """A function without a docstring: a helper, most likely, that stands beside the tools of a file."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Stands in a parameter's `Annotated`: how evaluation compares its values, e.g. ``Annotated[str, Compare("expression")]``."""

    how: str


@dataclass(frozen=True, slots=True)
class Requires:
    """Stands in the return type's `Annotated`: what the tool needs, e.g. ``Requires("the network")``."""

    what: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Stands in the return type's `Annotated`: whether strangers can have written what the tool answers."""

    trusted: bool


@dataclass(frozen=True, slots=True)
class Polling:
    """Stands in the return type's `Annotated`: the tool only reads, and the same call may well answer otherwise soon."""


UNTRUSTED = Provenance(trusted=False)
READ_ONLY = Effect.READ  # calls that only read may run at the same time, and a repeated one need not run
POLLING = Polling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a worker process finds a function again: its module's name, its file, its name there."""

    module: str
    file: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: its name for the model, its keyword in the function, its type, whether it must be given."""

    name: str
    keyword: str
    hint: Any
    required: bool


# A call that somebody else performs: arguments and a deadline in seconds, which it keeps itself, to a text and whether that is an error.
Remote = Callable[[JsonObject, float], tuple[str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function a model may call.

    `compare` maps a parameter to how evaluation compares it; `effect` is None where the function does not say what it does; `origin` is
    None for a local function. With `remote` no worker is needed: that is called in the function's place. `warnings` say what a model may
    misread, each with its fix.
    """

    spec: ToolSpec
    function: AnyCallable
    parameters: tuple[Parameter, ...]
    compare: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = True
    needs: str = ""
    effect: Effect | None = None
    polls: bool = False
    origin: Origin | None = None
    remote: Remote | None = None
    warnings: tuple[str, ...] = ()

    def call(self, arguments: JsonObject) -> str:
        """Validates the arguments against the signature, runs the function here and now, and gives its result as text.

        Coercion follows the declared rule of `hints.coerce`. Raises `ArgumentsError` for arguments that do not fit, and whatever the
        function raises.
        """
        return text_of(self.perform(self.keywords(arguments)))

    def keywords(self, arguments: JsonObject) -> dict[str, Any]:
        """The model's arguments, unchanged, under the function's own keywords. Raises `ArgumentsError` unless all fit the signature."""
        known = {one.name: one for one in self.parameters}
        if self.remote is not None and self.spec.parameters.get("additionalProperties") is True:
            return dict(arguments)
        for name in arguments:
            if name not in known:
                listed = f"its argument{'s are' if len(known) > 1 else ' is'} {', '.join(known)}" if known else "it takes no arguments"
                raise ArgumentsError(f'{self.spec.name} has no argument "{name}"{nearest(name, known)}; {listed}')
        missing = [one.name for one in self.parameters if one.required and one.name not in arguments]
        if missing:
            raise ArgumentsError(f"{self.spec.name} lacks the argument{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
        for name, value in arguments.items():
            coerce(known[name].hint, value, f'the argument "{name}"')
        return {known[name].keyword: value for name, value in arguments.items()}

    def perform(self, keywords: Mapping[str, Any]) -> Any:
        """The function's own result for JSON values under its own keywords."""
        hints = {one.keyword: one.hint for one in self.parameters}
        return self.function(**{name: coerce(hints[name], value, f'the argument "{name}"') for name, value in keywords.items()})

    def attempt(self, keywords: Mapping[str, Any], limit: int = LIMIT) -> tuple[str, bool, bool]:
        """(text, whether it is an error, whether nothing was returned) of one call, in at most `limit` characters.

        Whatever the function raises becomes text.
        """
        try:
            value = self.perform(keywords)
            return cut(text_of(value), limit), False, value is None
        except ToolError as error:
            return cut(f"Error: {error}", limit), True, False
        except (Exception, SystemExit) as error:  # any failure of a tool is data for the model
            return cut(f"Error: {described(error)}", limit), True, False

    def renamed(self, name: str, description: str, parameters: Mapping[str, tuple[str, str]]) -> Tool:
        """The same work under another name and description; `parameters` maps a present name to its new name and description."""
        properties = self.spec.parameters["properties"]
        new = {old: parameters.get(old, (old, properties[old].get("description", ""))) for old in properties}
        described = {new[old][0]: {**properties[old], **({"description": new[old][1]} if new[old][1] else {})} for old in properties}
        assert len(described) == len(properties), "two parameters of one name"
        made = tuple(replace(one, name=new[one.name][0]) for one in self.parameters)
        spec = ToolSpec(name=name, description=description, parameters=_object(described, made))
        return replace(self, spec=spec, parameters=made, compare={new[old][0]: how for old, how in self.compare.items()})


def tool(function: Any, name: str = "") -> Tool:
    """The tool of a function, of one behind `functools.lru_cache`, of a `functools.partial`, or of an object that can be called.

    `name` is what the model calls it; without one it is the function's own. What a partial gives already the model is not asked for.

    Parameters need types that a model can send (str, int, float, bool, list, dict, Literal, Enum, None, and unions of them); a
    default makes one optional. The docstring's text is the description; a parameter's is text in its `Annotated`, else its line
    under ``Args:``. Raises `UserError` that names what a function lacks.
    """
    known = described_callable(function)
    name, signature = name or known.name, known.parameters
    where = f"{name}()"
    if not known.text.strip():
        raise UndocumentedError(f"{where} cannot be a tool: it has no docstring to tell the model what it does")
    hints = _hints(known.function, where)
    _refuse_parameters(signature, hints, where)
    description, texts = read_docstring(known.text, known.documented, where)
    required = {key for key, one in signature.items() if one.default is one.empty}
    parameters = tuple(Parameter(name=key, keyword=key, hint=hints[key], required=key in required) for key in signature)
    properties = {one.name: _property(one, texts.get(one.name, ""), signature[one.name].default, where) for one in parameters}
    marks = unwrap_annotated(hints.get("return"))[1]
    return Tool(
        spec=ToolSpec(name=name, description=description, parameters=_object(properties, parameters)),
        function=function,
        parameters=parameters,
        compare={one.name: mark.how for one in parameters for mark in unwrap_annotated(one.hint)[1] if isinstance(mark, Compare)},
        trusted=all(mark.trusted for mark in marks if isinstance(mark, Provenance)),
        effect=_effect(known, marks, where),
        polls=POLLING in marks,
        needs=", ".join(mark.what for mark in marks if isinstance(mark, Requires)),
        origin=_origin(function),
    )


def tool_of_schema(
    name: str, description: str, schema: dict[str, Any], remote: Remote, *, effect: Effect, trusted: bool = False, needs: str = ""
) -> Tool:
    """The tool of a JSON Schema whose calls `remote` performs. The values of its arguments are left to it to judge."""
    required = schema.get("required") if isinstance(schema.get("required"), list) else []
    assert isinstance(required, list)
    parameters = tuple(Parameter(name=key, keyword=key, hint=Any, required=key in required) for key in schema["properties"])
    spec = ToolSpec(name=name, description=description, parameters=schema)
    return Tool(spec=spec, function=_elsewhere, parameters=parameters, trusted=trusted, needs=needs, effect=effect, remote=remote)


def _elsewhere() -> None:
    """What a tool that somebody else performs holds in the place of a function."""
    raise AssertionError("a remote tool is called through its toolbox")


def _refuse_parameters(signature: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], where: str) -> None:
    for name, one in signature.items():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise UserError(f"{where} cannot be a tool: {one} is not a parameter that can be named")
        if name not in hints:
            raise UserError(f"{where} cannot be a tool: its parameter {name} has no type; write e.g. {name}: str")


def _effect(known: Described, marks: tuple[Any, ...], where: str) -> Effect | None:
    """What the function says of itself: the attribute that `effect` sets, else a mark in its return type."""
    said = getattr(known.function, "effect", None)
    if isinstance(said, str):
        return effect_named(said, where)
    return Effect.READ if POLLING in marks else next((mark for mark in marks if isinstance(mark, Effect)), None)


def _hints(function: types.FunctionType, where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise UserError(f"{where} cannot be a tool: its types cannot be read: {error}") from error


def _property(parameter: Parameter, text: str, default: Any, where: str) -> dict[str, Any]:
    shape = schema(parameter.hint, f"the parameter {parameter.name} of {where}")
    written = [mark for mark in unwrap_annotated(parameter.hint)[1] if isinstance(mark, str)]
    description = written[0] if written else text
    default = default.value if isinstance(default, Enum) else default
    known = {"default": default} if isinstance(default, str | int | float | bool) else {}
    return {**shape, **({"description": description} if description else {}), **known}


def _object(properties: Mapping[str, Any], parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    required = [one.name for one in parameters if one.required]
    return {"type": "object", "properties": dict(properties), **({"required": required} if required else {})}


def _origin(function: Any) -> Origin | None:
    """None for a function that its module does not hold under its own name: a closure, a method, a wrapped one."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    if module is None or not name or getattr(module, name, None) is not function:
        return None
    return origin_in(module, name)


def origin_in(module: types.ModuleType, name: str) -> Origin:
    """Where a worker finds what a module holds under `name`."""
    return Origin(module=module.__name__, file=getattr(module, "__file__", None) or "", name=name)
