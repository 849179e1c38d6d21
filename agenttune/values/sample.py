"""A sample: a trajectory written under one protocol, as turns of system, input, output. One JSON object a line on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json, JsonObject, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What enters (`system`, `input`; either may be empty) and what the model must say. `weight` 0: context only.

    `output` is empty in a last turn that nobody answered.
    """

    system: str = ""
    input: str = ""
    output: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Turns under a protocol, the tools they may call, and where they came from (`meta`: source, line, group).

    A question, a call, what the tool answered (the `system` of the next turn under ``react``), and the answer:

    >>> call = 'Thought: I look.\\nAction: weather\\nAction Input: {"city": "Berlin"}'
    >>> sample = Sample(
    ...     id="7",
    ...     protocol="react",
    ...     turns=(
    ...         Turn(system="Tools: ...", input="Weather in Berlin?", output=call),
    ...         Turn(system="Observation: clear", output="Final Answer: It is clear."),
    ...     ),
    ... )
    >>> sample_to_json(sample)["conversation"][1]
    {'system': 'Observation: clear', 'input': '', 'output': 'Final Answer: It is clear.'}
    >>> sample_from_json(sample_to_json(sample)) == sample
    True
    """

    id: str = ""
    protocol: str = "react"
    tools: tuple[ToolSpec, ...] = ()
    turns: tuple[Turn, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def tool_to_json(tool: ToolSpec) -> dict[str, Json]:
    """``{"name", "description", "parameters"}``."""
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def tool_from_json(value: JsonObject) -> ToolSpec:
    """The inverse of `tool_to_json`; an OpenAI ``{"type": "function", "function": {…}}`` wrapper is opened. Raises `Refusal`."""
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        raise Refusal("tool", "a tool needs a name", str(value))
    parameters = value.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise Refusal("tool", f'the parameters of tool "{value["name"]}" are not a JSON Schema object', str(value))
    return ToolSpec(name=value["name"], description=str(value.get("description") or ""), parameters=parameters)


def sample_to_json(sample: Sample, *, tools: Json = None) -> dict[str, Json]:
    """The normalised format: ``{"id", "protocol", "tools", "conversation": [{"system", "input", "output"[, "weight"]}], "meta"}``.

    `tools` stands in the place of the list of tools where that is at hand in its final form.
    """
    conversation = []
    for turn in sample.turns:
        row: dict[str, Json] = {"system": turn.system, "input": turn.input, "output": turn.output}
        if turn.weight != 1.0:
            row["weight"] = turn.weight
        conversation.append(row)
    return {
        "id": sample.id,
        "protocol": sample.protocol,
        "tools": [tool_to_json(tool) for tool in sample.tools] if tools is None else tools,
        "conversation": conversation,
        "meta": dict(sample.meta),
    }


def sample_from_json(value: JsonObject) -> Sample:
    """The inverse of `sample_to_json`; missing optional keys take their defaults. Raises `Refusal` on anything else."""
    if not isinstance(value, Mapping) or not isinstance(value.get("conversation"), list) or not value["conversation"]:
        raise Refusal("sample", 'a sample needs a non-empty list "conversation"', str(value))
    turns = []
    for number, row in enumerate(value["conversation"], 1):
        if not isinstance(row, Mapping):
            raise Refusal("sample", f"turn {number} of the conversation is not an object", str(row))
        if not any(key in row for key in ("system", "input", "output")):
            raise Refusal("sample", f"turn {number} of the conversation has none of system, input and output", str(row))
        texts = {key: row.get(key) or "" for key in ("system", "input", "output")}
        weight = row.get("weight", 1.0)
        if not all(isinstance(text, str) for text in texts.values()):
            raise Refusal("sample", f"system, input and output of turn {number} must be text", str(row))
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise Refusal("sample", f"the weight of turn {number} must be a number of 0 or more", str(row))
        turns.append(Turn(**texts, weight=float(weight)))
    tools = value.get("tools") or []
    meta = value.get("meta") or {}
    if not isinstance(tools, list) or not isinstance(meta, Mapping):
        raise Refusal("sample", '"tools" must be a list and "meta" an object', str(value))
    return Sample(
        id=str(value.get("id") or ""),
        protocol=str(value.get("protocol") or "react"),
        tools=tuple(tool_from_json(tool) for tool in tools),
        turns=tuple(turns),
        meta=dict(meta),
    )
