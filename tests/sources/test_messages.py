"""Contents of messages in many spellings, calls in many wrappings, and which call a result belongs to: each with its right value."""

from __future__ import annotations

import json

import pytest

from agenttune import sources
from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, note_name
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, Trajectory

ASK: Json = {"role": "user", "content": "W?"}
RAIN: Json = {"role": "assistant", "content": "Rain."}


def read(record: Json, source: str = "") -> Trajectory:
    name = source or (sources.detect(record) or ("", ""))[0]
    (found,) = sources.get(name).read(record, ReadOptions())
    assert isinstance(found, Trajectory)
    return found


def messages(*given: Json, **fields: Json) -> Json:
    return {"messages": list(given), **fields}


def steps(record: Json) -> list[Step]:
    return [step for round_ in read(record).rounds for step in round_.steps]


def bare(step: Step) -> tuple[list[tuple[str, Json]], list[str], str | None]:
    calls = [(call.name, dict(call.arguments)) for call in step.calls if isinstance(call, ToolCall)]
    return calls, [seen.text for seen in step.observations], step.answer


# ---- where the words stand ----


def in_parts(text: str) -> list[Json]:
    return [
        {"parts": [{"type": "text", "content": text}]},
        {"parts": [{"type": "text", "text": text}]},
        {"parts": [{"text": text}]},
        {"text": text},
        {"content": [{"text": text}]},
        {"content": [text]},
        {"content": [{"type": "output_text", "text": text}]},
    ]


@pytest.mark.parametrize(("asked", "said"), list(zip(in_parts("W?"), in_parts("Rain."), strict=True)))
def test_words_wherever_they_stand(asked: Json, said: Json) -> None:
    found = read(messages({"role": "user", **asked}, {"role": "assistant", **said}))
    assert (found.rounds[0].user, found.rounds[0].steps) == ("W?", (Step(answer="Rain."),))


@pytest.mark.parametrize("field", [{"body": "Rain."}, {"output": ["Rain."]}, {}])
def test_a_message_without_content_and_calls_is_no_empty_answer(field: Json) -> None:
    with pytest.raises(Refusal) as refused:
        read(messages(ASK, {"role": "assistant", **field}))
    assert refused.value.code == "content"


def test_what_the_assistant_says_is_never_json_of_parts() -> None:
    for content in ([{"video": "u"}], {"answer": 5}, [{"x": 1}]):
        with pytest.raises(Refusal) as refused:
            read(messages(ASK, {"role": "assistant", "content": content}), "openai")
        assert refused.value.code in ("shape", "media")


# ---- parts without a type ----

SCHEMA: Json = {"type": "object", "properties": {"c": {"type": "string"}}}
BEDROCK: Json = {
    "system": [{"text": "Be kind."}],
    "toolConfig": {"tools": [{"toolSpec": {"name": "w", "description": "W", "inputSchema": {"json": SCHEMA}}}]},
    "messages": [
        {"role": "user", "content": [{"text": "W?"}]},
        {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}},
            {"text": "I look."}, {"toolUse": {"toolUseId": "t1", "name": "w", "input": {"c": "Oslo"}}},
        ]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"sky": "grey"}}], "status": "success"}}]},
        {"role": "assistant", "content": [{"text": "It rains."}]},
    ],
}  # fmt: skip
GEMINI: Json = {
    "systemInstruction": {"parts": [{"text": "Be kind."}]},
    "tools": [{"functionDeclarations": [{"name": "w", "description": "W", "parameters": SCHEMA}]}],
    "contents": [
        {"role": "user", "parts": [{"text": "W?"}]},
        {"role": "model", "parts": [
            {"text": "Hm.", "thought": True}, {"text": "I look."}, {"functionCall": {"name": "w", "args": {"c": "Oslo"}}},
        ]},
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"sky": "grey"}}}]},
        {"role": "model", "parts": [{"text": "It rains."}]},
    ],
}  # fmt: skip
QWEN_AGENT: Json = {
    "tools": [{"name": "w", "description": "W", "parameters": SCHEMA}],
    "messages": [
        {"role": "system", "content": [{"text": "Be kind."}]},
        {"role": "user", "content": [{"text": "W?"}]},
        {"role": "assistant", "content": [{"text": "I look."}], "reasoning_content": "Hm.",
         "function_call": {"name": "w", "arguments": '{"c": "Oslo"}'}},
        {"role": "function", "name": "w", "content": [{"text": '{"sky": "grey"}'}]},
        {"role": "assistant", "content": [{"text": "It rains."}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("record", [BEDROCK, GEMINI, QWEN_AGENT], ids=["Bedrock", "Gemini", "Qwen-Agent"])
def test_parts_are_read_by_what_they_hold(record: Json) -> None:
    found = read(record)
    first, last = found.rounds[0].steps
    assert (found.system, [tool.name for tool in found.tools], found.tools[0].parameters) == ("Be kind.", ["w"], SCHEMA)
    assert (first.reasoning, first.thought) == ("Hm.", "I look.")
    assert bare(first) == ([("w", {"c": "Oslo"})], ['{"sky": "grey"}'], None)
    assert last == Step(answer="It rains.")
    assert len(found.rounds) == 1


# ---- calls in other wrappings ----


@pytest.mark.parametrize(
    "call",
    [
        {"name": "w", "args": {"c": "Oslo"}, "id": "1", "type": "tool_call"},
        {"function": "w", "arguments": {"c": "Oslo"}, "id": "1", "type": "function"},
        {"id": 1, "type": "function", "function": {"name": "w", "arguments": '{"c": "Oslo"}'}},
    ],
    ids=["LangChain", "Inspect", "a number as id"],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_calls_in_other_wrappings(call: Json, as_text: bool) -> None:
    calls = json.dumps([call]) if as_text else [call]
    given = call["id"]
    found = steps(
        messages(
            ASK, {"role": "assistant", "content": "", "tool_calls": calls}, {"role": "tool", "tool_call_id": given, "content": "r"}, RAIN
        )
    )
    assert found == [
        Step(calls=(ToolCall(name="w", arguments={"c": "Oslo"}, id="1"),), observations=(Observation(text="r", call_id="1"),)),
        Step(answer="Rain."),
    ]


@pytest.mark.parametrize("empty", ["[]", "", [], None, "null"])
def test_no_calls_in_any_spelling(empty: Json) -> None:
    assert steps(messages(ASK, {**RAIN, "tool_calls": empty})) == [Step(answer="Rain.")]


# ---- which call a result belongs to ----


def asks(name: str, id: Json = None) -> Json:
    call = {"type": "function", "function": {"name": name, "arguments": "{}"}}
    return {"role": "assistant", "content": None, "tool_calls": [call if id is None else {**call, "id": id}]}


def result(text: str, id: Json = None) -> Json:
    return {"role": "tool", "content": text} if id is None else {"role": "tool", "tool_call_id": id, "content": text}


def test_one_call_a_message_in_a_row_with_ids() -> None:
    found = read(messages(ASK, asks("a", "1"), asks("b", "2"), result("B", "2"), result("A", "1"), RAIN))
    assert [bare(step) for step in found.rounds[0].steps] == [([("a", {}), ("b", {})], ["A", "B"], None), ([], [], "Rain.")]
    assert found.notes == ("calls_joined",)


def test_one_call_a_message_in_a_row_in_anthropics_blocks() -> None:
    def use(id: str) -> Json:
        return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": id, "input": {}}]}

    seen = [{"type": "tool_result", "tool_use_id": id, "content": id.upper()} for id in ("b", "a")]
    found = read(messages(ASK, use("a"), use("b"), {"role": "user", "content": seen}, RAIN))
    assert bare(found.rounds[0].steps[0]) == ([("a", {}), ("b", {})], ["A", "B"], None)


def test_tool_call_tool_call_tool_response_tool_response() -> None:
    calls = [{"role": "tool_call", "content": json.dumps({"name": name, "arguments": {}})} for name in ("a", "b")]
    seen = [{"role": "tool_response", "content": text} for text in ("A", "B")]
    found = read(messages(ASK, *calls, *seen, RAIN))
    assert [bare(step) for step in found.rounds[0].steps] == [([("a", {}), ("b", {})], ["A", "B"], None), ([], [], "Rain.")]
    assert found.notes == ("results_by_position", "calls_joined")


def test_a_call_that_nobody_answered_stays_one() -> None:
    found = steps(messages(ASK, asks("a"), asks("b"), result("B"), RAIN))
    assert [bare(step) for step in found] == [([("a", {})], [], None), ([("b", {})], ["B"], None), ([], [], "Rain.")]
    with pytest.raises(Refusal) as refused:
        steps(messages(ASK, asks("a"), {**asks("b"), "tool_calls": [*asks("b")["tool_calls"]] * 2}, *[result("x")] * 4))
    assert refused.value.code == "orphan"


@pytest.mark.parametrize("ids", [(1, 2), (1.5, 2.5), ("x", 2)])
def test_ids_of_any_kind_pair_calls_and_results(ids: tuple[Json, Json]) -> None:
    both = {"role": "assistant", "content": None, "tool_calls": [*asks("a", ids[0])["tool_calls"], *asks("b", ids[1])["tool_calls"]]}
    found = read(messages(ASK, both, result("B", ids[1]), result("A", ids[0])))
    assert bare(found.rounds[0].steps[0]) == ([("a", {}), ("b", {})], ["A", "B"], None)
    assert "results_by_position" not in found.notes


def test_results_without_ids_go_by_position_and_are_counted() -> None:
    both = {"role": "assistant", "content": None, "tool_calls": [*asks("a")["tool_calls"], *asks("b")["tool_calls"]]}
    found = read(messages(ASK, both, result("A"), result("B")))
    assert bare(found.rounds[0].steps[0]) == ([("a", {}), ("b", {})], ["A", "B"], None)
    assert found.notes == ("results_by_position",)


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (["A", "B"], ["A", "B"]),
        ([{"id": "2", "content": "B"}, {"id": "1", "content": "A"}], ["A", "B"]),
        ([{"name": "b", "result": 2}, {"name": "a", "result": 1}], ['{"name": "a", "result": 1}', '{"name": "b", "result": 2}']),
    ],
)
def test_two_results_in_one_observation_go_to_their_calls(listed: Json, seen: list[str]) -> None:
    calls = json.dumps([{"id": "1", "name": "a", "arguments": {}}, {"id": "2", "name": "b", "arguments": {}}])
    record = {"conversations": [
        {"from": "human", "value": "W?"}, {"from": "function_call", "value": calls},
        {"from": "observation", "value": json.dumps(listed)}, {"from": "gpt", "value": "Rain."},
    ]}  # fmt: skip
    found = read(record)
    assert [bare(step) for step in found.rounds[0].steps] == [([("a", {}), ("b", {})], seen, None), ([], [], "Rain.")]
    assert note_name(found.notes[0]) == "results_split"


# ---- tools that the server runs ----


def test_a_server_tool_is_a_call_with_its_result_in_one_message() -> None:
    hits = [{"type": "web_search_result", "url": "u", "title": "Oslo"}]
    content = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "I search."},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Oslo"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": hits},
        {"type": "text", "text": "It rains."},
    ]
    first, last = steps(messages(ASK, {"role": "assistant", "content": content}))
    assert (first.reasoning, first.thought) == ("Hm.", "I search.")
    assert bare(first) == ([("web_search", {"query": "Oslo"})], [json.dumps(hits)], None)
    assert last == Step(answer="It rains.")


def test_a_reference_to_a_tool_is_a_result_as_it_stands() -> None:
    use = {"type": "tool_use", "id": "1", "name": "find_tool", "input": {}}
    seen = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "tool_reference", "tool_name": "w"}]}
    (step,) = steps(messages(ASK, {"role": "assistant", "content": [use]}, {"role": "user", "content": [seen]}))
    assert json.loads(step.observations[0].text) == [{"type": "tool_reference", "tool_name": "w"}]


# ---- weights ----


@pytest.mark.parametrize(
    ("field", "weight"),
    [({"loss": False}, 0.0), ({"loss_weight": 0.25}, 0.25), ({"weight": 0}, 0.0), ({"train": False}, 0.0), ({"train_on_turn": False}, 0.0)],
)
def test_every_dialects_weight(field: Json, weight: float) -> None:
    for record in (
        messages(ASK, {**RAIN, **field}),
        {"conversations": [{"from": "human", "value": "W?"}, {"from": "gpt", "value": "Rain.", **field}]},
        messages(ASK, {"role": "assistant", "content": [{"type": "thinking", "thinking": ""}, {"type": "text", "text": "Rain."}], **field}),
    ):
        found = read(record)
        assert [step.weight for step in found.rounds[0].steps] == [weight]
        assert not [note for note in found.notes if "dropped" in note]
