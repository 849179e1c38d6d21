"""xLAM rows: a query, tools with Python type names, and calls that nobody answered."""

from __future__ import annotations

import json

import pytest

from agenttune.errors import Refusal
from agenttune.sources import xlam
from agenttune.sources.base import ReadOptions, note_name
from agenttune.values.trajectory import Json, Round, Step, ToolCall, Trajectory

TOOL = {
    "name": "live_giveaways_by_type",
    "description": "Retrieve live giveaways.",
    "parameters": {
        "type": {"description": "The type of giveaways.", "type": "str", "default": "game"},
        "limit": {"description": "How many.", "type": "int, optional"},
        "tags": {"description": "Tags.", "type": "List[str]"},
    },
}
CALLS: list[Json] = [
    {"name": "live_giveaways_by_type", "arguments": {"type": "beta"}},
    {"name": "live_giveaways_by_type", "arguments": {"type": "game"}},
]


def read(answers: Json, tools: Json = None, **fields: Json) -> Trajectory:
    record = {"id": 5, "query": "Where?", "answers": answers, "tools": [TOOL] if tools is None else tools, **fields}
    assert xlam.detect(record)
    (one,) = xlam.read(record, ReadOptions())
    return one


@pytest.mark.parametrize("form", [lambda value: value, json.dumps, str])
def test_calls_are_one_parallel_step_in_every_form(form: object) -> None:
    assert callable(form)
    found = read(form(CALLS), form([TOOL]))
    calls = tuple(ToolCall(name="live_giveaways_by_type", arguments=one["arguments"]) for one in CALLS)
    assert found.rounds == (Round(user="Where?", steps=(Step(calls=calls),)),)
    assert found.id == "5"


def test_a_table_of_parameters_becomes_a_schema() -> None:
    found = read(CALLS)
    assert found.tools[0].parameters == {
        "type": "object",
        "properties": {
            "type": {"description": "The type of giveaways.", "type": "string", "default": "game"},
            "limit": {"description": "How many.", "type": "integer"},
            "tags": {"description": "Tags.", "type": "array", "items": {"type": "string"}},
        },
    }
    assert set(map(note_name, found.notes)) == {"schema_types"}


def test_a_parameter_called_type_or_properties_is_no_schema_word() -> None:
    tool = {"name": "t", "parameters": {"type": {"type": "str"}, "required": {"type": "bool", "required": True}}}
    schema = read(CALLS, [tool]).tools[0].parameters
    assert schema["properties"] == {"type": {"type": "string"}, "required": {"type": "boolean"}}
    assert schema["required"] == ["required"]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ("[]", "empty"),
        ("no list", "call"),
        ([{"name": "f", "arguments": "[1]"}], "arguments"),
        ([{"arguments": {}}], "call"),
        ([3], "call"),
        ("[" * 100_000, "call"),
    ],
)
def test_what_is_refused(answers: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(answers)
    assert refused.value.code == code


def test_bad_tools_are_refused() -> None:
    for tools in (
        "no list",
        [3],
        [{"description": "nameless"}],
        [{"name": "t", "parameters": {"a": 3}}],
        [{"name": "t", "parameters": "x"}],
    ):
        with pytest.raises(Refusal) as refused:
            read(CALLS, tools)
        assert refused.value.code == "tool"
    assert read(CALLS, [TOOL, TOOL]).notes.count("tool_merged") == 1
