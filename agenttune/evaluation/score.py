"""Right or wrong, with a reason: one step against one case."""

from __future__ import annotations

import ast
import datetime
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from agenttune.values.case import Case, Score
from agenttune.values.trajectory import Json, Malformed, Step, ToolCall

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def score(case: Case, step: Step) -> Score:
    """The judgement of one step.

    `valid`: the step could be read as a call or an answer. `tool`, `arguments`, `call`: name, arguments (None where the name is
    wrong) and both, where a call is expected. `abstained`: a readable step without a call, where none is expected.
    """
    call = step.calls[0] if step.calls else None
    valid = not isinstance(call, Malformed) and (call is not None or step.answer is not None) and step.outcome in ("", "ok")
    common: dict[str, Any] = {"case": case.id, "valid": valid, "output": step.raw, "stop": step.outcome}
    common |= {"tags": dict(case.tags), "clusters": case.clusters}
    if not case.accepted:
        abstained = valid and call is None
        reason = "ok" if abstained else "called" if isinstance(call, ToolCall) and valid else unreadable(step)
        return Score(tool=None, arguments=None, call=None, abstained=abstained, reason=reason, **common)
    if not valid:
        return Score(tool=False, arguments=None, call=False, abstained=None, reason=unreadable(step), **common)
    if not isinstance(call, ToolCall):
        return Score(tool=False, arguments=None, call=False, abstained=None, reason="answered", **common)
    same = [one for one in case.accepted if one.name == call.name]
    if not same:
        offered = any(tool.name == call.name for tool in case.sample.tools)
        return Score(tool=False, arguments=None, call=False, abstained=None, reason="wrong_tool" if offered else "invented_tool", **common)
    reasons = [difference(case, call.arguments, one.arguments) for one in same]
    right = "ok" in reasons
    return Score(tool=True, arguments=right, call=right, abstained=None, reason="ok" if right else reasons[0], **common)


def unreadable(step: Step) -> str:
    """Why a step counts as no step: it ran into a limit, or could not be read."""
    return step.outcome if step.outcome in ("length", "context") else "malformed"


def difference(case: Case, seen: Mapping[str, Json], wanted: Mapping[str, Json]) -> str:
    """``ok``, ``missing_argument``, ``extra_argument`` or ``wrong_value``."""
    if set(wanted) - set(seen):
        return "missing_argument"
    if set(seen) - set(wanted):
        return "extra_argument"
    return "ok" if all(equal(seen[name], wanted[name], case.compare.get(name, "exact")) for name in wanted) else "wrong_value"


def equal(seen: Json, wanted: Json, how: str) -> bool:
    """Whether two argument values are the same under a declared comparison.

    ``exact``: the same JSON, where a number equals the text of that number (a tool list without types leaves the choice
    open). ``text``: also without regard to case and spacing. ``number``, ``date``, ``set``: by value. ``expression``: the same
    arithmetic value, or the same characters but for spaces.
    """
    if exact(seen, wanted):
        return True
    compare = {"text": _text, "number": number, "date": _date, "set": _set, "expression": _expression}.get(how)
    if compare is None:
        return False
    left, right = compare(seen), compare(wanted)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return left is not None and left == right


def exact(seen: Json, wanted: Json) -> bool:
    """The same JSON value; a number equals its own text."""
    if isinstance(seen, bool) or isinstance(wanted, bool):
        return type(seen) is type(wanted) and bool(seen == wanted)
    if type(seen) is type(wanted) and not isinstance(seen, float):
        return json.dumps(seen, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    left, right = number(seen), number(wanted)
    return left is not None and left == right


def number(value: Json) -> float | None:
    """A number, or the text of one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", value):
        return None
    made = float(value)
    return made if math.isfinite(made) else None


def _text(value: Json) -> str | None:
    return "".join(value.casefold().split()) if isinstance(value, str) else None


def _date(value: Json) -> str | None:
    try:
        return datetime.date.fromisoformat(str(value).strip()[:10]).isoformat()
    except ValueError:
        return None


def _set(value: Json) -> frozenset[str] | None:
    parts = value if isinstance(value, list) else re.split(r"[,;，、]| and ", value) if isinstance(value, str) else None
    return None if parts is None else frozenset("".join(str(part).casefold().split()) for part in parts)


def _expression(value: Json) -> float | str | None:
    if not isinstance(value, str):
        return number(value)
    text = value.replace("×", "*").replace("÷", "/").replace("^", "**").replace(",", "")
    try:
        return float(_arithmetic(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return "".join(value.split())


def _arithmetic(node: ast.expr) -> float:
    """The value of a small arithmetic expression; anything else in it is a `ValueError`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _arithmetic(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _arithmetic(node.left), _arithmetic(node.right)
        if isinstance(node.op, ast.Pow):
            if abs(right) > 64 or abs(left) > 1e6:
                raise ValueError("too large")
            return float(left**right)
        if type(node.op) in OPERATORS:
            return float(OPERATORS[type(node.op)](left, right))
    raise ValueError("not arithmetic")
