"""A tool is a typed function with a docstring; its schema comes from the signature."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from agenttune.agent.toolbox.answers import LIMIT, ArgumentsError, ToolError, cut, described, text_of
from agenttune.agent.toolbox.permissions import Effect, effect_named
from agenttune.agent.toolbox.signatures.callables import AnyCallable, Described, described_callable
from agenttune.agent.toolbox.signatures.docstrings import DocText, read_docstring
from agenttune.agent.toolbox.signatures.hints import coerce, schema, unwrap_annotated
from agenttune.agent.toolbox.signatures.structures import field_text
from agenttune.errors import UserError, nearest
from agenttune.values.trajectory import JsonObject, ToolSpec


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
        open_ended = self.spec.parameters.get("additionalProperties") is True
        for name in arguments:
            if name not in known and not open_ended:
                listed = f"its argument{'s are' if len(known) > 1 else ' is'} {', '.join(known)}" if known else "it takes no arguments"
                raise ArgumentsError(f'{self.spec.name} has no argument "{name}"{nearest(name, known)}; {listed}')
        missing = [one.name for one in self.parameters if one.required and one.name not in arguments]
        if missing:
            raise ArgumentsError(f"{self.spec.name} lacks the argument{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
        for name, value in arguments.items():
            if name in known:
                coerce(known[name].hint, value, f'the argument "{name}"')
        return {known[name].keyword if name in known else name: value for name, value in arguments.items()}

    def perform(self, keywords: Mapping[str, Any]) -> Any:
        """The function's own result for JSON values under its own keywords."""
        hints = {one.keyword: one.hint for one in self.parameters}
        made = self.function(**{name: coerce(hints.get(name, Any), value, f'the argument "{name}"') for name, value in keywords.items()})
        return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made

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
    """The tool of a function, a coroutine function, a method, one behind a decorator, a `functools.partial`, or a callable object.

    `name` is what the model calls it; without one it is the function's own. What a partial gives already the model is not asked for.

    Parameters need types that a model can send (str, int, float, bool, list, dict, Literal, Enum, None, dataclasses, TypedDicts, pydantic
    models, and unions of them); a default makes one optional. The docstring's text is the description; a parameter's is text in its
    `Annotated`, that of its `Field`, else its line under ``Args:``. What a model may misread is said in `Tool.warnings`. Raises `UserError`
    for what cannot be a tool at all.
    """
    known = described_callable(function)
    name = name or known.name
    where = f"{name}()"
    hints = _hints(known.function, where)
    signature = _named_parameters(known.parameters, where)
    text = read_docstring(known.text, known.documented)
    required = {key for key, one in signature.items() if one.default is one.empty}
    parameters = tuple(Parameter(name=key, keyword=key, hint=hints.get(key, Any), required=key in required) for key in signature)
    properties = {one.name: _property(one, text.parameters.get(one.name, ""), signature[one.name].default, where) for one in parameters}
    schema = _object(properties, parameters)
    bag = next((one for one in known.parameters.values() if one.kind is one.VAR_KEYWORD), None)
    marks = unwrap_annotated(hints.get("return"))[1]
    return Tool(
        spec=ToolSpec(
            name=name,
            description=text.description or name.replace("_", " "),
            parameters=schema if bag is None else {**schema, "additionalProperties": True},
        ),
        function=function,
        parameters=parameters,
        compare={one.name: mark.how for one in parameters for mark in unwrap_annotated(one.hint)[1] if isinstance(mark, Compare)},
        trusted=all(mark.trusted for mark in marks if isinstance(mark, Provenance)),
        effect=_effect(known, marks, where),
        polls=POLLING in marks,
        needs=", ".join(mark.what for mark in marks if isinstance(mark, Requires)),
        origin=_origin(function),
        warnings=tuple(_doubts(known, hints, text, properties, _effect(known, marks, where))),
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


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def _elsewhere() -> None:
    """What a tool that somebody else performs holds in the place of a function."""
    raise AssertionError("a remote tool is called through its toolbox")


def _named_parameters(signature: Mapping[str, inspect.Parameter], where: str) -> dict[str, inspect.Parameter]:
    """The parameters that a model gives by name. Raises `UserError` for one that cannot be given so."""
    for name, one in signature.items():
        if one.kind is one.POSITIONAL_ONLY:
            raise UserError(f"{where} cannot be a tool: {name} cannot be given by its name; take the / out of its signature")
        if type(one.default).__module__.partition(".")[0] == "pydantic":
            raise UserError(f"{where} cannot be a tool: a Field is no default; write {name}: Annotated[…, Field(…)] = value")
    return {name: one for name, one in signature.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def _doubts(known: Described, hints: Mapping[str, Any], text: DocText, properties: Mapping[str, Any], does: Effect | None) -> Iterator[str]:
    """Sentences about what a model may misread, each with its fix."""
    if not text.description:
        yield "it has no docstring, so a model sees only its name; say in one sentence what it does"
    for name in text.strangers:
        yield f'its docstring describes "{name}", which is not a parameter{nearest(name, properties)}; mend the name or take it out'
    for name, one in known.parameters.items():
        if one.kind is one.VAR_POSITIONAL:
            yield f"*{name} is left out: a model gives arguments by name; write {name}: list[str]"
        elif one.kind is one.VAR_KEYWORD:
            yield f"**{name} takes any name, and a model is told of none; name the parameters"
        elif name not in hints:
            yield f"{name} has no type, so a model may send anything; write e.g. {name}: str"
        if name in properties and not properties[name].get("description"):
            yield f"{name} has no description; add a line for it under Args: in the docstring"
    if does is None:
        yield 'it does not say what it does, so every call asks first; put @effect("read") above it if it only reads'


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
    marks = unwrap_annotated(parameter.hint)[1]
    description = next((mark for mark in marks if isinstance(mark, str)), field_text(marks) or text)
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
