"""Trajectories, samples and raw records as a person reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from agenttune import protocols
from agenttune.agent.revision import EDITED
from agenttune.errors import Refusal
from agenttune.protocols.base import Kind
from agenttune.screens.blocks import Block, block, note
from agenttune.values.sample import Sample, Turn
from agenttune.values.trajectory import Json, Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

KIND_STYLES: dict[Kind, str] = {"thought": "dim", "action": "bold cyan", "arguments": "cyan", "answer": "bold"}


def show_trajectory(console: Console, trajectory: Trajectory) -> None:
    """Where it comes from, its system text and tools, and every round."""
    note(console, facts(trajectory), style="bold")
    for one in trajectory.notes:
        note(console, f"changed in reading: {one}")
    if trajectory.system:
        block(console, "system", trajectory.system)
    show_tools(console, trajectory.tools)
    for round_ in trajectory.rounds:
        show_round(console, round_)


def facts(trajectory: Trajectory) -> str:
    """Id, place, group, counts and stop in one line."""
    steps = [step for round_ in trajectory.rounds for step in round_.steps]
    parts = [
        trajectory.id or "(no id)",
        f"{trajectory.file}:{trajectory.line}" if trajectory.file else "",
        f"group {trajectory.group}" if trajectory.group else "",
        f"{_count(trajectory.rounds, 'round')}, {_count(steps, 'step')}",
        f"ended by {trajectory.stop}" if trajectory.stop else "",
    ]
    return "  ".join(part for part in parts if part)


def _count(values: Sequence[object], noun: str) -> str:
    return f"{len(values)} {noun}{'' if len(values) == 1 else 's'}"


def show_tools(console: Console, tools: Sequence[ToolSpec]) -> None:
    """One line a tool."""
    if tools:
        block(console, "tools", "\n".join(described(one) for one in tools))


def described(tool: ToolSpec) -> str:
    """Name, description and parameters in one line."""
    properties = tool.parameters.get("properties")
    names = [f"{name}: {_kind(schema)}" for name, schema in properties.items()] if isinstance(properties, Mapping) else []
    return f"{tool.name}({', '.join(names)})  {' '.join(tool.description.split())}".rstrip()


def _kind(schema: Json) -> str:
    value = schema.get("type", schema.get("enum", "any")) if isinstance(schema, Mapping) else "any"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def show_round(console: Console, round_: Round) -> None:
    """A question and all that came of it, in full."""
    block(console, "user", round_.user)
    for step in round_.steps:
        _show_step(console, step)
    if not round_.steps:
        note(console, "(nobody answered)")
    if round_.stop not in ("", "answer"):
        note(console, f"(ended by {round_.stop})")
    if round_.verdict:
        note(console, f"(judged {round_.verdict}{': ' + round_.comment if round_.comment else ''})")


def _show_step(console: Console, step: Step) -> None:
    if step.weight == 0:
        note(console, "(context only: the next step is not trained)")
    if step.reasoning:
        block(console, "reasons", step.reasoning, style="dim")
    if step.thought:
        block(console, "thought", step.thought)
    for number, call in enumerate(step.calls):
        _show_call(console, call)
        if number < len(step.observations):
            _show_observation(console, step.observations[number])
    for seen in step.observations[len(step.calls) :]:
        _show_observation(console, seen)
    if step.outcome == EDITED:
        note(console, "(a person wrote this in the place of the model's answer)")
    if step.answer is not None:
        block(console, "answer", step.answer)


def _show_call(console: Console, call: ToolCall | Malformed) -> None:
    if isinstance(call, Malformed):
        block(console, "call", call.text)
        block(console, "unread", call.reason)
        return
    made = Block(console, "call")
    made.push(f"{call.name} ", style="bold")
    made.push(json.dumps(call.arguments, ensure_ascii=False, default=str))
    made.close()


def _show_observation(console: Console, seen: Observation) -> None:
    made = Block(console, "error" if seen.error else "result")
    if not seen.trusted:
        made.push("(untrusted) ", style="dim")
    made.push(seen.text.replace("\r\n", "\n") or "(empty)")
    made.close()


def show_sample(console: Console, sample: Sample) -> None:
    """Every turn as the model gets it and as it must answer; outputs are coloured by kind where the protocol is known."""
    note(console, "  ".join(_sample_facts(sample)), style="bold")
    for number, turn in enumerate(sample.turns, 1):
        note(console, f"- turn {number}{_weight(turn.weight)}")
        if turn.system:
            block(console, "system", turn.system)
        if turn.input:
            block(console, "input", turn.input)
        _show_output(console, turn, sample.protocol)


def _weight(weight: float) -> str:
    return "" if weight == 1 else f", weight {weight:g}" if weight else ", context only"


def _sample_facts(sample: Sample) -> Iterator[str]:
    yield sample.id or "(no id)"
    if sample.meta.get("source"):
        yield f"{sample.meta['source']}:{sample.meta.get('line', '')}"
    if sample.meta.get("group"):
        yield f"group {sample.meta['group']}"
    yield f"protocol {sample.protocol}"
    yield f"{_count(sample.turns, 'turn')}, {_count(sample.tools, 'tool')}"
    if sample.meta.get("changes"):
        yield f"changed: {json.dumps(sample.meta['changes'], ensure_ascii=False, default=str)}"


def _show_output(console: Console, turn: Turn, protocol: str) -> None:
    if not turn.output:
        note(console, "(no output: nobody answered)")
        return
    made = Block(console, "output")
    spoken = protocols.find(protocol)
    spans = spoken.spans(turn.output) if spoken else ()
    for span in spans:
        made.push(turn.output[span.start : span.end], KIND_STYLES[span.kind])
    if not spans:
        made.push(turn.output)
    made.close()


def show_reject(console: Console, reject: Mapping[str, Json]) -> None:
    """Why a record was refused, and the record."""
    place = f"{reject.get('file') or '?'}:{reject.get('line') or '?'}"
    note(console, f"rejected: {reject.get('code')}  {place}  {reject.get('id') or ''}".rstrip(), style="bold red")
    block(console, "why", str(reject.get("sentence") or ""))
    if reject.get("excerpt"):
        block(console, "excerpt", str(reject["excerpt"]))
    if reject.get("record") is not None:
        block(console, "record", "\n".join(tree(_parsed(reject["record"]))))


def _parsed(record: Json) -> Json:
    """A reject keeps the bytes of its record as text; where that is JSON, it is shown as JSON."""
    try:
        return json.loads(record) if isinstance(record, str) else record
    except (ValueError, RecursionError):
        return record


DEPTH = 24  # levels of nesting that are drawn as a tree; deeper values stand on one line


def tree(value: Json, depth: int = 0) -> Iterator[str]:
    """JSON data as indented lines; texts of several lines stand as they are, so that a person can read them."""
    margin = "  " * depth
    if isinstance(value, str) and "\n" in value:
        yield from (f"{margin}{line}" for line in value.replace("\r\n", "\n").split("\n"))
    elif not isinstance(value, dict | list) or not value or depth >= DEPTH:
        yield margin + _scalar(value)
    else:
        members = value.items() if isinstance(value, dict) else ((f"[{number}]", one) for number, one in enumerate(value))
        for name, one in members:
            if (isinstance(one, dict | list) and one) or (isinstance(one, str) and "\n" in one):
                yield f"{margin}{name}:"
                yield from tree(one, depth + 1)
            else:
                yield f"{margin}{name}: {_scalar(one)}"


def _scalar(value: Json) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError, ValueError):
        return "(nested too deeply to show)"


def refusal_line(error: Refusal) -> str:
    """A refusal in one line."""
    return f"cannot be converted: {error.sentence} ({error.code})"
