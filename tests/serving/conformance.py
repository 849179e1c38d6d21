"""What OpenAI's clients expect of a server, one function a point: run against ours and against others, on any model.

Each takes an `Asker` and raises where the server does otherwise. None depends on what a model says, only on what it may say.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema

TOWN = {"type": "object", "properties": {"town": {"enum": ["Oslo", "Rome"]}}, "required": ["town"], "additionalProperties": False}
SUM = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
SCHEMAS = {"weather": TOWN, "double": SUM}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": one}} for name, one in SCHEMAS.items()
]
HELLO = [{"role": "user", "content": "Say hello, then count from one to five."}]
CALL = {"id": "call_abcdef123", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
CALLED = [{"role": "user", "content": "The weather in Oslo?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, and the body: JSON, or the events of a stream and whether it ended with ``[DONE]``."""

    status: int
    body: Any
    done: bool = False

    @property
    def message(self) -> Any:
        """The first choice's message."""
        return self.choice["message"]

    @property
    def choice(self) -> Any:
        """The first choice of a reply that came."""
        assert self.status == 200, f"status {self.status}: {str(self.body)[:200]}"
        return self.body["choices"][0]

    @property
    def deltas(self) -> list[Any]:
        """Of a stream, the deltas of its first choice."""
        assert self.status == 200, f"status {self.status}: {str(self.body)[:200]}"
        return [one["delta"] for event in self.body for one in event.get("choices") or () if one.get("index", 0) == 0]


class Asker:
    """Requests to a server for one of its models."""

    def __init__(self, base: str, model: str = "") -> None:
        place = urllib.parse.urlsplit(base)
        self._host, self._port = place.hostname or "127.0.0.1", place.port
        self.model = model or self.send("GET", "/v1/models").body["data"][0]["id"]

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """One request."""
        line = http.client.HTTPConnection(self._host, self._port, timeout=300)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        line.request(method, path, data, {"Content-Type": "application/json"} if data is not None else {})
        answer = line.getresponse()
        text = answer.read().decode("utf-8", "replace")
        line.close()
        if "event-stream" in (answer.headers.get("Content-Type") or ""):
            events = [one.removeprefix("data:").strip() for one in text.split("\n") if one.startswith("data:")]
            return Reply(answer.status, [json.loads(one) for one in events if one != "[DONE]"], "[DONE]" in events)
        try:
            return Reply(answer.status, json.loads(text))
        except ValueError:
            return Reply(answer.status, text)

    def chat(self, messages: Any = HELLO, **more: Any) -> Reply:
        """A chat of few tokens, greedy."""
        body = {"model": self.model, "messages": messages, "max_tokens": 16, "temperature": 0, **more}
        return self.send("POST", "/v1/chat/completions", body)


def fits(call: Any, *names: str) -> None:
    """That a call is of one of these tools, with arguments that fit."""
    name = call["function"]["name"]
    assert name in (names or SCHEMAS), name
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMAS[name])


def error_of(reply: Reply, *statuses: int) -> Any:
    """The error of a refusal in OpenAI's form."""
    assert reply.status in statuses, f"status {reply.status}"
    assert isinstance(reply.body, dict) and isinstance(reply.body.get("error"), dict), "not OpenAI's form"
    assert isinstance(reply.body["error"]["message"], str)
    return reply.body["error"]


def lists_its_models(ask: Asker) -> None:
    """``/v1/models``."""
    body = ask.send("GET", "/v1/models").body
    assert body["object"] == "list" and body["data"][0]["id"] and body["data"][0]["object"] == "model"


def answers_a_chat(ask: Asker) -> None:
    """A message, a reason to stop, and counts that add up."""
    reply = ask.chat()
    assert reply.message["role"] == "assistant" and isinstance(reply.message["content"], str)
    assert reply.choice["finish_reason"] in ("stop", "length") and reply.body["object"] == "chat.completion"
    used = reply.body["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]


def keeps_to_max_tokens(ask: Asker) -> None:
    """``max_tokens`` and ``max_completion_tokens``."""
    for limit in ({"max_tokens": 2}, {"max_tokens": None, "max_completion_tokens": 2}):
        reply = ask.chat(**limit)
        assert reply.choice["finish_reason"] == "length" and reply.body["usage"]["completion_tokens"] <= 2


def stops_before_a_stop(ask: Asker) -> None:
    """The text of ``stop`` is not in the reply, whole or streamed."""
    whole = ask.chat(max_tokens=32).message["content"]
    assert len(whole) > 4
    stop = whole[len(whole) // 2 :][:3]
    before = whole[: whole.index(stop)].rstrip()
    assert ask.chat(stop=[stop], max_tokens=32).message["content"].rstrip() == before
    streamed = "".join(one.get("content") or "" for one in ask.chat(stop=stop, max_tokens=32, stream=True).deltas)
    assert streamed.rstrip() == before


def streams_what_it_says_whole(ask: Asker) -> None:
    """The pieces of a stream are the message."""
    assert "".join(one.get("content") or "" for one in ask.chat(stream=True).deltas) == ask.chat().message["content"]


def ends_a_stream(ask: Asker) -> None:
    """``data: [DONE]``, and one reason to stop."""
    reply = ask.chat(stream=True)
    assert reply.deltas and reply.done
    assert len([1 for event in reply.body for one in event["choices"] if one["finish_reason"]]) == 1


def counts_in_a_stream(ask: Asker) -> None:
    """``stream_options.include_usage``: a last chunk without choices."""
    last = ask.chat(stream=True, stream_options={"include_usage": True}).body[-1]
    assert last["choices"] == [] and last["usage"]["total_tokens"] > 0


def calls_when_it_must(ask: Asker) -> None:
    """``tool_choice: required``; where the limit cuts a further call, the whole ones are there."""
    reply = ask.chat(tools=TOOLS, tool_choice="required", max_tokens=192)
    assert reply.choice["finish_reason"] in ("tool_calls", "length") and reply.message["tool_calls"]
    for call in reply.message["tool_calls"]:
        fits(call)
        assert call["id"] and call["type"] == "function"


def calls_what_is_named(ask: Asker) -> None:
    """``tool_choice`` that names a tool, each in turn."""
    for name in SCHEMAS:
        reply = ask.chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": name}}, max_tokens=192)
        fits(reply.message["tool_calls"][0], name)


def does_not_call_when_it_must_not(ask: Asker) -> None:
    """``tool_choice: none``: the prompt is that without tools."""
    with_none, without = ask.chat(tools=TOOLS, tool_choice="none"), ask.chat()
    assert not with_none.message.get("tool_calls")
    assert with_none.body["usage"]["prompt_tokens"] == without.body["usage"]["prompt_tokens"]


def makes_one_call_at_a_time(ask: Asker) -> None:
    """``parallel_tool_calls: false``."""
    reply = ask.chat(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=192)
    (call,) = reply.message["tool_calls"]
    fits(call)
    assert reply.choice["finish_reason"] == "tool_calls"


def streams_a_call(ask: Asker) -> None:
    """Each delta has its index, the first has id and name, and the arguments put together fit."""
    deltas = [
        one
        for delta in ask.chat(tools=TOOLS, tool_choice="required", max_tokens=128, stream=True).deltas
        for one in delta.get("tool_calls") or ()
    ]
    assert deltas and all(isinstance(one["index"], int) for one in deltas)
    first = [one for one in deltas if one["index"] == 0]
    assert first[0]["id"] and first[0]["function"]["name"]
    arguments = "".join(one["function"].get("arguments") or "" for one in first)
    fits({"function": {"name": first[0]["function"]["name"], "arguments": arguments}})


def makes_no_call_of_half_a_call(ask: Asker) -> None:
    """A call that ``max_tokens`` cut is no call."""
    reply = ask.chat(tools=TOOLS, tool_choice="required", max_tokens=4)
    assert not reply.message.get("tool_calls") and reply.choice["finish_reason"] == "length"


def answers_in_a_form(ask: Asker) -> None:
    """``response_format: json_schema``."""
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": TOWN, "strict": True}}
    jsonschema.validate(json.loads(ask.chat(response_format=form, max_tokens=128).message["content"]), TOWN)


def refuses_a_form_it_does_not_know(ask: Asker) -> None:
    """A ``response_format`` of no known type is refused, not ignored."""
    error_of(ask.chat(response_format={"type": "haiku"}), 400, 422)


def takes_no_tools_as_none(ask: Asker) -> None:
    """``tools: []``, which Open WebUI sends."""
    assert ask.chat(tools=[]).message["content"]


def takes_fields_it_does_not_know(ask: Asker) -> None:
    """``store`` and ``metadata``, which bfcl-eval and others send, and ``top_k`` of vLLM's clients."""
    for more in ({"store": False}, {"metadata": {"a": "b"}}, {"top_k": 5}, {"user": "me", "service_tier": "auto"}):
        assert ask.chat(**more).status == 200, more


def takes_contents_in_parts(ask: Asker) -> None:
    """``content`` as a list of parts, and ``null``; the role developer."""
    parts = [{"type": "text", "text": "Say hello,"}, {"type": "text", "text": " please."}]
    assert ask.chat([{"role": "user", "content": parts}]).status == 200
    assert ask.chat([{"role": "developer", "content": "Be brief."}, *HELLO]).status == 200


def takes_the_answer_of_a_tool(ask: Asker) -> None:
    """A ``tool`` message, of text or of parts; the prompt grows by it."""
    shorter = ask.chat(CALLED[:1], tools=TOOLS).body["usage"]["prompt_tokens"]
    for content in ("7 degrees", [{"type": "text", "text": "7 degrees"}]):
        reply = ask.chat([*CALLED, {"role": "tool", "tool_call_id": CALL["id"], "content": content}], tools=TOOLS)
        assert reply.choice and reply.body["usage"]["prompt_tokens"] > shorter


def takes_reasoning_back(ask: Asker) -> None:
    """``reasoning_content`` of an earlier message."""
    said = {"role": "assistant", "content": "Hello.", "reasoning_content": "A greeting."}
    assert ask.chat([*HELLO, said, {"role": "user", "content": "Again."}]).status == 200


def gives_several_choices(ask: Asker) -> None:
    """``n``."""
    reply = ask.chat(n=2, temperature=1, seed=3)
    assert reply.choice and [one["index"] for one in reply.body["choices"]] == [0, 1]


def repeats_itself_by_seed(ask: Asker) -> None:
    """The same ``seed`` says the same."""
    one, again = (ask.chat(temperature=1.0, seed=11).message["content"] for _ in range(2))
    assert one == again


def goes_on_with_a_text(ask: Asker) -> None:
    """``/v1/completions``, whole and streamed."""
    body = {"model": ask.model, "prompt": "One, two, three,", "max_tokens": 4, "temperature": 0}
    whole = ask.send("POST", "/v1/completions", body)
    assert whole.status == 200 and whole.body["object"] == "text_completion" and isinstance(whole.body["choices"][0]["text"], str)
    streamed = ask.send("POST", "/v1/completions", {**body, "stream": True})
    assert "".join(one["choices"][0]["text"] for one in streamed.body if one["choices"]) == whole.body["choices"][0]["text"]


def takes_token_ids(ask: Asker) -> None:
    """``/v1/completions`` with ids for a prompt, and ids given back where they are asked for."""
    reply = ask.send("POST", "/v1/completions", {"model": ask.model, "prompt": [65, 66, 67], "max_tokens": 2, "return_token_ids": True})
    assert reply.status == 200 and len(reply.body["choices"][0]["token_ids"]) >= 1


def tells_what_it_had_read(ask: Asker) -> None:
    """``usage.prompt_tokens_details.cached_tokens`` of a prompt that came before."""
    long = [{"role": "user", "content": "Remember these words: " + "apple pear plum " * 20}]
    ask.chat(long)
    used = ask.chat(long).body["usage"]
    assert used["prompt_tokens_details"]["cached_tokens"] >= used["prompt_tokens"] // 2


def refuses_a_model_it_has_not(ask: Asker) -> None:
    """404, in OpenAI's form."""
    assert error_of(ask.chat(model="no-such-model"), 404)["code"] == "model_not_found"


def refuses_what_is_too_long(ask: Asker) -> None:
    """400, in OpenAI's form: agents shorten their conversation by it."""
    reply = ask.chat([{"role": "user", "content": "word " * 12_000}])
    assert "context" in json.dumps(error_of(reply, 400))


def refuses_what_is_no_json(ask: Asker) -> None:
    """400, in OpenAI's form; the server goes on."""
    for broken in (b'{"messages": [', b"\xff\xfe{}", b"[" * 100_000):
        error_of(ask.send("POST", "/v1/chat/completions", broken), 400, 422)
    assert ask.chat().status == 200


def refuses_a_wrong_value(ask: Asker) -> None:
    """400 for a temperature that is none, and for messages that are none."""
    error_of(ask.chat(temperature="hot"), 400, 422)
    error_of(ask.chat([]), 400, 422)


CHECKS: Sequence[Callable[[Asker], None]] = (
    lists_its_models,
    answers_a_chat,
    keeps_to_max_tokens,
    stops_before_a_stop,
    streams_what_it_says_whole,
    ends_a_stream,
    counts_in_a_stream,
    calls_when_it_must,
    calls_what_is_named,
    does_not_call_when_it_must_not,
    makes_one_call_at_a_time,
    streams_a_call,
    makes_no_call_of_half_a_call,
    answers_in_a_form,
    refuses_a_form_it_does_not_know,
    takes_no_tools_as_none,
    takes_fields_it_does_not_know,
    takes_contents_in_parts,
    takes_the_answer_of_a_tool,
    takes_reasoning_back,
    gives_several_choices,
    repeats_itself_by_seed,
    goes_on_with_a_text,
    takes_token_ids,
    tells_what_it_had_read,
    refuses_a_model_it_has_not,
    refuses_what_is_no_json,
    refuses_a_wrong_value,
    refuses_what_is_too_long,  # the last: a server that reads it all has no time for others
)


def failures(base: str, model: str = "") -> dict[str, str]:
    """What a server does not do, by the check's name: why, in one line. Empty for one that does all of it."""
    ask, found = Asker(base, model), {}
    for check in CHECKS:
        try:
            check(ask)
        except Exception as error:  # whatever it is, this server does otherwise
            found[check.__name__] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return found
