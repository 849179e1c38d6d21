"""What `auto` says: which source, why not, and what speaks against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune import sources
from agenttune.data.convert.run import convert
from agenttune.errors import UserError
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Trajectory

ASK: Json = {"role": "user", "content": "W?"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"messages": "\xff"}\n', "not UTF-8 text"),
        (b'{"messages": [], "messages": [1]}\n', "one key twice"),
        (b'{"messages": []} {"messages": []}\n', "two JSON values in a row"),
    ],
)
def test_what_no_record_can_be_read_for_is_said(tmp_path: Path, body: bytes, said: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(body)
    with pytest.raises(UserError, match=f"none of its first records can be read.*line 1: .*{said}"):
        convert("auto", [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl"))


def test_the_reason_of_the_source_that_came_nearest_is_said() -> None:
    with pytest.raises(UserError, match=r'"openai" came nearest: a message has the role \'robot\''):
        sources.detect_among([{"messages": [ASK, {"role": "robot", "content": "x"}]}])
    with pytest.raises(UserError, match=r"^no source knows these records; name one of"):
        sources.detect_among([{"x": 1}])


def test_records_that_look_as_if_they_had_calls_are_doubted() -> None:
    lost = {"messages": [ASK, {"role": "assistant", "content": "I look.", "tool_invocations": [{"name": "w"}]}]}
    name, reason = sources.detect_among([lost])
    assert name == "openai"
    assert reason.endswith("no call was read in the first 1 records, and 1 of them look as if they had some")
    plain = {
        "messages": [ASK, {"role": "assistant", "content": "Rain."}],
        "tools": [{"type": "function", "function": {"name": "tool_call"}}],
    }
    called = {"messages": [ASK, {"role": "assistant", "tool_calls": [{"function": {"name": "w", "arguments": "{}"}}]}]}
    for records in ([plain], [called], [called, lost]):
        assert "no call was read" not in sources.detect_among(records)[1]


MESSAGES: dict[str, list[Json]] = {
    "openai": [ASK, {"role": "assistant", "content": "a"}],
    "sharegpt": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
    "anthropic": [ASK, {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "w", "input": {}}]}],
    "hermes": [ASK, {"role": "assistant", "content": '<tool_call>{"name": "w", "arguments": {}}</tool_call>'}],
    "react": [ASK, {"role": "assistant", "content": "Action: w\nAction Input: {}"}],
    "msagent": [
        {"from": "user", "value": "q"},
        {"from": "assistant", "value": '<|startofthink|>{"api_name": "w", "parameters": {}}<|endofthink|>'},
    ],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_a_named_source_reads_auto_knows(name: str) -> None:
    messages = MESSAGES[name]
    key = "conversations" if "from" in messages[0] else "messages"
    wanted = first(name, {key: messages}).rounds
    for record in ({key: messages}, {key: json.dumps(messages)}, messages):
        assert (sources.detect(record) or ("", ""))[0] == name
        assert first(name, record).rounds == wanted


def first(name: str, record: Json) -> Trajectory:
    found = next(iter(sources.get(name).read(record, ReadOptions())))
    assert isinstance(found, Trajectory)
    return found
