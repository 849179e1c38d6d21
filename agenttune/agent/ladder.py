"""What can be read of a reply that breaks the rules, rung by rung; each rung that was needed is named in ``Step.repairs``.

Only the reading changes: the step keeps the raw text and the ids that the model made, and they are what stands in the next prompt.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from agenttune.data.quality.repairs import coerced
from agenttune.data.quality.schema_check import mismatches
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol
from agenttune.sources.reading.relaxed import relaxed
from agenttune.values.trajectory import JsonObject, Malformed, Step, ToolCall, ToolSpec

RELAXED, COERCED, NEAREST, REDECODED = "relaxed_json", "coerced", "nearest_tool", "redecoded"
VALIDATED = "validated"  # no rung: jsonschema found what a grammar could not forbid, so the call is decoded again with the error told
CONSTRAINED = "constrained"  # no rung: the grammar took another token than the likeliest
RUNGS = (RELAXED, COERCED, NEAREST, REDECODED)  # in the order in which they are tried
NEAR = 0.85  # likeness of names, by `difflib`
TRIES = 20  # closing braces at which an object may end, from the last
_QUOTES = "`\"'*"


def repaired(step: Step, protocol: Protocol, tools: Sequence[ToolSpec], rungs: Collection[str]) -> Step:
    """The step as the allowed rungs read it; those that changed something are added to its `repairs`.

    ``relaxed_json``: single quotes, comments, missing or extra commas and brackets, text behind the object, quotes round the name.
    ``coerced``: a value in the type its schema wants where only the spelling differs. ``nearest_tool``: the one declared name that is near.
    A step that was cut by a limit is left as it is.
    """
    if step.outcome in ("truncated", "context"):
        return step
    found = list(step.repairs)
    if RELAXED in rungs:
        step = _noted(step, _reread(step, protocol), RELAXED, found)
        step = _noted(step, _calls(step, lambda call: _unquoted(call, tools)), RELAXED, found)
    if NEAREST in rungs:
        step = _noted(step, _calls(step, lambda call: _nearest(call, tools)), NEAREST, found)
    if COERCED in rungs:
        step = _noted(step, _calls(step, lambda call: _typed(call, tools)), COERCED, found)
    return replace(step, repairs=tuple(dict.fromkeys(found)))


def fits(call: ToolCall, tools: Sequence[ToolSpec]) -> bool:
    """Whether a tool of this name is offered and the arguments are as its schema says."""
    tool = next((one for one in tools if one.name == call.name), None)
    return tool is not None and next(mismatches(call.arguments, tool.parameters), None) is None


def _noted(before: Step, after: Step, rung: str, found: list[str]) -> Step:
    if json.dumps([*map(repr, before.calls)]) != json.dumps([*map(repr, after.calls)]):
        found.append(rung)
    return after


def _calls(step: Step, change: Callable[[ToolCall], ToolCall]) -> Step:
    return replace(step, calls=tuple(change(call) if isinstance(call, ToolCall) else call for call in step.calls))


def _reread(step: Step, protocol: Protocol) -> Step:
    """The step with every arguments object that can be read leniently written as JSON, and parsed again."""
    if not any(isinstance(call, Malformed) for call in step.calls):
        return step
    for keep_rest in (True, False):
        text = step.raw
        for span in reversed(protocol.spans(text)):
            if span.kind == "arguments" and (found := _object(text[span.start : span.end])):
                value, end = found
                rest = text[span.start + end : span.end] if keep_rest else ""
                text = f"{text[: span.start]} {json.dumps(value, ensure_ascii=False)}{rest}{text[span.end :]}"
        again = protocol.parse(text)
        if not any(isinstance(call, Malformed) for call in again.calls):
            return replace(step, reasoning=again.reasoning, thought=again.thought, calls=again.calls, answer=again.answer)
    return step


def _object(text: str) -> tuple[JsonObject, int] | None:
    """The longest beginning of a text that is an object in relaxed JSON, and where it ends; None where there is none."""
    begin = max(text.find("{"), 0)
    for end in reversed([found.end() for found in re.finditer(r"\}", text)][-TRIES:]):
        with contextlib.suppress(Refusal):
            value, _ = relaxed(text[begin:end])
            return (value, end) if isinstance(value, dict) else None
    return None


def _unquoted(call: ToolCall, tools: Sequence[ToolSpec]) -> ToolCall:
    name = call.name.strip(_QUOTES + " ").removesuffix("()")
    return replace(call, name=name) if name != call.name and name in {tool.name for tool in tools} else call


def _nearest(call: ToolCall, tools: Sequence[ToolSpec]) -> ToolCall:
    names = [tool.name for tool in tools]
    close = [] if call.name in names else difflib.get_close_matches(call.name, names, n=2, cutoff=NEAR)
    return replace(call, name=close[0]) if len(close) == 1 else call


def _typed(call: ToolCall, tools: Sequence[ToolSpec]) -> ToolCall:
    known = next((tool.parameters.get("properties") for tool in tools if tool.name == call.name), None)
    schemas: JsonObject = known if isinstance(known, Mapping) else {}
    return replace(call, arguments={name: coerced(value, schemas.get(name)) for name, value in call.arguments.items()})
