"""ToolAlpaca (arXiv 2306.05301): an API with its functions, instructions, golden calls, and where a model ran, its steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, record_id, tool_group
from agenttune.sources.react.text import ReactReader
from agenttune.sources.reading.json_text import loads, text_of
from agenttune.sources.schemas import unused
from agenttune.sources.tool_lists import schema_type
from agenttune.values.trajectory import Json, Round, ToolSpec, Trajectory

_PARAMETERS = re.compile(r"^Parameters: (\{.*\})[ \t]*$", re.MULTILINE)
_STOPPED = "Agent stopped due to"
_UNREAD = "Could not parse LLM output:"
_NOT_TOOLS = "components"
_RECORD = ("Name", "Function_Description", "Instances", "Golden_Answers", "Instructions")
_RUN = ("input", "output", "intermediate_steps", "Final Thought")


def knows(record: dict[str, Json]) -> bool:
    """Its field names."""
    return "Function_Description" in record and ("Instances" in record or "Golden_Answers" in record)


def read(record: dict[str, Json], options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """One trajectory for each run, or for each instruction with golden calls where there are no runs. Raises `Refusal`."""
    notes: list[str] = []
    tools = _tools(record["Function_Description"], notes)
    runs = record.get("Instances")
    golden = record.get("Golden_Answers")
    asked = record.get("Instructions")
    reader: Callable[[Json, str, tuple[ToolSpec, ...], ReadOptions, list[str]], Trajectory]
    if isinstance(runs, list):
        if golden:
            notes.append("golden_answers_left_out")
        reader, parts = _run, runs
    elif isinstance(golden, list) and isinstance(asked, list) and len(asked) == len(golden):
        reader, parts = _golden, list(zip(asked, golden, strict=True))
    else:
        raise Refusal("shape", "Instructions and Golden_Answers are not lists of one length", str(record.get("Name", "")))
    if dropped := unused(record, _RECORD):
        notes.append(f"fields_dropped: {', '.join(dropped)}")
    for number, part in enumerate(parts, 1):
        name = f"{record_id(record, 'Name')}/{number}"
        try:
            yield reader(part, name, tools, options, list(notes))
        except Refusal as problem:
            yield problem


def _tools(value: Json, notes: list[str]) -> tuple[ToolSpec, ...]:
    if not isinstance(value, dict):
        raise Refusal("tool", "Function_Description is not an object", str(value)[:400])
    if value.get(_NOT_TOOLS):
        notes.append("tool_components_left_out")
    return tuple(_tool(name, text_of(text), notes) for name, text in value.items() if name != _NOT_TOOLS)


def _tool(name: str, text: str, notes: list[str]) -> ToolSpec:
    found = _PARAMETERS.search(text)
    try:
        listed = loads(found.group(1)) if found else {}
    except Refusal:
        notes.append(f"tool_parameters_unread: {name}")  # they stay in the description
        return ToolSpec(name=name, description=text)
    said = text[: found.start()] + text[found.end() :].lstrip("\n") if found else text
    properties: dict[str, Json] = {}
    required = []
    for parameter, described in listed.items():
        properties[parameter], needed = _schema(text_of(described))
        required += [parameter] if needed else []
    schema: dict[str, Json] = {"type": "object", "properties": properties}
    return ToolSpec(name=name, description=said.strip(), parameters={**schema, "required": required} if required else schema)


_TYPED = re.compile(r"(Required\. )?(Array\[(\w+)\]|\w+)\. ?")


def _schema(text: str) -> tuple[dict[str, Json], bool]:
    """``Required. Array[string]. Description`` as a schema, and whether it is required."""
    found = _TYPED.match(text)
    if found is None:
        return {"description": text}, False
    inner = found.group(3)
    typed: dict[str, Json] = {"type": "array", "items": schema_type(inner)} if inner else schema_type(found.group(2))
    rest = text[found.end() :]
    return ({**typed, "description": rest} if rest else typed), found.group(1) is not None


def _run(run: Json, name: str, tools: tuple[ToolSpec, ...], options: ReadOptions, notes: list[str]) -> Trajectory:
    if not isinstance(run, dict):
        raise Refusal("empty", "this run was left out by its source", text_of(run))
    if dropped := unused(run, _RUN):
        notes.append(f"run_fields_dropped: {', '.join(dropped)}")
    steps = ReactReader(tools={tool.name: tool for tool in tools}, notes=notes)
    taken = run.get("intermediate_steps")
    for step in taken if isinstance(taken, list) else []:
        action, seen = _pair(step)
        steps.text(action)
        steps.observe(seen)
    stop = _end(text_of(run.get("output")), text_of(run.get("Final Thought")), steps, notes)
    return _trajectory(text_of(run.get("input")), name, tools, steps, options, notes, stop)


def _pair(step: Json) -> tuple[str, str]:
    """``[[name, input, text], observation]``: the text of the step, with its action lines written out if it lacks them."""
    if not isinstance(step, list) or len(step) != 2 or not isinstance(step[0], list) or len(step[0]) != 3:
        raise Refusal("shape", "a step must be [[action, input, text], observation]", str(step)[:400])
    action, given, text = (text_of(part) for part in step[0])
    head = re.split(r"^(?:ASSISTANT )?Action:", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    thought = head if head.startswith(("Thought:", "ASSISTANT Thought:")) else f"Thought: {head}"
    return f"{thought}\nAction: {action}\nAction Input: {given}", text_of(step[1])


def _end(output: str, thought: str, steps: ReactReader, notes: list[str]) -> str:
    """Takes the answer in, if there is one; else says why the run stopped."""
    if output.startswith(_STOPPED):
        notes.append("stopped_at_limit")
        return "max_steps"
    if output.startswith(_UNREAD):
        notes.append(f"output_unread: {output[len(_UNREAD) :].strip()}")
        return "unread"
    if output.strip():
        steps.answer(output, thought)
    return ""


def _golden(pair: Json, name: str, tools: tuple[ToolSpec, ...], options: ReadOptions, notes: list[str]) -> Trajectory:
    asked, calls = pair
    steps = ReactReader(tools={tool.name: tool for tool in tools}, notes=[])
    for call in calls if isinstance(calls, list) else []:
        if not isinstance(call, dict):
            raise Refusal("shape", "a golden call must be an object", str(call)[:400])
        steps.text(f"Action: {text_of(call.get('Action'))}\nAction Input: {text_of(call.get('Action_Input'))}")
    notes += [note for note in steps.notes if note != "gap"]  # golden calls never have results
    return _trajectory(text_of(asked), name, tools, steps, options, notes, "")


def _trajectory(
    asked: str, name: str, tools: tuple[ToolSpec, ...], steps: ReactReader, options: ReadOptions, notes: list[str], stop: str
) -> Trajectory:
    if not steps.done:
        raise Refusal("empty", "the run holds neither a step nor an answer", asked)
    rounds = (Round(user=asked, steps=tuple(steps.done)),)
    group = tool_group(tools)
    return Trajectory(id=name, file=options.file, line=options.line, group=group, tools=tools, rounds=rounds, stop=stop, notes=tuple(notes))
