"""The actions of lagent 0.2.4 as tools: ``lagent:ArxivSearch``, or ``lagent:ArxivSearch.get_arxiv_article_information`` for one of several.

https://github.com/InternLM/lagent, `lagent/actions`. An action runs in the worker, like any tool; lagent is imported when one is named.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.permissions import Effect
from agenttune.agent.toolbox.signatures.functions import READ_ONLY, UNTRUSTED, Requires
from agenttune.errors import UserError, nearest

EXTRA = "agenttune[lagent]"
_SEARCHES = ("ArxivSearch", "BINGMap", "BingBrowser", "GoogleScholar", "GoogleSearch")
_INNER = ("ActionExecutor", "BaseAction", "FinishAction", "InvalidAction", "NoAction", "IPythonInteractiveManager")
_TYPES = {"STRING": str, "NUMBER": int, "FLOAT": float, "BOOLEAN": bool, "Array": list}


def words(name: str) -> tuple[tuple[str, str], ...]:
    """(tool name, word of `made_for`) of each tool that an action holds. Raises `UserError` where lagent or the action is not there."""
    action, _, method = name.partition(".")
    try:
        known = _known()
    except ToolError as error:
        raise UserError(str(error)) from error
    if action not in known:
        raise UserError(f'lagent has no action "{action}"{nearest(action, known)}; it has {", ".join(known)}')
    methods = _methods(known[action])
    if not method:
        return tuple((action if len(methods) == 1 else f"{action}_{one}", f"{action}.{one}") for one in methods)
    if method not in methods:
        raise UserError(f'the action {action} of lagent has no "{method}"{nearest(method, methods)}; it has {", ".join(methods)}')
    return ((f"{action}_{method}", f"{action}.{method}"),)


def made_for(word: str) -> Callable[..., str]:
    """A function that runs one method of an action, with the signature and the text that lagent describes it by.

    Raises `ToolError` where lagent is not installed.
    """
    name, _, method = word.partition(".")
    action = _known()[name]
    described = _description(action, method)

    def call(**given: Any) -> str:
        return _ran(_made(action), method, {key: value for key, value in given.items() if value is not None})

    parameters = [_parameter(one, described["required"]) for one in described["parameters"]]
    told = "\n".join(f"    {one['name']}: {' '.join(one['description'].split())}" for one in described["parameters"])
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{' '.join(described['description'].split()) or name}\n\nArgs:\n{told}\n"
    call.__annotations__ = {**{one.name: one.annotation for one in parameters}, "return": _answers(name)}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _answers(name: str) -> Any:
    """The return type with its marks: searches read, interpreters can do anything, and what else there is says nothing of itself."""
    does = (READ_ONLY,) if name in _SEARCHES else (Effect.DESTRUCTIVE,) if "Python" in name else ()
    return Annotated[str, *does, UNTRUSTED, Requires(EXTRA)]


def _parameter(one: dict[str, Any], required: Sequence[str]) -> inspect.Parameter:
    kind = _TYPES.get(one["type"], str)
    if one["name"] in required:
        return inspect.Parameter(one["name"], inspect.Parameter.KEYWORD_ONLY, annotation=kind)
    return inspect.Parameter(one["name"], inspect.Parameter.KEYWORD_ONLY, annotation=kind | None, default=None)


def _known() -> dict[str, Any]:
    """Every action class of lagent by its name."""
    try:
        from lagent import actions
    except ImportError as error:
        raise ToolError(f"the actions of lagent need the extra {EXTRA}: pip install '{EXTRA}' ({error})") from error
    return {name: action for name, action in actions.list_tools(with_class=True) if name not in _INNER and not name.startswith("Batch")}


def _methods(action: Any) -> tuple[str, ...]:
    description = action.__tool_description__
    return tuple(one["name"] for one in description["api_list"]) if action._is_toolkit else ("run",)


def _description(action: Any, method: str) -> dict[str, Any]:
    description = action.__tool_description__
    found: dict[str, Any] = next((one for one in description.get("api_list", ()) if one["name"] == method), description)
    return found


@functools.cache
def _made(action: Any) -> Any:
    """The action, made once in a worker. Raises `ToolError`, e.g. for a key that is missing."""
    try:
        made = action()
    except Exception as error:  # whatever an action wants that it has not got
        raise ToolError(f"{action.__name__} cannot be used: {error}") from error
    if action.__name__ == "GoogleSearch" and not hasattr(made, "k"):
        made.k = 10  # it reads k and never sets it (0.2.0 to 0.2.4)
    return made


def _ran(action: Any, method: str, given: dict[str, Any]) -> str:
    """The action's text. Raises `ToolError` with its message where it failed."""
    returned = action(given, method)
    if returned.state != 0:  # ActionStatusCode.SUCCESS
        raise ToolError(str(returned.errmsg or f"it failed with the state {int(returned.state)}"))
    text: str = returned.format_result()
    return text
