"""Right or wrong, with a reason: one step against one case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agenttune.evaluation.value_matching import exact, matches
from agenttune.values.case import Case, Score
from agenttune.values.trajectory import Json, JsonObject, Malformed, Step, ToolCall, ToolSpec

# Of the arguments of a call whose tool is right, best first: against several accepted calls the best one counts.
DIFFERENCES = ("ok", "wrong_value", "extra_argument", "missing_argument")
# Where the name is not right, or no call is, or none was wanted. ``length`` and ``context``: a limit cut the step.
REASONS = (*DIFFERENCES, "wrong_tool", "invented_tool", "answered", "called", "malformed", "empty", "length", "context")


def score(case: Case, step: Step) -> Score:
    """The judgement of one step; of several calls the first is judged.

    `valid`: the step can be read as a call, or as an answer that is not empty, and ended by itself. `tool`, `arguments`, `call`:
    the name, the arguments (None where the name is wrong) and both, where a call is expected. `abstained`: a valid step without
    a call, where none is expected; so what cannot be read is never taken for restraint. `reason` is one of `REASONS`.
    """
    reason = _unusable(step) or (_call_reason(case, step) if case.accepted else "called" if step.calls else "ok")
    valid = reason not in ("malformed", "empty", "length", "context")
    named = reason in DIFFERENCES
    expected: dict[str, Any] = {"tool": None, "arguments": None, "call": None, "abstained": reason == "ok"}
    if case.accepted:
        expected = {"tool": named, "arguments": reason == "ok" if named else None, "call": reason == "ok", "abstained": None}
    return Score(
        case=case.id,
        valid=valid,
        **expected,
        reason=reason,
        output=step.raw,
        stop=step.outcome,
        tags=dict(case.tags),
        clusters=case.clusters,
    )


def _unusable(step: Step) -> str:
    """Why a step counts as none; empty for one that can be read."""
    if step.outcome in ("length", "context"):
        return step.outcome
    if step.outcome not in ("", "ok") or any(isinstance(call, Malformed) for call in step.calls):
        return "malformed"
    return "" if step.calls or (step.answer or "").strip() else "empty"


def _call_reason(case: Case, step: Step) -> str:
    """How the first call of a readable step differs from the nearest accepted one."""
    call = step.calls[0] if step.calls else None
    if not isinstance(call, ToolCall):
        return "answered"
    tools = {tool.name: tool for tool in case.sample.tools}
    found = [
        difference(call.arguments, one.arguments, case.compare, tools.get(call.name)) for one in case.accepted if one.name == call.name
    ]
    if found:
        return min(found, key=DIFFERENCES.index)
    return "wrong_tool" if call.name in tools or not tools else "invented_tool"


def difference(seen: JsonObject, wanted: JsonObject, compare: Mapping[str, str], tool: ToolSpec | None = None) -> str:
    """One of `DIFFERENCES`, the first that applies from behind. An optional argument that says the schema's default says nothing."""
    seen, wanted = _without_defaults(seen, tool), _without_defaults(wanted, tool)
    if wanted.keys() - seen.keys():
        return "missing_argument"
    if seen.keys() - wanted.keys():
        return "extra_argument"
    return "ok" if all(matches(seen[name], wanted[name], compare.get(name, "exact")) for name in wanted) else "wrong_value"


def _without_defaults(arguments: JsonObject, tool: ToolSpec | None) -> dict[str, Json]:
    schemas = tool.parameters.get("properties") if tool else None
    known: Mapping[str, Json] = schemas if isinstance(schemas, Mapping) else {}
    return {name: value for name, value in arguments.items() if not _is_default(value, known.get(name))}


def _is_default(value: Json, schema: Json) -> bool:
    return isinstance(schema, Mapping) and "default" in schema and exact(value, schema["default"])
