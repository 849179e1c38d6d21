"""A client that no one here wrote, against a server that was started as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agenttune.cli import main
from tests.benchmarks.peers import environment

ROOT = Path(__file__).resolve().parents[2]
READY = 120.0  # seconds

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


@pytest.fixture(scope="module")
def server(smollm2: str) -> Iterator[str]:
    """The address of ``agenttune serve`` with the embedded model; ended by SIGTERM, which it must obey in time."""
    command = [sys.executable, "-m", "agenttune", "serve", smollm2, "--protocol", "hermes", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    lines: list[str] = []
    while "listening on " not in (lines[-1] if lines else ""):
        lines.append(process.stderr.readline())
        assert lines[-1], f"the server ended: {lines}"
    yield lines[-1].split("listening on ")[1].split(";")[0]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=READY)
    assert process.returncode in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_the_openai_sdk(server: str, tmp_path: Path) -> None:
    python = environment("openai", ["openai==3.57.0"])
    if python is None:
        pytest.skip("no package index can be reached")
    script = tmp_path / "checks.py"
    script.write_text(textwrap.dedent(CHECKS))
    done = subprocess.run([python, str(script), server], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["plain"] and found["streamed"] == found["plain"]
    assert found["finish"][0] == found["finish"][1]
    used, again = found["usage"], found["again"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    assert again["prompt_tokens_details"]["cached_tokens"] == again["prompt_tokens"] - 1
    assert "Paris" in found["raw"]
    assert found["after"] > used["prompt_tokens"]
    assert found["refused"] == {"model": [404, "model_not_found"], "length": [400, "context_length_exceeded"]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached by others: give --api-key, or listen on 127.0.0.1"),
        (["--adapter", "=x"], "--adapter takes NAME=DIR, not '=x'"),
        (["--adapter", "a=x", "--adapter", "a=y"], 'two adapters are named "a"'),
        (["--batch", "0"], "--batch and --max-new-tokens must be 1 or more"),
        (["--host", "203.0.113.1", "--api-key", "k"], "cannot listen on 203.0.113.1:8000"),
    ],
)
def test_what_a_person_must_change_is_one_sentence(options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_said_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "nowhere", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util

    find: Callable[[str], object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert main(["serve", "nowhere"]) == 2
    assert "serving needs uvicorn: pip install agenttune[serve]" in capsys.readouterr().err
