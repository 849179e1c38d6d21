"""The front door before a server elsewhere: our own by token ids, and one that knows messages alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agenttune import models
from agenttune.errors import UserError
from agenttune.models.remote.by_ids import RemoteModel
from agenttune.models.remote.server import Server
from agenttune.models.scripted import ByteTokenizer
from agenttune.serving.app import make_app
from agenttune.serving.backends.engine import EngineOptions
from agenttune.serving.options import ServeOptions
from agenttune.serving.served import Served
from agenttune.serving.upstream import upstream_models
from agenttune.values.tokens import SamplingParams
from tests.serving.conftest import Client, running
from tests.serving.message_server import Plain
from tests.serving.test_app import ASKED, CALL, FORCED, ONLY, TOOLS, joined

Make = Callable[..., Client]
BAD = 'Thought: I add.\nAction: add\nAction Input: {"a": "two"}'
LENIENT = "Thought: I add.\nAction: add\nAction Input: {'a': 2,}"


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Client, list[str]]]]:
    """``front(address, **fields of ServeOptions)`` is (a `Client` of our front door before that server, what was said at the start)."""
    monkeypatch.setattr(models, "load_tokenizer", lambda name: ByteTokenizer())
    with running() as serve:

        def start(address: str, **fields: Any) -> tuple[Client, list[str]]:
            said: list[str] = []
            served = upstream_models(ServeOptions(model="base", upstream=address, **fields), said.append)
            return serve(make_app(Served(models=served)), [one.engine for one in served]), said

        yield start


def test_before_our_own_server_the_same_ids_are_asked_and_the_same_is_answered(serving: Make, front: Any) -> None:
    prompts: list[str] = []

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return CALL if "Observation" not in prompt.split("2 + 2?")[-1] else "Thought: Known.\nFinal Answer: Four."

    behind = serving(reply)
    client, said = front(f"http://127.0.0.1:{behind.port}/v1")
    assert said[0].endswith("is asked by token ids") and not any("parity" in one for one in said)
    prompts.clear()  # the question whether it takes ids
    _, near = behind.chat(messages=ASKED, tools=TOOLS)
    _, far = client.chat(messages=ASKED, tools=TOOLS)
    assert "parity" not in far
    assert far["choices"][0]["message"]["tool_calls"][0]["function"] == near["choices"][0]["message"]["tool_calls"][0]["function"]
    assert far["usage"]["completion_tokens"] == near["usage"]["completion_tokens"] == len(CALL)
    call = far["choices"][0]["message"]
    answered = [*ASKED, call, {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "4"}]
    _, events = client.chat(messages=answered, tools=TOOLS, stream=True)
    assert joined(events)["content"] == "Four."
    assert len(set(prompts)) == 2 and prompts[0] == prompts[1], "the upstream was given the prompt that it would have made itself"
    assert 'agenttune_parity{model="base"} 1.0' in client.send("GET", "/metrics")[1]


def test_a_call_is_held_to_its_grammar_where_the_upstream_holds_nothing(serving: Make, front: Any) -> None:
    client, _ = front(f"http://127.0.0.1:{serving(lambda prompt: 'ZZZZ').port}")
    _, events = client.chat(messages=ASKED, tools=FORCED, tool_choice={"type": "function", "function": {"name": "sub"}}, stream=True)
    assert [(one["name"], one["arguments"]) for one in joined(events)["tool_calls"].values()] == [("sub", '{"a": 2}')]
    _, raw = client.send("POST", "/v1/completions", {"prompt": [97, 98], "max_tokens": 3, "return_token_ids": True})
    assert raw["choices"][0]["token_ids"] == [90, 90, 90]


def test_before_a_server_of_messages_replies_are_read_checked_and_asked_for_again(plain: tuple[str, type[Plain]], front: Any) -> None:
    address, server = plain
    client, said = front(address)
    assert "parity not guaranteed" in said[1]
    server.replies += [LENIENT]
    _, found = client.chat(messages=ASKED, tools=TOOLS)
    assert found["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 2}'}, "read leniently"
    assert (found["parity"], found["usage"]) == ("not guaranteed", None)
    server.replies += ["I cannot.", BAD.replace('"a": "two"', '"b": 3'), CALL]
    _, events = client.chat(messages=ASKED, tools=FORCED, tool_choice="required", stream=True, seed=5)
    (call,) = joined(events)["tool_calls"].values()
    assert (call["name"], json.loads(call["arguments"])) == ("add", {"a": 2})
    assert all(one["parity"] == "not guaranteed" for one in events)
    asked = [(body["seed"], body["temperature"]) for body in server.asked[1:]]
    assert asked == [(5, 0.0), (6, 0.7), (7, 0.7)], "a greedy server would say the same again"
    text = client.send("GET", "/metrics")[1]
    assert 'agenttune_retried_total{model="base"} 2.0' in text and 'agenttune_parity{model="base"} 0.0' in text
    assert client.send("GET", "/v1/models")[1]["data"][0]["parity"] == "not guaranteed"


def test_a_server_that_never_fits_is_an_error_and_one_that_counts_is_believed(plain: tuple[str, type[Plain]], front: Any) -> None:
    address, server = plain
    client, _ = front(address)
    server.replies += ["no"] * 3
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": ONLY}}
    status, found = client.chat(messages=ASKED, response_format=form)
    assert (status, found["error"]["code"]) == (502, "upstream_unfit")
    assert found["error"]["message"] == "the upstream gave 3 times an answer that is no JSON"
    server.usage = {"prompt_tokens": 31, "completion_tokens": 7}
    server.replies += ["Final Answer: Hi."]
    _, found = client.chat(messages=ASKED)
    assert (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]) == (31, 7)
    assert client.send("POST", "/v1/completions", {"prompt": "ab"})[0] == 400
    assert client.send("POST", "/tokenize", {"messages": ASKED})[0] == 400


def test_the_constraint_goes_along_and_is_left_away_where_it_is_refused(plain: tuple[str, type[Plain]], front: Any) -> None:
    address, server = plain
    client, _ = front(address)
    server.replies += [CALL]
    client.chat(messages=ASKED, tools=TOOLS)
    sent = server.asked[-1]["response_format"]
    assert sent["type"] == "structural_tag" and "Action: add\\nAction Input: " in json.dumps(sent)
    server.refuses = "response_format"
    server.replies += [CALL, CALL]
    for _ in range(2):
        assert client.chat(messages=ASKED, tools=TOOLS)[1]["choices"][0]["finish_reason"] == "tool_calls"
    assert ["response_format" in body for body in server.asked[1:]] == [True, False, False], "asked once with it, then never again"


def test_what_an_upstream_refuses_is_told_with_its_status(serving: Make, front: Any) -> None:
    behind = serving(lambda prompt: "word " * 200_000, options=EngineOptions(batch=1, waiting=0), most_tokens=10_000_000)
    client, _ = front(f"http://127.0.0.1:{behind.port}")
    endless = RemoteModel(Server(f"http://127.0.0.1:{behind.port}"), "desk", ByteTokenizer(), vocabulary=258, context=100)
    endless.sample_with(SamplingParams(max_new_tokens=1_000_000))
    stream = endless.tokens([97])
    next(stream)
    status, found = client.chat(messages=ASKED)
    assert (status, found["error"]["code"]) == (429, "upstream_error")
    assert "the queue is full" in found["error"]["message"]
    stream.close()  # type: ignore[attr-defined]


def test_what_a_person_must_change_is_one_sentence(plain: tuple[str, type[Plain]], front: Any, tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"no server answers at http://127\.0\.0\.1:9"):
        front("http://127.0.0.1:9")
    with pytest.raises(UserError, match="the server has no model desk; it serves plain"):
        (tmp_path / "agenttune.json").write_text(
            json.dumps({"base": "b", "base_fingerprint": "", "protocol": "react", "template": "auto", "method": "lora"})
        )
        front(plain[0], adapters=(f"desk={tmp_path}",))
    with pytest.raises(UserError, match=r"has no card of ours \(agenttune.json\), so nobody knows how desk was trained"):
        front(plain[0], adapters=(f"desk={tmp_path / 'none'}",))
    with pytest.raises(UserError, match="--bits loads a model here"):
        ServeOptions(model="base", upstream="http://x", bits=4).check()
    with pytest.raises(UserError, match="--upstream-model names a model of the server"):
        ServeOptions(model="base", upstream_model="x").check()
