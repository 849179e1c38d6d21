"""Trajectories as raw MSAgent-Bench records: think/exec text, and the plugin list in its four shapes."""

from __future__ import annotations

import json
import random
from typing import Any

from agenttune.values.trajectory import ToolCall, ToolSpec, Trajectory

HOST = "http://desk.example/api/"


def record(trajectory: Trajectory, system: str, id: str, *, answered: bool = True) -> dict[str, Any]:
    """One record: system, user, and the whole of the assistant's work in one value, with or without its answer."""
    (turn,) = trajectory.rounds
    shape_a = '"plugin_name"' in system
    parts = []
    for step in turn.steps:
        if step.answer is not None:
            if answered:
                parts.append(f"Thought: {step.thought}\nFinal Answer: {step.answer}" if step.thought else step.answer)
            continue
        (call,), (seen,) = step.calls, step.observations
        assert isinstance(call, ToolCall)
        url = {"url": HOST + call.name} if shape_a else {}
        think = json.dumps({"api_name": call.name, **url, "parameters": dict(call.arguments)}, ensure_ascii=False)
        result = seen.text if seen.error else f"```JSON\n{seen.text}\n```"
        parts.append(f"{step.thought}<|startofthink|>```JSON\n{think}\n```<|endofthink|>\n\n<|startofexec|>{result}<|endofexec|>\n")
    messages = (("system", system), ("user", turn.user), ("assistant", "".join(parts)))
    return {"id": id, "conversations": [{"from": who, "value": text} for who, text in messages]}


def system_value(text: str, tools: tuple[ToolSpec, ...], shape: str, rng: random.Random) -> str:
    """The system value: the text, then a numbered list of plugins. Shape D also holds a dialogue that has no business there."""
    spoiled = shape in "CD" and rng.random() < 0.3
    items = []
    for number, tool in enumerate(tools, 1):
        item = json.dumps(_item(tool, shape), ensure_ascii=False)
        if spoiled:
            item += rng.choice(("]}", "}", "]}]}"))
        items.append(f"{number}. {item}")
    value = f"{text}\n" + "\n\n".join(items)
    return value + _dialogue(rng) if shape == "D" else value


def _item(tool: ToolSpec, shape: str) -> dict[str, Any]:
    properties, required = tool.parameters["properties"], tool.parameters.get("required", [])
    typed = shape in "CD"
    entries = [
        {
            "name": name,
            "description": schema.get("description", ""),
            "required": str(name in required) if shape in "AB" else name in required,
            **({"type": schema["type"]} if typed else {}),
        }
        for name, schema in properties.items()
    ]
    if typed:
        return {"name": tool.name, "description": tool.description, "parameters": entries}
    path = {"name": tool.name, "model_id": "", "method": "post", "description": tool.description, "parameters": entries}
    inner = {"name": tool.name, "description": tool.description, "url": HOST + tool.name, "paths": [path]}
    if shape == "B":
        return inner
    return {"plugin_name": tool.name, "plugin_owner": "Desk", "plugin_type": "default", "plugin_schema_for_model": inner}


def _dialogue(rng: random.Random) -> str:
    said = rng.choice((("Hello!", "Hello! What can I do for you?"), ("Are you there?", "Yes, I am."), ("你好", "你好！")))
    return f"\n\n<|user|>:{said[0]}\n\n<|assistant|>:{said[1]}\n\n</s>"
