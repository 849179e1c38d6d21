"""What can be a tool: a plain function, one behind a cache or another decorator, a `functools.partial`, an object that can be called."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agenttune.errors import UserError

_CALL = "__call__"
AnyCallable: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a callable says of itself: its name, its text, the parameters that are left to give, and the function with its types.

    `documented` are the parameters that its text may speak of, those that are given already among them.
    """

    name: str
    text: str
    parameters: Mapping[str, inspect.Parameter]
    documented: tuple[str, ...]
    function: types.FunctionType


def is_callable_object(value: object) -> bool:
    """Whether a value is no function and no class, and can be called all the same: a cache's wrapper, a partial, an object of a class."""
    return not isinstance(value, type | types.FunctionType) and _function(value) is not None


def described_callable(value: Any) -> Described:
    """What a callable says of itself. Raises `UserError` for what is none."""
    function = _function(value)
    if function is None:
        name = getattr(value, "__name__", value)
        raise UserError(f"{name!r} cannot be a tool: a tool is a plain function, a partial of one, or an object that can be called")
    given = _given(value)
    own = function.__name__ == _CALL
    return Described(
        name=getattr(value, "__name__", "") or (type(value).__name__ if own else function.__name__),
        text=function.__doc__ or (type(value).__doc__ if own else "") or "",
        parameters={name: one for name, one in inspect.signature(value).parameters.items() if name not in given},
        documented=tuple(inspect.signature(function).parameters),
        function=function,
    )


def _function(value: Any) -> types.FunctionType | None:
    """The function that does the work, with its types and its text."""
    if isinstance(value, functools.partial):
        return _function(value.func)
    if isinstance(value, type):
        return None
    if isinstance(value, types.MethodType):
        return _function(value.__func__)
    inner = value if isinstance(value, types.FunctionType) else getattr(value, "__wrapped__", None)
    inner = getattr(type(value), _CALL, None) if inner is None else inner
    return inner if isinstance(inner, types.FunctionType) else None


def _given(value: Any) -> set[str]:
    """The names of the arguments that a partial gives already."""
    return {*value.keywords, *_given(value.func)} if isinstance(value, functools.partial) else set()
