"""The server as a client meets it: replies, streams, refusals, and what the model was given."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from agenttune import templates
from agenttune.data.render import render
from agenttune.models.scripted import ByteTokenizer, ScriptedModel
from agenttune.protocols.base import write
from agenttune.protocols.react import REACT
from agenttune.serving.backends.engine import EngineOptions
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory
from tests.conftest import CHATML

Make = Callable[..., Any]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}},
    }
]
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
CALL = 'Thought: I add.\nAction: add\nAction Input: {"a": 2}'


def joined(events: list[Any], index: int = 0) -> dict[str, Any]:
    """The message that a client puts together of its chunks."""
    made: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": {}, "finish": []}
    for event in events:
        for choice in event["choices"]:
            if choice["index"] != index:
                continue
            delta = choice["delta"]
            for key in ("content", "reasoning_content"):
                made[key] += delta.get(key) or ""
            for call in delta.get("tool_calls", []):
                one = made["tool_calls"].setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
                one["id"] += call.get("id", "")
                one["name"] += call["function"].get("name", "")
                one["arguments"] += call["function"].get("arguments", "")
            if choice["finish_reason"]:
                made["finish"].append(choice["finish_reason"])
    return made


def test_a_call_and_then_the_answer(serving: Make) -> None:
    prompts = []

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return CALL if "Observation" not in prompt.split("What is 2 + 2?")[1] else "Thought: Known.\nFinal Answer: Four."

    client = serving(reply)
    status, first = client.chat(model="desk", messages=ASKED, tools=TOOLS)
    assert status == 200
    message = first["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (None, "I add.")
    call = message["tool_calls"][0]
    assert (call["function"], call["type"]) == ({"name": "add", "arguments": '{"a": 2}'}, "function")
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    status, second = client.chat(
        messages=[*ASKED, message, {"role": "tool", "tool_call_id": call["id"], "content": "4"}], tools=TOOLS, model="desk"
    )
    answer = second["choices"][0]["message"]
    assert (answer["content"], answer["reasoning_content"]) == ("Four.", "Known.")
    assert second["choices"][0]["finish_reason"] == "stop"
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > first["usage"]["prompt_tokens"]
    spec = ToolSpec(name="add", description="Adds.", parameters=TOOLS[0]["function"]["parameters"])
    step = Step(thought="I add.", calls=(ToolCall(name="add", arguments={"a": 2}),), observations=(Observation(text="4"),))
    steps = (step, Step(thought="Known.", answer="Four."))
    whole = Trajectory(system="Be brief.", tools=(spec,), rounds=(Round(user="What is 2 + 2?", steps=steps),))
    tokenizer = ScriptedModel([]).tokenizer
    (rendered,) = render(write(whole, REACT), templates.load("auto", tokenizer), tokenizer)
    trained = [tokenizer.decode(rendered.token_ids[:end]) for end in rendered.prompt_ends]
    assert prompts == trained, "what is served is what would be trained"


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_a_stream_says_what_the_whole_reply_says(protocol: str, serving: Make) -> None:
    from agenttune import protocols

    texts = [
        protocols.get(protocol).write_step(Step(thought="I add it.", calls=(ToolCall(name="add", arguments={"a": 2.5}),))),
        protocols.get(protocol).write_step(Step(answer="It is four.\n\nReally.")),
        "no marker, a plain text",
    ]
    for text in texts:
        client = serving(lambda prompt, text=text: text, protocol=protocol)
        _, whole = client.chat(messages=ASKED, tools=TOOLS)
        status, events = client.chat(messages=ASKED, tools=TOOLS, stream=True, stream_options={"include_usage": True})
        assert status == 200
        message, made = whole["choices"][0]["message"], joined(events)
        assert made["content"] == (message["content"] or "")
        assert [one["name"] for one in made["tool_calls"].values()] == [one["function"]["name"] for one in message.get("tool_calls", [])]
        assert all(json.loads(one["arguments"]) == {"a": 2.5} and one["id"] for one in made["tool_calls"].values())
        assert made["finish"] == [whole["choices"][0]["finish_reason"]]
        assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
        assert all("usage" not in event or event["usage"] is None for event in events[:-1])


ONLY = {"type": "object", "properties": {"a": {"enum": [2]}}, "required": ["a"], "additionalProperties": False}
FORCED = [{"type": "function", "function": {"name": name, "description": "x", "parameters": ONLY}} for name in ("add", "sub")]


@pytest.mark.parametrize("protocol", ["react", "hermes"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "sub"}}])
def test_a_required_call_comes_whatever_the_model_would_say(protocol: str, choice: Any, serving: Make) -> None:
    client = serving(lambda prompt: "ZZZZZZZZ", protocol=protocol)
    for stream in (False, True):
        _, found = client.chat(messages=ASKED, tools=FORCED, tool_choice=choice, stream=stream)
        calls = found["choices"][0]["message"]["tool_calls"] if not stream else list(joined(found)["tool_calls"].values())
        (call,) = calls if stream else [one["function"] for one in calls]
        assert (call["name"], call["arguments"]) == ("add" if choice == "required" else "sub", '{"a": 2}')


def test_an_answer_has_the_form_that_was_asked_for(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: no")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": ONLY}}
    _, found = client.chat(messages=ASKED, response_format=form)
    assert json.loads(found["choices"][0]["message"]["content"]) == {"a": 2}
    assert client.chat(messages=ASKED, response_format={"type": "xml"})[0] == 400


def test_arguments_are_streamed_as_they_are_written(serving: Make) -> None:
    client = serving(lambda prompt: CALL)
    _, events = client.chat(messages=ASKED, tools=TOOLS, stream=True)
    fragments = [call for event in events for choice in event["choices"] for call in choice["delta"].get("tool_calls", [])]
    assert len(fragments) > 3 and all(one["index"] == 0 for one in fragments)
    assert "".join(one["function"]["arguments"] for one in fragments) == '{"a": 2}'
    assert [one["function"]["name"] for one in fragments if "name" in one["function"]] == ["add"]


def test_a_call_that_is_cut_is_no_call(serving: Make) -> None:
    client = serving(lambda prompt: CALL)
    _, found = client.chat(messages=ASKED, tools=TOOLS, max_tokens=len(CALL) - 3)
    assert found["choices"][0]["finish_reason"] == "length"
    assert "tool_calls" not in found["choices"][0]["message"]


BLOCK = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'


@pytest.mark.parametrize(("cut", "calls"), [(len(BLOCK) - 3, 0), (len(BLOCK) + 1, 1), (2 * len(BLOCK) - 8, 1), (2 * len(BLOCK) + 1, 2)])
def test_calls_that_were_whole_before_the_cut_are_calls(cut: int, calls: int, serving: Make) -> None:
    client = serving(lambda prompt: f"{BLOCK}\n" * 9, protocol="hermes")
    _, found = client.chat(messages=ASKED, tools=TOOLS, max_tokens=cut)
    choice = found["choices"][0]
    assert (choice["finish_reason"], len(choice["message"].get("tool_calls", []))) == ("length", calls)
    _, events = client.chat(messages=ASKED, tools=TOOLS, max_tokens=cut, stream=True)
    assert (joined(events)["finish"], len(joined(events)["tool_calls"])) == (["length"], max(calls, 1))
    assert not (calls and joined(events)["content"])


def test_one_call_at_a_time_ends_with_it(serving: Make) -> None:
    client = serving(lambda prompt: f"{BLOCK}\n" * 9, protocol="hermes")
    named = {"type": "function", "function": {"name": "add"}}
    for more in ({"parallel_tool_calls": False}, {"tool_choice": named}):
        _, found = client.chat(messages=ASKED, tools=TOOLS, **more)
        assert found["choices"][0]["finish_reason"] == "tool_calls" and len(found["choices"][0]["message"]["tool_calls"]) == 1
        assert found["usage"]["completion_tokens"] == len(BLOCK)


def test_a_stop_never_leaks_and_choices_have_their_index(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: one two three four")
    _, found = client.chat(messages=ASKED, stop=" three", n=2)
    assert [one["message"]["content"] for one in found["choices"]] == ["one two", "one two"]
    assert [one["index"] for one in found["choices"]] == [0, 1]
    _, events = client.chat(messages=ASKED, stop=[" three"], n=2, stream=True)
    assert [joined(events, index)["content"] for index in (0, 1)] == ["one two", "one two"]


def test_without_tools_none_are_told(serving: Make) -> None:
    prompts: list[str] = []
    client = serving(lambda prompt: prompts.append(prompt) or "Final Answer: x")
    client.chat(messages=ASKED, tools=TOOLS, tool_choice="none")
    client.chat(messages=ASKED, tools=[], store=False, unheard_of={"a": 1})
    assert "add" not in prompts[0] and prompts[0] == prompts[1]


REFUSED = [
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, 400, "temperature must be a number"),
    ({"messages": [{"role": "user", "content": "x"}], "n": 99}, 400, "n must be a number from 1 to 8"),
    ({"messages": [{"role": "user", "content": "x"}], "model": "other"}, 404, 'there is no model "other"; served: desk'),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, 400, "the last message must be from user"),
    ({"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"}, 400, "there are no tools"),
    ({"messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "tool_choice": {"function": {"name": "sub"}}}, 400, "name one of"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "'wizard'"),
    (b"{", 400, "the body is not JSON"),
    (b'{"a": "\xff"}', 400, "the body is not JSON"),
    (b"[" * 100_000, 400, "the body is not JSON"),
    ([1], 400, "the body must be a JSON object"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), REFUSED)
def test_what_cannot_be_used_is_one_sentence(body: Any, status: int, sentence: str, serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: x")
    seen, found = client.send("POST", "/v1/chat/completions", body)
    assert seen == status
    assert sentence in found["error"]["message"]
    assert set(found["error"]) == {"message", "type", "param", "code"}


def test_a_prompt_longer_than_the_context(serving: Make) -> None:
    client = serving(ScriptedModel(lambda prompt: "x", context=200))
    for length in (300, 10_000_000):
        status, found = client.chat(messages=[{"role": "user", "content": "x" * length}])
        assert (status, found["error"]["code"]) == (400, "context_length_exceeded")


def test_strangers_are_refused(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: x", api_key="secret")
    assert client.send("GET", "/v1/models")[0] == 401
    assert client.send("GET", "/v1/models", headers={"Authorization": "Bearer secret"})[0] == 200
    assert client.send("GET", "/health")[0] == 200
    assert client.send("GET", "/health", headers={"Host": "evil.example"})[0] == 421
    right = {"Authorization": "Bearer secret", "Content-Type": "text/plain"}
    assert client.send("POST", "/v1/chat/completions", {"messages": ASKED}, right)[0] == 415
    assert client.send("GET", "/nothing")[0] == 404


def test_a_full_queue_is_429_with_a_time(serving: Make) -> None:
    client = serving(lambda prompt: "word " * 200_000, options=EngineOptions(batch=1, waiting=0), most_tokens=10_000_000)
    line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    line.request("POST", "/v1/chat/completions", json.dumps({"messages": ASKED, "stream": True}), {"Content-Type": "application/json"})
    stream = line.getresponse()
    assert stream.readline()
    second = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    second.request("POST", "/v1/chat/completions", json.dumps({"messages": ASKED}), {"Content-Type": "application/json"})
    answer = second.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert json.loads(answer.read())["error"]["code"] == "queue_full"
    second.close()
    stream.close()
    line.close()
    end = time.monotonic() + 20
    while not client.engine.counts.cancelled and time.monotonic() < end:
        time.sleep(0.02)
    assert client.engine.counts.cancelled == 1, "a client that goes away ends its decoding"


def test_models_metrics_and_tokens(serving: Make) -> None:
    client = serving(lambda prompt: "Final Answer: x")
    _, found = client.send("GET", "/v1/models")
    assert [(one["id"], one["protocol"]) for one in found["data"]] == [("desk", "react")]
    client.chat(messages=ASKED)
    assert 'agenttune_requests_total{model="desk"} 1.0' in client.send("GET", "/metrics")[1]
    _, counted = client.send("POST", "/tokenize", {"prompt": "ab<|im_end|>"})
    assert counted["tokens"] == [97, 98, 257]
    assert client.send("POST", "/tokenize", {"messages": ASKED})[1]["count"] > 20


def test_raw_completions(serving: Make) -> None:
    client = serving(lambda prompt: f"<{prompt}>")
    for prompt in ("ab", [97, 98], ["ab"]):
        _, found = client.send("POST", "/v1/completions", {"prompt": prompt, "max_tokens": 3})
        assert (found["choices"][0]["text"], found["choices"][0]["finish_reason"]) == ("<ab", "length")
    _, events = client.send("POST", "/v1/completions", {"prompt": "ab", "stream": True})
    assert "".join(one["choices"][0]["text"] for one in events) == "<ab>"
    assert client.send("POST", "/v1/completions", {"prompt": ""})[0] == 400


EFFORT = "{% if effort %}Effort {{ effort }}. {% endif %}" + CHATML


def test_a_request_tells_the_template_what_it_asks_for_and_nothing_else(serving: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByteTokenizer, "chat_template", EFFORT)
    monkeypatch.setattr(ByteTokenizer, "apply_template", written_by_jinja)
    prompts: list[str] = []
    client = serving(lambda prompt: prompts.append(prompt) or "Final Answer: x")
    for options in ({}, {"effort": "high"}, {"messages": [], "chat_template": "evil", "add_generation_prompt": False, "other": 1}):
        assert client.chat(messages=ASKED, chat_template_kwargs=options)[0] == 200
    assert prompts == [prompts[0], f"Effort high. {prompts[0]}", prompts[0]]
    told = client.send("POST", "/tokenize", {"messages": ASKED, "chat_template_kwargs": {"effort": "low"}})[1]["count"]
    assert told == client.send("POST", "/tokenize", {"messages": ASKED})[1]["count"] + len("Effort low. ")
    assert client.chat(messages=ASKED, chat_template_kwargs=[])[0] == 400


def written_by_jinja(self: Any, messages: Any, *, generate: bool, options: Any = None) -> str:
    """`EFFORT` over messages."""
    import jinja2

    return jinja2.Template(EFFORT).render(messages=messages, add_generation_prompt=generate, **(options or {}))
