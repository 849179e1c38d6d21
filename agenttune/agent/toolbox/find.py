"""Tools by name: shipped ones, a file's, a module's, an installed package's. Nothing registers itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType

from agenttune.agent.toolbox.answers import LIMIT
from agenttune.agent.toolbox.functions import Tool, tool
from agenttune.agent.toolbox.loading import load_file, load_module
from agenttune.agent.toolbox.permissions import Ask, allowing
from agenttune.agent.toolbox.run import MEMORY, Toolbox
from agenttune.errors import UserError, nearest
from agenttune.files import shipped
from agenttune.values.trajectory import Observation, ToolCall

GROUP = "agenttune.tools"  # the entry point group of other packages: name → module, or module:function


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of ``agenttune tools list``: name, one line, and what the tool needs (empty: nothing)."""

    name: str
    summary: str
    needs: str = ""


def find(names: Sequence[str], *, inline: bool = False, limit: int = LIMIT, memory: int | None = MEMORY, ask: Ask | None = None) -> Toolbox:
    """A toolbox of the tools that `names` name; see `load`, and `Toolbox` for the rest. Raises `UserError` for a name that is nowhere."""
    return Toolbox([one for name in dict.fromkeys(names) for one in load(name)], inline=inline, limit=limit, memory=memory, ask=ask)


def load(name: str) -> tuple[Tool, ...]:
    """The tools of one name: a shipped tool, ``./file.py`` or ``./file.py:function``, ``package.module`` or
    ``package.module:function``, or an entry point of the group ``agenttune.tools``.

    A file or a module without ``:function`` gives every public function defined in it. Raises `UserError`, with the nearest name.
    """
    place, _, function = name.partition(":") if not Path(name).is_file() else (name, "", "")
    if place.endswith(".py") or "/" in place:
        return _of(load_file(place), function, place)
    if name in shipped_names():
        return _of(load_file(shipped("tools") / f"{name}.py"), name, name)
    points = _entry_points()
    if name in points:
        place, _, function = points[name].partition(":")
        return _of(load_module(place), function, place)
    if "." in place or function:
        return _of(load_module(place), function, place)
    known = [*shipped_names(), *points]
    raise UserError(f'there is no tool "{name}"{nearest(name, known)}; known: {", ".join(known)}; a file is written ./name.py')


def shipped_names() -> tuple[str, ...]:
    """The names of the shipped tools: one file each, and in it a function of the same name."""
    return tuple(sorted(path.stem for path in shipped("tools").glob("*.py") if not path.stem.startswith("_")))


def shipped_tools() -> tuple[Tool, ...]:
    """The shipped tools."""
    return tuple(one for name in shipped_names() for one in load(name))


def listing() -> list[Listed]:
    """Every shipped and installed tool; one that cannot be loaded says so in its line."""
    rows = []
    for name in [*shipped_names(), *_entry_points()]:
        try:
            rows += [Listed(name=one.spec.name, summary=_summary(one), needs=one.needs) for one in load(name)]
        except UserError as error:
            rows.append(Listed(name=name, summary=str(error)))
    return rows


def _summary(one: Tool) -> str:
    return (one.function.__doc__ or "").strip().splitlines()[0].strip()


def call_from_shell(name: str, json_text: str, deadline: float = 30.0) -> Observation:
    """One call of one tool with arguments as JSON text. Raises `UserError` for a name or a text that cannot be used."""
    tools = load(name)
    if len(tools) != 1:
        held = ", ".join(one.spec.name for one in tools)
        raise UserError(f"{name} holds {len(tools)} tools; name one as {name}:function ({held})")
    example = json.dumps({one.name: "…" for one in tools[0].parameters}, ensure_ascii=False)
    try:
        arguments = json.loads(json_text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the arguments are not JSON ({error}); write e.g. '{example}'") from error
    if not isinstance(arguments, dict):
        raise UserError(f"the arguments must be a JSON object, e.g. '{example}'")
    with Toolbox(tools, ask=allowing({tools[0].spec.name})) as toolbox:  # who types a call has permitted it
        return toolbox.run([ToolCall(name=tools[0].spec.name, arguments=arguments)], deadline)[0]


def _of(module: ModuleType, function: str, place: str) -> tuple[Tool, ...]:
    held = {name: value for name, value in vars(module).items() if isinstance(value, FunctionType)}
    public = [name for name, value in held.items() if not name.startswith("_") and value.__module__ == module.__name__]
    if function:
        if function not in held:
            raise UserError(f'{place} has no function "{function}"{nearest(function, public)}')
        return (tool(held[function]),)
    if not public:
        raise UserError(f"{place} defines no public function, so it holds no tool")
    return tuple(tool(held[name]) for name in public)


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {one.name: one.value for one in sorted(entry_points(group=GROUP), key=lambda one: one.name)}
