"""A step as a lenient reader would have read it: judged beside the strict reading, never in its place."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace

from agenttune import protocols
from agenttune.data.quality.repairs import coerced
from agenttune.errors import Refusal
from agenttune.sources.reading.relaxed import relaxed
from agenttune.values.sample import Sample
from agenttune.values.trajectory import JsonObject, Malformed, Step, ToolCall, ToolSpec

TRIES = 20  # closing braces at which an object may end, from the last


def repaired(step: Step, sample: Sample) -> Step:
    """The step with its arguments in relaxed JSON (quotes, commas, comments; text behind them cut off), and values in their schema's type.

    Only a step that ended by itself is repaired; its outcome is then ``ok`` if it can be read.
    """
    if step.outcome in ("length", "context"):
        return step
    if any(isinstance(call, Malformed) for call in step.calls):
        step = _reread(step, sample.protocol)
    tools = {tool.name: tool for tool in sample.tools}
    return replace(step, calls=tuple(_typed(call, tools.get(call.name)) if isinstance(call, ToolCall) else call for call in step.calls))


def _reread(step: Step, protocol: str) -> Step:
    """The step with every arguments object that can be read leniently written as JSON, and parsed again."""
    spoken = protocols.get(protocol)
    for keep_rest in (True, False):
        text = step.raw
        for span in reversed(spoken.spans(text)):
            if span.kind == "arguments" and (found := _object(text[span.start : span.end])):
                value, end = found
                rest = text[span.start + end : span.end] if keep_rest else ""
                text = f"{text[: span.start]} {json.dumps(value, ensure_ascii=False)}{rest}{text[span.end :]}"
        again = spoken.parse(text)
        if not any(isinstance(call, Malformed) for call in again.calls):
            return replace(again, raw=step.raw, token_ids=step.token_ids, outcome="ok")
    return step


def _object(text: str) -> tuple[JsonObject, int] | None:
    """The longest beginning of a text that is an object in relaxed JSON, and where it ends; None where there is none."""
    begin = max(text.find("{"), 0)
    for end in reversed([found.end() for found in re.finditer(r"\}", text)][-TRIES:]):
        with contextlib.suppress(Refusal):
            value, _ = relaxed(text[begin:end])
            return (value, end) if isinstance(value, dict) else None
    return None


def _typed(call: ToolCall, tool: ToolSpec | None) -> ToolCall:
    known = tool.parameters.get("properties") if tool else None
    schemas: JsonObject = known if isinstance(known, dict) else {}
    return replace(call, arguments={name: coerced(value, schemas.get(name)) for name, value in call.arguments.items()})
