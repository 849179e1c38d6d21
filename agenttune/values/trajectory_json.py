"""A trajectory as JSON and back, nothing lost: ``trajectory_from_json(trajectory_to_json(x)) == x``. Defaults are left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

from agenttune.errors import Refusal
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import Json, JsonObject, Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

T = TypeVar("T")
_STEP_TEXTS = ("reasoning", "thought", "raw", "outcome")
_TEXTS = ("id", "file", "group", "system", "stop", "model", "adapter", "protocol", "template")
_ROUND_TEXTS = ("stop", "answered_by", "verdict", "comment")


def trajectory_to_json(trajectory: Trajectory) -> dict[str, Json]:
    """``{"id", "file", "line", "group", "system", "tools", "rounds": [{"user", "steps": […]}], "stop", "notes"}``; only rounds always."""
    value: dict[str, Json] = {name: getattr(trajectory, name) for name in _TEXTS if getattr(trajectory, name)}
    if trajectory.line:
        value["line"] = trajectory.line
    if trajectory.tools:
        value["tools"] = [tool_to_json(tool) for tool in trajectory.tools]
    value["rounds"] = [_round_to_json(one) for one in trajectory.rounds]
    if trajectory.notes:
        value["notes"] = list(trajectory.notes)
    return value


def _round_to_json(one: Round) -> dict[str, Json]:
    value: dict[str, Json] = {"user": one.user, "steps": [step_to_json(step) for step in one.steps]}
    return {**value, **{name: getattr(one, name) for name in _ROUND_TEXTS if getattr(one, name)}}


def step_to_json(step: Step) -> dict[str, Json]:
    """A call is ``{"name", "arguments"[, "id"]}``, one that could not be read ``{"text", "reason"}``."""
    value: dict[str, Json] = {name: getattr(step, name) for name in _STEP_TEXTS if getattr(step, name)}
    if step.repairs:
        value["repairs"] = list(step.repairs)
    if step.calls:
        value["calls"] = [call_to_json(call) for call in step.calls]
    if step.observations:
        value["observations"] = [observation_to_json(seen) for seen in step.observations]
    if step.answer is not None:
        value["answer"] = step.answer
    if step.weight != 1.0:
        value["weight"] = step.weight
    if step.token_ids:
        value["token_ids"] = list(step.token_ids)
    if step.alternatives:
        value["alternatives"] = [step_to_json(one) for one in step.alternatives]
    return value


def call_to_json(call: ToolCall | Malformed) -> dict[str, Json]:
    """See `step_to_json`."""
    if isinstance(call, Malformed):
        return {"text": call.text, "reason": call.reason}
    value = {"name": call.name, "arguments": dict(call.arguments)}
    return {**value, "id": call.id} if call.id else value


def observation_to_json(seen: Observation) -> dict[str, Json]:
    """``{"text"[, "call_id", "error", "provenance"]}``."""
    value: dict[str, Json] = {"text": seen.text}
    if seen.call_id:
        value["call_id"] = seen.call_id
    if seen.error:
        value["error"] = True
    if seen.provenance != "tool":
        value["provenance"] = seen.provenance
    return value


def trajectory_from_json(value: Json) -> Trajectory:
    """The inverse of `trajectory_to_json`. Raises `Refusal` (``trajectory``) for any field that is unknown or of the wrong type."""
    fields = _Fields(value, "the trajectory")
    trajectory = Trajectory(
        **{name: fields.text(name) for name in _TEXTS},
        line=fields.whole("line"),
        tools=fields.each("tools", _tool),
        rounds=fields.each("rounds", _round),
        notes=fields.each("notes", _text),
    )
    fields.end()
    return trajectory


def _round(value: Json) -> Round:
    fields = _Fields(value, "a round")
    made = Round(user=fields.text("user"), steps=fields.each("steps", step_from_json), **{name: fields.text(name) for name in _ROUND_TEXTS})
    fields.end()
    return made


def step_from_json(value: Json) -> Step:
    """The inverse of `step_to_json`. Raises `Refusal`."""
    fields = _Fields(value, "a step")
    answer = fields.take("answer", None)
    if answer is not None and not isinstance(answer, str):
        raise fields.wrong("answer", "text")
    step = Step(
        **{name: fields.text(name) for name in _STEP_TEXTS},
        calls=fields.each("calls", _call),
        observations=fields.each("observations", _observation),
        answer=answer,
        weight=fields.number("weight", 1.0),
        token_ids=fields.each("token_ids", _token),
        repairs=fields.each("repairs", _text),
        alternatives=fields.each("alternatives", step_from_json),
    )
    fields.end()
    return step


def _call(value: Json) -> ToolCall | Malformed:
    fields = _Fields(value, "a call")
    call: ToolCall | Malformed
    if isinstance(value, Mapping) and "text" in value:
        call = Malformed(text=fields.text("text"), reason=fields.text("reason"))
    else:
        call = ToolCall(name=fields.text("name"), arguments=fields.object("arguments"), id=fields.text("id"))
    fields.end()
    return call


def _observation(value: Json) -> Observation:
    fields = _Fields(value, "an observation")
    text, call_id, error = fields.text("text"), fields.text("call_id"), fields.flag("error", False)
    provenance = "tool" if fields.flag("trusted", True) else "web"  # how it was written before there were three of them
    provenance = fields.text("provenance") or provenance
    if provenance not in ("tool", "user", "web"):
        raise fields.wrong("provenance", "tool, user or web")
    fields.end()
    return Observation(text=text, call_id=call_id, error=error, provenance=cast(Literal["tool", "user", "web"], provenance))


def _tool(value: Json) -> ToolSpec:
    fields = _Fields(value, "a tool")
    tool = ToolSpec(name=fields.text("name"), description=fields.text("description"), parameters=fields.object("parameters"))
    fields.end()
    return tool


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Refusal("trajectory", "a note must be text", str(value))
    return value


def _token(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refusal("trajectory", "a token id must be a whole number", str(value))
    return value


class _Fields:
    """The fields of one JSON object, each taken once; what is left at the end is unknown."""

    def __init__(self, value: Json, what: str) -> None:
        if not isinstance(value, Mapping):
            raise Refusal("trajectory", f"{what} must be a JSON object", str(value))
        self.left, self.what, self.value = dict(value), what, value

    def wrong(self, name: str, wanted: str) -> Refusal:
        return Refusal("trajectory", f'"{name}" of {self.what} must be {wanted}', str(self.value))

    def take(self, name: str, default: Any) -> Any:
        return self.left.pop(name, default)

    def text(self, name: str) -> str:
        value = self.take(name, "")
        if not isinstance(value, str):
            raise self.wrong(name, "text")
        return value

    def whole(self, name: str) -> int:
        value = self.take(name, 0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(name, "a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def object(self, name: str) -> JsonObject:
        value = self.take(name, {})
        if not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return value

    def each(self, name: str, read: Callable[[Json], T]) -> tuple[T, ...]:
        value = self.take(name, [])
        if not isinstance(value, list | tuple):
            raise self.wrong(name, "a list")
        return tuple(read(one) for one in value)

    def end(self) -> None:
        if self.left:
            raise Refusal("trajectory", f'{self.what} has an unknown field "{next(iter(self.left))}"', str(self.value))
