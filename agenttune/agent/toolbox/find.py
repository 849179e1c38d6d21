"""Tools by name: shipped ones, a file's, a module's, an installed package's. Nothing registers itself."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

from agenttune.agent.toolbox import lagent
from agenttune.agent.toolbox.answers import LIMIT, ToolError
from agenttune.agent.toolbox.loading import load_file, load_module
from agenttune.agent.toolbox.openapi import PREFIX, openapi_tools
from agenttune.agent.toolbox.permissions import Ask, Permissions, allowing
from agenttune.agent.toolbox.run import MEMORY, OnPrint, Toolbox
from agenttune.agent.toolbox.signatures.callables import described_callable, is_callable_object
from agenttune.agent.toolbox.signatures.functions import Tool, origin_in, tool
from agenttune.errors import UserError, nearest
from agenttune.files import shipped
from agenttune.values.trajectory import JsonObject, Observation, ToolCall

MAKER = "made_for"
GROUP = "agenttune.tools"  # the entry point group of other packages: name → module, or module:function


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of ``agenttune tools list``: name, one line, and what the tool needs (empty: nothing)."""

    name: str
    summary: str
    needs: str = ""


def find(
    names: Sequence[str],
    *,
    inline: bool = False,
    limit: int = LIMIT,
    memory: int | None = MEMORY,
    ask: Ask | None = None,
    mcp: Path | None = None,
    loopback: bool = False,
) -> Toolbox:
    """A toolbox of the tools that `names` name, and of the servers of the file `mcp`; see `load`, and `Toolbox` for the rest.

    Raises `UserError` for a name that is nowhere, and for a server that cannot be used.
    """
    tools = [one for name in dict.fromkeys(names) for one in load(name, loopback=loopback)]
    if mcp is None:
        return Toolbox(tools, inline=inline, limit=limit, memory=memory, ask=ask)
    from agenttune.agent.toolbox.mcp_servers.servers import McpServers
    from agenttune.agent.toolbox.mcp_servers.settings import read_servers

    servers = McpServers(read_servers(mcp))
    try:
        tools += servers.tools({one.spec.name for one in tools})
        return Toolbox(tools, inline=inline, limit=limit, memory=memory, ask=ask, closes=[servers.close])
    except BaseException:
        servers.close()
        raise


def load(name: str, *, loopback: bool = False) -> tuple[Tool, ...]:
    """The tools of one name: a shipped tool, ``local_search:FILE``, ``lagent:ACTION``, ``./file.py`` or ``./file.py:function``,
    ``package.module`` or ``package.module:function``, or an entry point of the group ``agenttune.tools``.

    A file or a module without ``:function`` gives every public function, partial and callable object defined in it, but for those without
    a docstring (see `left_out`). ``openapi:FILE`` gives every operation of an API (`openapi_tools`, with its `loopback`). Raises
    `UserError`, with the nearest name.
    """
    if name.startswith(PREFIX):
        return openapi_tools(name, loopback=loopback)
    place, _, function = name.partition(":") if not Path(name).is_file() else (name, "", "")
    if place.endswith(".py") or "/" in place:
        return _of(load_file(place), function, place)
    if name in shipped_names():
        return _of(load_file(shipped("tools") / f"{name}.py"), name, name)
    if place in shipped_names():
        return (given(load_file(shipped("tools") / f"{place}.py"), place, function),)
    if place == "lagent" and function:
        return tuple(given(lagent, own, word) for own, word in lagent.words(function))
    points = _entry_points()
    if name in points:
        place, _, function = points[name].partition(":")
        return _of(load_module(place), function, place)
    if "." in place or function:
        return _of(load_module(place), function, place)
    known = [*shipped_names(), *points]
    raise UserError(f'there is no tool "{name}"{nearest(name, known)}; known: {", ".join(known)}; a file is written ./name.py')


def given(module: ModuleType, name: str, word: str) -> Tool:
    """The tool `name` that a module's function ``made_for`` makes for a word, such as a search of one file. Raises `UserError`."""
    maker = getattr(module, MAKER, None)
    if maker is None or not word:
        raise UserError(f"{name} takes nothing after the colon" if maker is None else f"{name}: wants a word after the colon")
    try:
        made = maker(word)
    except ToolError as error:
        raise UserError(f"{name}:{word}: {error}") from error
    return replace(tool(made, name), origin=origin_in(module, f"{MAKER}:{word}"))


def left_out(name: str) -> str:
    """What a person should know of the public functions that `load` leaves out for want of a docstring; empty where there are none."""
    place, _, function = name.partition(":") if not Path(name).is_file() else (name, "", "")
    if function or not (place.endswith(".py") or "/" in place):
        return ""
    silent = _held(load_file(place), place)[1]
    return _silent_sentence(silent, place) if silent else ""


def _silent_sentence(silent: Sequence[str], place: str) -> str:
    one = len(silent) == 1
    return (
        f"{', '.join(silent)} of {place} {'has' if one else 'have'} no docstring and {'is' if one else 'are'} no "
        f"tool; a name such as _{silent[0]} says that it is none, and {place}:function names one tool alone"
    )


def shipped_names() -> tuple[str, ...]:
    """The names of the shipped tools: one file each, and in it a function of the same name."""
    return tuple(sorted(path.stem for path in shipped("tools").glob("*.py") if not path.stem.startswith("_")))


def shipped_tools() -> tuple[Tool, ...]:
    """The shipped tools."""
    return tuple(one for name in shipped_names() for one in load(name))


def listing(mcp: Path | None = None) -> list[Listed]:
    """Every shipped and installed tool, or those of the servers of the file `mcp`; one that cannot be loaded says so in its line."""
    if mcp is not None:
        with find([], mcp=mcp) as toolbox:
            return [_row(one) for one in toolbox.tools.values()]
    rows = []
    for name in [*shipped_names(), *_entry_points()]:
        try:
            rows += [_row(one) for one in load(name)]
        except UserError as error:
            rows.append(Listed(name=name, summary=str(error)))
    return rows


def _row(one: Tool) -> Listed:
    return Listed(name=one.spec.name, summary=_summary(one), needs=one.needs)


def _summary(one: Tool) -> str:
    return (one.spec.description.strip() or "-").splitlines()[0].strip()


def call_from_shell(
    name: str,
    json_text: str,
    deadline: float = 30.0,
    *,
    mcp: Path | None = None,
    loopback: bool = False,
    on_print: OnPrint | None = None,
) -> Observation:
    """One call of one tool with arguments as JSON text. `on_print` is told what the tool printed.

    `mcp` is a file of servers whose tools may be named. Raises `UserError` for a name or a text that cannot be used.
    """
    with find([] if mcp else [name], mcp=mcp, loopback=loopback) as toolbox:
        one = _named(name, toolbox.tools, mcp)
        arguments = _arguments(one, json_text)
        toolbox.permissions = Permissions(allowing({one.spec.name}))  # who types a call has permitted it
        call = ToolCall(name=one.spec.name, arguments=arguments)
        return toolbox.run([call], deadline, on_print)[0]


def _named(name: str, tools: Mapping[str, Tool], mcp: Path | None) -> Tool:
    if name in tools:
        return tools[name]
    held = ", ".join(tools)
    if mcp is not None:
        raise UserError(f'the servers of {mcp} have no tool "{name}"{nearest(name, tools)}; they have {held}')
    if len(tools) != 1:
        raise UserError(f"{name} holds {len(tools)} tools; name one as {name}:function ({held})")
    return next(iter(tools.values()))


def _arguments(one: Tool, json_text: str) -> JsonObject:
    example = json.dumps({parameter.name: "…" for parameter in one.parameters}, ensure_ascii=False)
    try:
        arguments = json.loads(json_text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the arguments are not JSON ({error}); write e.g. '{example}'") from error
    if not isinstance(arguments, dict):
        raise UserError(f"the arguments must be a JSON object, e.g. '{example}'")
    return arguments


def _of(module: ModuleType, function: str, place: str) -> tuple[Tool, ...]:
    if function:
        return _named_in(module, function, place)
    found, silent = _held(module, place)
    if not found and silent:
        raise UserError(f"{place} holds no tool: {_silent_sentence(silent, place)}")
    if not found:
        raise UserError(f"{place} defines no public function, so it holds no tool")
    return found


def _named_in(module: ModuleType, name: str, place: str) -> tuple[Tool, ...]:
    """The tool ``name``, the method ``object.name``, or every documented method of an object of that name."""
    try:
        value = operator.attrgetter(name)(module)
    except AttributeError:
        value = None
    if isinstance(value, FunctionType | MethodType) or is_callable_object(value):
        return (_made(module, name),)
    methods = [one for one in dir(value) if not one.startswith("_") and isinstance(getattr(value, one, None), MethodType)]
    found = [f"{name}.{one}" for one in methods if getattr(value, one).__doc__] if not isinstance(value, type | ModuleType) else []
    if not found:
        public = [one for one, held in vars(module).items() if not one.startswith("_") and _is_own(held, module)]
        raise UserError(f'{place} has no function "{name}"{nearest(name, public)}')
    return tuple(_made(module, one) for one in found)


def _held(module: ModuleType, place: str) -> tuple[tuple[Tool, ...], list[str]]:
    """The tools that a module holds, and the names of its public functions that have no docstring."""
    found, silent = [], []
    for name, value in vars(module).items():
        if not name.startswith("_") and _is_own(value, module):
            if not described_callable(value).text.strip():
                silent.append(name)
                continue
            try:
                found.append(_made(module, name))
            except UserError as error:
                raise UserError(f"{error}; if it is a helper, call it _{name}, or name one tool as {place}:function") from error
    return tuple(found), silent


def _is_own(value: object, module: ModuleType) -> bool:
    """Whether a module made what it holds, and did not only import it. Nothing says where a partial was made."""
    if isinstance(value, functools.partial):
        return is_callable_object(value)
    of_class = not hasattr(value, "__wrapped__") and is_callable_object(value)
    return (isinstance(value, FunctionType) or is_callable_object(value)) and module.__name__ == (
        type(value).__module__ if of_class else getattr(value, "__module__", "")
    )


def _made(module: ModuleType, name: str) -> Tool:
    value = operator.attrgetter(name)(module)
    if isinstance(value, FunctionType):
        return tool(value)
    return replace(tool(value, name.rpartition(".")[2]), origin=origin_in(module, name))


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {one.name: one.value for one in sorted(entry_points(group=GROUP), key=lambda one: one.name)}
