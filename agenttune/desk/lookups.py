"""What further tools look up or refuse: a value's place in a list, what stands beside it in another, numbers above zero."""

from __future__ import annotations

from agenttune.agent.toolbox.answers import ToolError
from agenttune.desk.tables import lists


def place(pool: str, value: str, what: str) -> int:
    """The place of a value in a list, whatever its letter case. Raises `ToolError` where the list has no such value."""
    names = [one.lower() for one in lists()[pool]]
    key = value.strip().lower()
    if key not in names:
        raise ToolError(f'no {what} "{value}" in the table')
    return names.index(key)


def beside(pool: str, value: str, other: str, what: str = "entry for") -> str:
    """What stands in the list `other` at the place that `value` has in the list `pool`."""
    return lists()[other][place(pool, value, what)]


def above_zero(value: float, what: str) -> float:
    """The value itself. Raises `ToolError` where it is zero or less."""
    if value <= 0:
        raise ToolError(f"the {what} must be above zero")
    return value
