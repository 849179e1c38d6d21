"""MSAgent-Bench records out of trajectories: all steps of a round in one assistant value, tools as plugins in the system value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agenttune.errors import Refusal
from agenttune.sources.msagent import markers
from agenttune.sources.reading.json_text import text_of
from agenttune.sources.target import Changes, Reader, adapted, checked, plain_step
from agenttune.sources.tool_lists import schema_of_list
from agenttune.values.trajectory import Json, Step, ToolCall, ToolSpec, Trajectory


def written(trajectory: Trajectory, read: Reader) -> Json:
    """``{"id", "conversations"}``; `read` is the format's own reader, which must read the same conversation back.

    A thought before an answer is written as in the set's ReAct edition. There is no place for reasoning, for weights, and for white
    space between the system text and the plugins: the last is trimmed (``changes``), the others are a `Refusal`, as is everything
    that would be read back differently.
    """
    changes = Changes()
    trajectory = adapted(trajectory, changes, _step)
    if trajectory.tools and trajectory.system != trajectory.system.rstrip():
        changes.names.append("system_trimmed")
        trajectory = replace(trajectory, system=trajectory.system.rstrip())
    messages = [{"from": "system", "value": _system(trajectory)}] if trajectory.system or trajectory.tools else []
    for number, round_ in enumerate(trajectory.rounds):
        if number or round_.user or not round_.steps:
            messages.append({"from": "user", "value": round_.user})
        if round_.steps:
            messages.append({"from": "assistant", "value": "\n".join(_texts(round_.steps))})
    record: dict[str, Json] = {"id": trajectory.id} if trajectory.id else {}
    return checked({**record, "conversations": messages}, trajectory, changes, read)


def _step(step: Step, changes: Changes) -> Step:
    if step.reasoning:
        raise Refusal("reasoning", "MSAgent has no place for reasoning", step.reasoning)
    if step.weight != 1.0:
        raise Refusal("weight", "MSAgent has no place for a weight", str(step.weight))
    kept = plain_step(replace(step, thought="") if step.answer is not None else step, changes)
    return replace(kept, thought=step.thought)


def _system(trajectory: Trajectory) -> str:
    plugins = "\n\n".join(f"{number}. {text_of(_plugin(tool))}" for number, tool in enumerate(trajectory.tools, 1))
    return "\n\n".join(part for part in (trajectory.system, plugins) if part)


def _plugin(tool: ToolSpec) -> dict[str, Json]:
    """The plugin with a list of parameters, as the data set has it; with the JSON Schema itself where a list could not hold that."""
    head: dict[str, Json] = {"name": tool.name, "description": tool.description}
    entries = _entries(tool)
    if entries is not None and schema_of_list(entries) == dict(tool.parameters):
        return {**head, "paths": [{"name": tool.name, "description": tool.description, "parameters": entries}]}
    return {**head, "parameters": dict(tool.parameters)}


def _entries(tool: ToolSpec) -> list[Json] | None:
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list):
        return None
    if not all(isinstance(schema, dict) and name for name, schema in properties.items()):
        return None
    return [{**schema, "name": name, "required": str(name in required)} for name, schema in properties.items()]


def _texts(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        if step.answer is not None:
            yield f"Thought: {step.thought}\nFinal Answer: {step.answer}" if step.thought else step.answer
            continue
        calls = [{"api_name": call.name, "parameters": dict(call.arguments)} for call in step.calls if isinstance(call, ToolCall)]
        thinks = [f"{markers.CALL}```JSON\n{text_of(call)}\n```{markers.CALL_END}" for call in calls]
        yield step.thought + "\n".join(thinks)
        yield from (f"\n{markers.RESULT}```JSON\n{seen.text}\n```{markers.RESULT_END}" for seen in step.observations)
