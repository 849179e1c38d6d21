"""What all targets share: the steps they can hold, and the proof that a record reads back as the conversation it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions
from agenttune.sources.reading.json_text import excerpt
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, Trajectory

Reader = Callable[[Json, ReadOptions], Iterator[Trajectory]]


@dataclass(slots=True)
class Changes:
    """Named changes of one record, in order, written into it as ``changes``."""

    names: list[str] = field(default_factory=list)


Adapt = Callable[[Step, Changes], Step]


def plain_step(step: Step, changes: Changes) -> Step:
    """The step as chat formats can hold it. Raises `Refusal` for a malformed call and for a step that does not either call or answer.

    A thought before an answer has no place of its own there: it becomes the step's reasoning, and ``thought_as_reasoning`` says so.
    """
    if bool(step.calls) == (step.answer is not None):
        raise Refusal("empty", "a step must either call a tool or answer")
    if not all(isinstance(call, ToolCall) for call in step.calls):
        raise Refusal("malformed", "a call that could not be read has no place in this format", step.raw)
    if len(step.observations) > len(step.calls):
        raise Refusal("orphan", "a step holds more observations than calls", step.observations[-1].text)
    if step.answer is None or not step.thought:
        return step
    if step.reasoning:
        raise Refusal("thought", "this format cannot hold both reasoning and a thought before an answer", step.thought)
    changes.names.append("thought_as_reasoning")
    return replace(step, thought="", reasoning=step.thought)


def adapted(trajectory: Trajectory, changes: Changes, adapt: Adapt = plain_step) -> Trajectory:
    """The trajectory with every step as `adapt` has it. Raises `Refusal`."""
    rounds = (replace(one, steps=tuple(adapt(step, changes) for step in one.steps)) for one in trajectory.rounds)
    return replace(trajectory, rounds=tuple(rounds))


def tool_list(trajectory: Trajectory) -> list[dict[str, Json]]:
    """The tools, each ``{"name", "description", "parameters"}``."""
    return [tool_to_json(tool) for tool in trajectory.tools]


def changes_of(fields: dict[str, Json]) -> list[str]:
    """The changes that a writer named in this record."""
    value = fields.get("changes")
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def checked(record: dict[str, Json], trajectory: Trajectory, changes: Changes, read: Reader) -> Json:
    """The record, with ``changes`` if there are any. Raises `Refusal` (``inexact``) if `read` does not give the same conversation back.

    The same: system text, tools, users' texts, and of each step the reasoning, thought, calls, observations with their calls, answer and
    weight. Not compared: call ids, and what a model run knows besides (token ids, raw text, outcome, flags of observations).
    """
    if changes.names:
        record["changes"] = changes.names
    wanted = _conversation(trajectory)
    try:
        (again,) = read(record, ReadOptions())
    except Refusal as error:
        raise Refusal("inexact", f"the record would not be read back: {error.sentence}", error.excerpt) from error
    except RecursionError as error:
        raise Refusal("depth", "a value is nested too deeply") from error
    parts = {
        "system text": (again.system, trajectory.system),
        "tools": (again.tools, trajectory.tools),
        "steps": (_conversation(again), wanted),
    }
    for name, (left, right) in parts.items():
        if left != right:
            raise Refusal("inexact", f"this format cannot hold the {name} of this conversation exactly", excerpt(right))
    return record


def _conversation(trajectory: Trajectory) -> tuple[Round, ...]:
    return tuple(replace(round_, steps=tuple(_bare(step) for step in round_.steps)) for round_ in trajectory.rounds)


def _bare(step: Step) -> Step:
    calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
    return replace(step, calls=calls, observations=tuple(_in_order(step)), token_ids=(), raw="", outcome="")


def _in_order(step: Step) -> Iterator[Observation]:
    """The observations with the number of their call in place of its id."""
    ids = {call.id: number for number, call in enumerate(step.calls) if isinstance(call, ToolCall) and call.id}
    for index, seen in enumerate(step.observations):
        yield Observation(text=seen.text, call_id=str(ids.get(seen.call_id, index) if seen.call_id else index))
