"""Logs of families that users have: each is read rightly or refused by its name, and nothing in between."""

from __future__ import annotations

from typing import Any

import pytest

from agenttune import sources
from agenttune.errors import Refusal, UserError
from agenttune.sources.base import ReadOptions
from agenttune.sources.families import family_of
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, Trajectory

OSLO = ToolCall(name="w", arguments={"c": "Oslo"}, id="c1")
ASKED: Json = {"role": "user", "content": "W?"}
LAST: Json = {"role": "assistant", "content": "17.3."}
OPENAI: Json = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": '{"c":"Oslo"}'}}],
}
# The middle of a conversation: a message that calls, and one with the result.
READ: dict[str, tuple[Json, Json]] = {
    "OpenTelemetry's messages": (
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "w", "arguments": {"c": "Oslo"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "17.3"}]},
    ),
    "Haystack": (
        {"role": "assistant", "meta": {}, "content": [{"tool_call": {"id": "c1", "tool_name": "w", "arguments": {"c": "Oslo"}}}]},
        {"role": "tool", "content": [{"tool_call_result": {"result": "17.3", "error": False, "origin": {"id": "c1", "tool_name": "w"}}}]},
    ),
    "Cohere": (OPENAI, {"role": "tool", "tool_call_id": "c1", "content": [{"type": "document", "document": {"data": "17.3"}}]}),
    "the Vercel AI SDK's model messages": (
        {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "c1", "toolName": "w", "input": {"c": "Oslo"}}]},
        {
            "role": "tool",
            "content": [{"type": "tool-result", "toolCallId": "c1", "toolName": "w", "output": {"type": "text", "value": "17.3"}}],
        },
    ),
    "OpenAI": (OPENAI, {"role": "tool", "tool_call_id": "c1", "content": "17.3"}),
}


def read(*messages: Json) -> Trajectory:
    record: Json = {"messages": [ASKED, *messages]}
    assert (sources.detect(record) or ("",))[0] == "openai"
    (found,) = sources.get("openai").read(record, ReadOptions())
    assert isinstance(found, Trajectory)
    return found


@pytest.mark.parametrize("name", READ)
def test_a_call_and_its_result_are_read(name: str) -> None:
    found = read(*READ[name], LAST)
    assert found.rounds[0].steps == (Step(calls=(OSLO,), observations=(Observation(text="17.3", call_id="c1"),)), Step(answer="17.3."))
    assert found.notes == ()


def test_an_error_says_that_it_is_one() -> None:
    call, _ = READ["the Vercel AI SDK's model messages"]
    failed = {"type": "tool-result", "toolCallId": "c1", "toolName": "w", "output": {"type": "error-text", "value": "no"}}
    assert read(call, {"role": "tool", "content": [failed]}).rounds[0].steps[0].observations == (
        Observation(text="no", call_id="c1", error=True),
    )


def test_a_plan_is_reasoning() -> None:
    (step,) = read({**OPENAI, "tool_plan": "I will look."}).rounds[0].steps
    assert (step.reasoning, step.calls) == ("I will look.", (OSLO,))


@pytest.mark.parametrize("label", ["EXECUTION RESULT of [w]:\n", "OBSERVATION:\n", "Observation: "])
def test_what_the_user_says_as_a_result_is_one(label: str) -> None:
    said = "I look.\n<function=w>\n<parameter=c>Oslo</parameter>\n</function>"
    found = read({"role": "assistant", "content": said}, {"role": "user", "content": f"{label}17.3"}, LAST)
    assert [seen.text for seen in found.rounds[0].steps[0].observations] == [f"{label}17.3"]
    assert found.notes == ("call_from_text", "user_as_result")


UNREAD: list[tuple[Json, str]] = [
    ({"role": "assistant", "content": "x", "toolInvocations": [{"toolName": "w", "args": {}}]}, "call"),
    ({"role": "assistant", "content": "x", "toolCalls": [{"name": "w"}]}, "call"),
    ({"role": "assistant", "additional_kwargs": {}, "blocks": [{"block_type": "text", "text": "x"}]}, "content"),
    ({"role": "user", "blocks": [{"block_type": "text", "text": "x"}]}, "content"),
    ({"role": "system", "instructions": "x"}, "content"),
]


@pytest.mark.parametrize(("message", "code"), UNREAD)
def test_a_message_that_is_not_read_is_refused_and_never_empty(message: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        list(sources.get("openai").read({"messages": [message, ASKED, LAST]}, ReadOptions()))
    assert refused.value.code == code


def test_fields_that_hold_no_calls_are_dropped_by_name() -> None:
    said: dict[str, Any] = {"role": "assistant", "content": "x", "invalid_tool_calls": [], "tool_use": {"input_tokens": 3}}
    assert read(said).notes == ("message_fields_dropped: tool_use",)


FAMILIES: list[tuple[str, Json]] = [
    (
        "Claude Code",
        {"parentUuid": "u1", "type": "assistant", "message": {"role": "assistant", "content": []}, "uuid": "u2", "sessionId": "s"},
    ),
    ("Codex", {"timestamp": "t", "type": "response_item", "payload": {"type": "function_call", "name": "shell", "call_id": "c"}}),
    ("Responses", {"model": "m", "input": [ASKED, {"type": "function_call", "call_id": "c", "name": "w", "arguments": "{}"}]}),
    ("Responses", {"id": "r", "object": "response", "output": []}),
    ("OpenTelemetry", {"name": "chat", "attributes": {"gen_ai.input.messages": []}}),
    ("OpenTelemetry", {"name": "chat", "attributes": [{"key": "gen_ai.prompt.0.role", "value": {"stringValue": "user"}}]}),
    ("LangSmith", {"id": "r", "run_type": "llm", "inputs": {"messages": []}, "outputs": {}}),
    ("Langfuse", {"id": "t", "input": "q", "output": "a", "observations": [{"type": "GENERATION", "input": []}]}),
    ("LangChain", {"messages": [{"type": "human", "content": "q"}, {"type": "ai", "content": "a"}]}),
    ("AutoGen", {"messages": [{"source": "user", "type": "TextMessage", "content": "q"}]}),
    ("LlamaIndex", {"messages": [{"role": "user", "blocks": [{"block_type": "text", "text": "q"}]}]}),
    ("Pydantic AI", [{"parts": [{"content": "q", "part_kind": "user-prompt"}], "kind": "request"}]),
    ("Vercel", {"messages": [{"role": "assistant", "parts": [{"type": "tool-w", "state": "output-available", "input": {}}]}]}),
    ("smolagents", {"steps": [{"task": "q"}, {"step_number": 1, "model_output": "a", "observations": "x"}]}),
    ("ATIF", {"schema_version": "ATIF-v1.4", "steps": []}),
    ("OpenHands", [{"id": 0, "source": "user", "action": "message", "args": {"content": "q"}}]),
    ("ChatGPT", {"mapping": {"a": {"message": None, "children": []}}}),
    ("responses", {"request": {"messages": [ASKED]}, "response": {"choices": []}}),
    ("inputs and outputs", {"inputs": {"messages": [ASKED]}, "outputs": {"messages": [LAST]}}),
    ("Cohere", {"message": "q", "chat_history": []}),
]


@pytest.mark.parametrize(("name", "record"), FAMILIES)
def test_a_log_that_no_source_reads_is_named(name: str, record: Json) -> None:
    assert name in family_of(record)
    if sources.detect(record) is None:
        with pytest.raises(UserError, match=name):
            sources.detect_among([record])


@pytest.mark.parametrize(
    "record", [{"messages": [ASKED, LAST]}, {"type": ["human"]}, [], None, "x", {"attributes": {"a": 1}}, {"mapping": 5}]
)
def test_what_is_of_no_known_family_has_no_name(record: Json) -> None:
    assert family_of(record) == ""
