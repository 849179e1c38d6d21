"""Clients that vanish, do not read, or send what no client should: the server goes on for the others."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agenttune.models.scripted import ScriptedModel
from agenttune.serving.backends.engine import EngineOptions
from tests.processes import within
from tests.serving.test_app import ASKED

Make = Callable[..., Any]
LONG = "Final Answer: " + "word " * 200_000


@contextlib.contextmanager
def opened(client: Any, **body: Any) -> Iterator[None]:
    """A stream that has begun, and is read no further; it is hung up with the block."""
    line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    whole = {"messages": ASKED, "stream": True, "max_tokens": 100_000, **body}
    line.request("POST", "/v1/chat/completions", json.dumps(whole), {"Content-Type": "application/json"})
    answer = line.getresponse()
    assert answer.status == 200 and answer.readline()
    yield
    answer.close()
    line.close()


def test_one_that_does_not_read_and_one_that_vanishes_hold_nobody_up(serving: Make) -> None:
    def reply(prompt: str) -> str:
        return LONG if "endless" in prompt else "Final Answer: Four."

    client = serving(reply, options=EngineOptions(batch=4, waiting=4), most_tokens=100_000)
    endless = [{"role": "user", "content": "endless"}]
    with opened(client, messages=endless):
        with opened(client, messages=endless):
            pass
        for _ in range(5):
            assert client.chat(messages=ASKED)[1]["choices"][0]["message"]["content"] == "Four."
        assert within(lambda: client.engine.counts.cancelled == 1, 30), "one that vanished is no longer decoded"
        assert client.send("GET", "/health")[0] == 200
    assert within(lambda: client.send("GET", "/health")[1]["running"] == 0, 60)


def test_ten_megabytes_of_a_prompt_are_refused_before_they_are_read(serving: Make) -> None:
    client = serving(ScriptedModel(lambda prompt: "Final Answer: Four.", context=4096))
    huge = "word " * 2_000_000
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": huge}]}),
        ("/v1/completions", {"prompt": huge}),
        ("/tokenize", {"prompt": huge}),
    ):
        status, found = client.send("POST", path, body)
        assert (status, found["error"]["code"]) == (400, "context_length_exceeded")
    assert client.engine.counts.requests == 0
    assert client.chat(messages=ASKED)[0] == 200


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b'{"messages": "\xc3\x28"}', b"[" * 200_000, b'{"a":' * 200_000, b"", b"NaN", b'"' + b"x" * 100, b"{}{}"]
)
def test_what_is_no_request_is_refused_in_one_sentence(body: bytes, serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: Four.")
    status, found = client.send("POST", "/v1/chat/completions", body)
    assert status == 400 and len(found["error"]["message"]) < 300
    assert client.chat(messages=ASKED)[0] == 200


def test_deep_json_inside_a_request_is_refused_or_read_and_never_a_fault(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: Four.")
    deep: Any = {"type": "string"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    tool = {"type": "function", "function": {"name": "deep", "parameters": deep}}
    assert client.chat(messages=ASKED, tools=[tool])[0] in (200, 400)
    arguments = '{"a": ' * 900 + "1" + "}" * 900
    call = {"id": "c1", "type": "function", "function": {"name": "deep", "arguments": arguments}}
    said = [*ASKED, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]
    assert client.chat(messages=said)[0] in (200, 400)
    assert client.chat(messages=ASKED)[0] == 200


def test_half_a_request_and_bytes_that_are_no_http_hold_nobody_up(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: Four.")
    with socket.create_connection(("127.0.0.1", client.port)) as half, socket.create_connection(("127.0.0.1", client.port)) as noise:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        half.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        noise.sendall(bytes(range(256)) * 40)
        assert client.chat(messages=ASKED)[0] == 200
    assert client.chat(messages=ASKED)[0] == 200
