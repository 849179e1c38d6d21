"""Mistral's chat templates beside Mistral's own encoder, mistral-common: the same ids, but for results that are no JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.native import resolve
from agenttune.data.render import prompt_ids, text
from agenttune.protocols.base import write
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Observation, Step, ToolCall, Trajectory
from tests.benchmarks.peers import environment
from tests.conversations import TOOLS, answer, chat
from tests.real_tokenizers import PACKAGES, pair

PEER = ["--no-deps", PACKAGES["mistral_v3"][1], "tiktoken==0.12.0", "pydantic-extra-types", "pycountry"]


def called(*pairs: tuple[str, str]) -> Step:
    """Calls of one step, each with what it gave."""
    calls = tuple(ToolCall(name="weather", arguments={"city": city}, id=f"abcdefg{at:02}") for at, (city, _) in enumerate(pairs))
    seen = tuple(Observation(text=text, call_id=call.id) for call, (_, text) in zip(calls, pairs, strict=True))
    return Step(calls=calls, observations=seen)


# Conversations that wait for an answer. Mistral's encoder writes a result that is no JSON as a JSON text, its chat templates as it is.
CASES: dict[str, Trajectory] = {
    "a question": chat(("Rain?", ()), system="", tools=()),
    "a system text": chat(("Rain?", ()), tools=()),
    "a second question": chat(("Rain?", (answer("No."),)), ("Sure?", ()), system="", tools=()),
    "tools": chat(("Rain?", ()), system=""),
    "a result": chat(("Rain?", (called(("Ulm", '{"sky": "grey"}')),)), system=""),
    "two results": chat(("Rain?", (called(("Ulm", "1"), ("Hof", "2")),)), system=""),
    "a second call": chat(("Rain?", (called(("Ulm", "1")), called(("Hof", "2")))), system=""),
    "a result in words": chat(("Rain?", (called(("Ulm", "rain")),)), system=""),
}
OTHERWISE = ("a result in words",)


def messages(trajectory: Trajectory) -> list[dict[str, Any]]:
    """The conversation in OpenAI's form."""
    found: list[dict[str, Any]] = [{"role": "system", "content": trajectory.system}] if trajectory.system else []
    for one in trajectory.rounds:
        found.append({"role": "user", "content": one.user})
        for step in one.steps:
            calls = [call for call in step.calls if isinstance(call, ToolCall)]
            functions = [{"name": call.name, "arguments": json.dumps(dict(call.arguments))} for call in calls]
            made: dict[str, Any] = {"role": "assistant", "content": step.answer or ""}
            if calls:
                made["tool_calls"] = [
                    {"id": call.id, "type": "function", "function": one} for call, one in zip(calls, functions, strict=True)
                ]
            found.append(made)
            found += [{"role": "tool", "tool_call_id": seen.call_id, "name": "weather", "content": seen.text} for seen in step.observations]
    return found


def theirs(python: str, tekken: bool) -> list[dict[str, Any]]:
    """Mistral's ids and text of each case."""
    tools = [
        {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}
        for tool in TOOLS
    ]
    given = [{"tekken": tekken, "messages": messages(one), "tools": tools if one.tools else []} for one in CASES.values()]
    lines = "".join(json.dumps(one) + "\n" for one in given)
    script = str(Path(__file__).with_name("mistral_cases.py"))
    done = subprocess.run([python, script], input=lines, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked(trajectory: Trajectory, protocol: str) -> Sample:
    """The conversation as a sample that waits for an output."""
    made = write(trajectory, protocols.get(protocol))
    return made if not made.turns[-1].output else Sample(protocol=protocol, tools=made.tools, turns=(*made.turns, Turn()))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tekken"), [("mistral_v3", False), ("mistral_nemo", True)])
def test_the_template_writes_what_mistrals_own_encoder_does(kind: str, tekken: bool) -> None:
    tokenizer: Tokenizer | None = pair(kind)
    python = environment("mistral", PEER, above_ours=True)
    if tokenizer is None or python is None:
        pytest.skip("no package index can be reached")
    template = templates.load("auto", tokenizer)
    protocol = resolve("native", template)
    same = 0
    differ = []
    for (name, trajectory), truth in zip(CASES.items(), theirs(python, tekken), strict=True):
        sample = asked(trajectory, protocol)
        ours = prompt_ids(sample, template, tokenizer)
        special = tokenizer.special_ids
        assert [one for one in ours if one in special] == [one for one in truth["ids"] if one in special], name
        if tokenizer.encode(text(sample, template), special=True) != truth["ids"]:
            differ.append(name)
        same += ours == truth["ids"]
    print(f"{kind}: {len(CASES) - len(differ)} of {len(CASES)} prompts are Mistral's own, {same} to the last id by pieces")
    assert tuple(differ) == OTHERWISE
