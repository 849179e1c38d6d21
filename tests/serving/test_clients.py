"""A client that no one here wrote, against a server that was started as a person starts it."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.peers import environment
from tests.real_tokenizers import TRL, fetched
from tests.serving.started import started

# What a client is used for. It prints one JSON object; the assertions stand in the test.
CHECKS = """
import json, sys
from openai import APIStatusError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="any", max_retries=0)
model = client.models.list().data[0].id
parameters = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
tools = [{"type": "function", "function": {"name": "weather", "description": "The weather of a town.", "parameters": parameters}}]
messages = [{"role": "user", "content": "Say hello."}]
asked = {"model": model, "messages": messages, "tools": tools, "max_tokens": 24, "seed": 1, "store": False}
plain = client.chat.completions.create(**asked)
with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
    for _ in stream:
        pass
    streamed = stream.get_final_completion()
raw = client.completions.create(model=model, prompt="The capital of France is", max_tokens=4, extra_body={"top_k": 5})
call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
made = {"role": "assistant", "content": None, "tool_calls": [call]}
turns = [*messages, made, {"role": "tool", "tool_call_id": "call_1", "content": "7 °C"}]
after = client.chat.completions.create(model=model, messages=turns, tools=tools, max_tokens=8)
refused = {}
for name, wrong in (("model", {"model": "other"}), ("length", {"messages": [{"role": "user", "content": "word " * 40_000}]})):
    try:
        client.chat.completions.create(**{**asked, **wrong})
    except APIStatusError as error:
        refused[name] = [error.status_code, error.code]
print(json.dumps({
    "plain": plain.choices[0].message.content, "streamed": streamed.choices[0].message.content,
    "finish": [plain.choices[0].finish_reason, streamed.choices[0].finish_reason],
    "usage": plain.usage.model_dump(), "again": streamed.usage.model_dump(), "raw": raw.choices[0].text,
    "after": after.usage.prompt_tokens, "refused": refused,
}))
"""


NATIVE = """
import json, sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="any", max_retries=0)
model = client.models.list().data[0].id
parameters = {"type": "object", "properties": {"town": {"enum": ["Oslo", "Rome"]}}, "required": ["town"]}
tools = [{"type": "function", "function": {"name": "weather", "description": "The weather of a town.", "parameters": parameters}}]
messages = [{"role": "user", "content": "Hi."}]
asked = {"model": model, "tools": tools, "max_tokens": 300, "temperature": 0}
call = client.chat.completions.create(messages=messages, tool_choice="required", parallel_tool_calls=False, **asked).choices[0].message
with client.chat.completions.stream(messages=messages, tool_choice="required", **asked) as stream:
    for _ in stream:
        pass
    streamed = stream.get_final_completion().choices[0].message
turns = [*messages, call, {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "7 degrees"}]
after = client.chat.completions.create(messages=turns, tool_choice="none", model=model, max_tokens=4)
print(json.dumps({
    "calls": [[one.function.name, json.loads(one.function.arguments)] for one in call.tool_calls],
    "streamed": [one.function.name for one in streamed.tool_calls], "after": after.choices[0].message.content,
    "tokens": after.usage.prompt_tokens,
}))
"""


@pytest.fixture(scope="module")
def server(smollm2: str) -> Iterator[str]:
    """The address of ``agenttune serve`` with the embedded model; ended by SIGTERM, which it must obey in time."""
    with started(smollm2, "--protocol", "hermes") as found:
        yield found.base


def said(script: str, base: str, tmp_path: Path) -> dict[str, Any]:
    """What a script with the openai SDK in an environment of its own prints, which is JSON."""
    python = environment("openai", ["openai==3.57.0"])
    if python is None:
        pytest.skip("no package index can be reached")
    file = tmp_path / "checks.py"
    file.write_text(textwrap.dedent(script))
    done = subprocess.run([python, str(file), base], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_openai_sdk(server: str, tmp_path: Path) -> None:
    found = said(CHECKS, server, tmp_path)
    assert found["plain"] and found["streamed"] == found["plain"]
    assert found["finish"][0] == found["finish"][1]
    used, again = found["usage"], found["again"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    assert again["prompt_tokens_details"]["cached_tokens"] == again["prompt_tokens"] - 1
    assert "Paris" in found["raw"]
    assert found["after"] > used["prompt_tokens"]
    assert found["refused"] == {"model": [404, "model_not_found"], "length": [400, "context_length_exceeded"]}


@pytest.mark.slow
def test_the_openai_sdk_speaks_to_a_native_model(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """``--protocol native`` on a chat template that calls tools in its own words, which are plain text to a client."""
    trl = fetched("trl")
    if trl is None:
        pytest.skip("no package index can be reached")
    template = (trl / TRL / "qwen2_5.jinja").read_text(encoding="utf-8")
    with started(str(tiny_checkpoint(template)), "--protocol", "native") as server:
        assert any("native/hermes" in line for line in server.lines), server.lines
        found = said(NATIVE, server.base, tmp_path)
    ((name, arguments),) = found["calls"]
    assert name == "weather" and arguments["town"] in ("Oslo", "Rome")
    assert set(found["streamed"]) == {"weather"} and isinstance(found["after"], str)
