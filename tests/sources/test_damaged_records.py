"""Damage: whatever is done to a record, a source gives trajectories or a refusal, and a trajectory goes on or is refused; nothing else."""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttune import protocols, sources
from agenttune.errors import Refusal
from agenttune.protocols.base import write
from agenttune.sources.base import ReadOptions
from agenttune.sources.msagent import xtuner
from agenttune.values.trajectory import Json, Trajectory
from tests.sources.damage import places

EXAMPLES = int(os.environ.get("AGENTTUNE_DAMAGE", "300"))
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, {"b": null}]}'}}
TOOL = {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {"a": {"type": "int"}}, "required": ["a"]}}
FINISH = '{"return_type": "give_answer", "final_answer": "x"}'
LEAF = {"role": "tool", "message": repr({"name": "Finish", "arguments": FINISH, "response": ""}), "next": []}
HERMES_SYSTEM = f"# Tools\n\nYou may call one or more functions\n<tools>\n{json.dumps(TOOL)}\n</tools>\n<tool_call>\n</tool_call>"
HERMES_CALLS = (
    '<scratch_pad>p</scratch_pad>\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
    "<tool_call>{'name': 'g', 'arguments': {}}</tool_call>"
)
GOOD: dict[str, list[Json]] = {
    "openai": [
        {
            "id": 1,
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
                {"role": "assistant", "content": "<think>R</think>t", "tool_calls": [CALL, {**CALL, "id": "d"}]},
                {"role": "tool", "tool_call_id": "d", "content": {"x": 1}},
                {"role": "assistant", "content": "a", "reasoning_content": "r", "weight": 1},
            ],
            "tools": [{"type": "function", "function": TOOL}],
        },
        {"messages_display": "user: q\nassistant: a\nuser: r"},
        {"traj": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "task_id": 1, "trial": 2, "reward": 1.0},
    ],
    "sharegpt": [
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "t"},
                {"from": "function_call", "value": '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": "{}"}]'},
                {"from": "observation", "value": '[{"name": "f", "content": 1}, {"name": "g"}]'},
                {"from": "gpt", "value": [{"type": "reasoning", "value": "r"}, {"type": "text", "value": "a"}]},
            ],
            "tools": json.dumps([TOOL]),
        }
    ],
    "toolbench": [
        {
            "query": "q",
            "available_tools": [TOOL],
            "answer": {
                "final_answer": FINISH,
                "answer_details": [
                    {
                        "role": "user",
                        "message": "q",
                        "next": [
                            {"role": "tool", "message": repr({"name": "f", "arguments": '{"a": 1}', "response": "r"})[:45], "next": [LEAF]},
                            {"role": "assistant", "message": "t", "next": [LEAF]},
                        ],
                    }
                ],
            },
        },
        {
            "query": "q",
            "function": [TOOL],
            "train_messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "t", "function_call": {"name": "f", "arguments": '{"a": 1}'}},
                {"role": "function", "name": "f", "content": "r"},
                {"role": "user", "content": "again", "valid": False},
                {"role": "assistant", "content": None, "function_call": {"name": "Finish", "arguments": FINISH}},
            ],
        },
        {
            "tree": {
                "tree": {
                    "node_type": "Action Input",
                    "description": "",
                    "children": [
                        {
                            "node_type": "Action",
                            "description": "f",
                            "children": [
                                {
                                    "node_type": "Action Input",
                                    "description": '{"a": 1}',
                                    "observation": "r",
                                    "children": [{"node_type": "Thought", "description": "t", "children": []}],
                                }
                            ],
                        }
                    ],
                }
            },
            "answer_generation": {"query": "q", "function": [TOOL], "train_messages": [[{"role": "system", "content": "S"}]]},
        },
    ],
    "apibank": [
        {
            "file": "f",
            "turns": [
                {"role": "User", "text": "q"},
                {"role": "AI", "text": "t"},
                {
                    "role": "API",
                    "api_name": "F",
                    "param_dict": {"a": 1},
                    "result": {"api_name": "F", "input": {}, "output": [1], "exception": None},
                },
                {"role": "AI", "text": "a"},
            ],
        },
        {
            "instruction": "Generate an API request in the format of [ApiName(key1='value1')]\nAPI-Request: [ApiName()]",
            "input": '{"apiCode": "F", "description": "d", "parameters": {"a": {"type": "str"}}}\nUser: q\n'
            "API-Request: [F(a='x', b=[1, 2])]->{'r': 1}\nAPI-Request: [F(a=New York)]->r\nGenerate API Request: ",
            "output": "API-Request: [F(a='y')]",
        },
    ],
    "hermes": [
        {
            "conversations": [
                {"from": "system", "value": HERMES_SYSTEM},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": HERMES_CALLS},
                {"from": "tool", "value": "<tool_response>\nr\n</tool_response><tool_response>s</tool_response>"},
                {"from": "gpt", "value": "a"},
            ]
        }
    ],
    "xlam": [
        {
            "id": 0,
            "query": "q",
            "tools": [{"name": "f", "parameters": {"a": {"type": "List[int], optional"}}}],
            "answers": '[{"name": "f", "arguments": {"a": [1]}}]',
        }
    ],
    "anthropic": [
        {
            "system": [{"type": "text", "text": "S"}],
            "messages": [
                {"role": "user", "content": "q"},
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "r"}, {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "o"}], "is_error": True},
                        {"type": "text", "text": "q"},
                    ],
                },
                {"role": "assistant", "content": "a"},
            ],
            "tools": [{"name": "f", "input_schema": TOOL["parameters"]}],
        },
        {
            "system": "S",
            "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            "tools": [{"name": "f", "input_schema": TOOL["parameters"]}],
        },
    ],
    "alpaca": [{"instruction": "q", "input": "i", "output": "a", "history": [["x", "y"]], "system": "S"}],
    "oasst": [
        {
            "message_tree_id": "t",
            "prompt": {
                "message_id": "1",
                "role": "prompter",
                "text": "q",
                "replies": [{"role": "assistant", "text": "a", "rank": 0, "replies": []}, {"role": "assistant", "text": "b", "rank": 1}],
            },
        },
        [
            {"message_id": "1", "parent_id": None, "role": "prompter", "text": "q"},
            {"message_id": "2", "parent_id": "1", "role": "assistant", "text": "a"},
        ],
    ],
}
ODD: list[Json] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    " ",
    "x" * 300,
    "\ud800",
    "\x00",
    "null",
    "{",
    "[" * 3000,
    "{'a': 1}",
    "```json",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "<think>",
    "API-Request: [",
    "User: ",
    "assistant",
    "tool",
    "c",
    "Finish",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    {"type": "text"},
    ["x"],
    {"name": "f", "arguments": []},
    {"role": "user"},
    {"type": {}, "value": {}},
]


def damage(value: Json, seed: int) -> Json:
    """The record with one to four places damaged: replaced, removed, doubled, cut, moved, or with text put in."""
    chance = random.Random(seed)
    box = [copy.deepcopy(value)]
    for _ in range(chance.randint(1, 4)):
        container, key = chance.choice(list(places(box)))
        inner, kind = container[key], chance.randrange(6)
        odd = copy.deepcopy(chance.choice(ODD))
        if kind == 0 and isinstance(inner, str):
            container[key] = inner[: chance.randint(0, len(inner))]
        elif kind == 1 and isinstance(inner, str):
            at = chance.randint(0, len(inner))
            container[key] = inner[:at] + chance.choice([one for one in ODD if isinstance(one, str)]) + inner[at:]
        elif kind == 2 and container is not box:
            del container[key]
        elif kind == 3 and isinstance(container, list):
            container.insert(chance.randint(0, len(container)), copy.deepcopy(inner))
        elif kind == 4 and isinstance(container, list):
            chance.shuffle(container)
        else:
            container[key] = odd
    return box[0]


def outcomes(name: str, record: Json, options: ReadOptions) -> Iterator[str]:
    """What becomes of a record: each conversation under each protocol and target, or the refusal."""
    for source in sources.SHIPPED:
        reason = sources.get(source).detect(record)
        assert reason is None or reason
    try:
        found = list(sources.get(name).read(record, options))
    except Refusal as error:
        assert error.code and error.sentence
        yield error.code
        return
    assert found
    for one in found:
        assert isinstance(one, Trajectory | Refusal)
        if isinstance(one, Refusal):
            yield one.code
            continue
        yield "read"
        go_on(one)


def go_on(trajectory: Trajectory) -> None:
    for protocol in protocols.PROTOCOLS.values():
        try:
            write(trajectory, protocol)
        except Refusal:
            continue
    for target in ("openai", "sharegpt", "msagent"):
        try:
            sources.get_target(target).write(trajectory)
        except Refusal:
            continue


@pytest.mark.parametrize("name", GOOD)
def test_undamaged_records_are_read(name: str) -> None:
    for record in GOOD[name]:
        assert set(outcomes(name, record, ReadOptions(failed_branches=True))) == {"read"}


@pytest.mark.parametrize("name", GOOD)
def test_damaged_records_are_read_or_refused(name: str) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, len(GOOD[name]) - 1), st.integers(0, 10**9), st.booleans())
    def check(which: int, seed: int, failed: bool) -> None:
        counts.update(outcomes(name, damage(GOOD[name][which], seed), ReadOptions(failed_branches=failed)))

    check()
    print(name, dict(counts))
    assert counts["read"] >= 10
    assert sum(counts.values()) - counts["read"] >= 10


def test_damaged_msagent_records_are_converted_as_xtuner_does_or_refused() -> None:
    good = {
        "conversations": [
            {
                "from": "system",
                "value": '1. {"name": "a", "description": "d", "paths": [{"parameters": [{"name": "t", "description": "x"}]}]}',
            },
            {"from": "user", "value": "q"},
            {
                "from": "assistant",
                "value": 'p<|startofthink|>{"api_name": "a", "parameters": {}}<|endofthink|><|startofexec|>{}<|endofexec|>x',
            },
        ]
    }
    counts: Counter[str] = Counter()
    for seed in range(1000):
        record = damage(good, seed)
        try:
            counts["read"] += bool(xtuner.convert(record).conversation)
        except Refusal as error:
            counts[error.code] += 1
    print(dict(counts))
    assert counts["read"] >= 100
    assert len(counts) >= 5


REPEATED = (
    "<tool_call>",
    "<tool_response>",
    "<tools>[",
    "<scratch_pad>",
    "<think>",
    "API-Request: [F(",
    ")]",
    "\n" * 9 + " " * 9,
    "{",
    "'\\x4",
)


@pytest.mark.parametrize("text", REPEATED)
@pytest.mark.parametrize("name", GOOD)
def test_long_repeated_text_takes_no_time(name: str, text: str) -> None:
    """A text of 200 KB in place of each text in turn: a reader that looks through the rest again and again would not come back."""
    long = text * (200_000 // len(text))
    for record in GOOD[name]:
        for number, (_container, _key) in enumerate(list(places(record))):
            changed = copy.deepcopy(record)
            container, key = list(places(changed))[number]
            if isinstance(container[key], str):
                container[key] = long
                for source in (name, "openai", "hermes"):
                    sources.get(source).detect(changed)
                try:
                    list(sources.get(name).read(changed, ReadOptions(failed_branches=True)))
                except Refusal:
                    continue


@pytest.mark.parametrize("name", GOOD)
def test_a_value_of_any_other_kind_at_any_place_is_read_or_refused(name: str) -> None:
    """Every place, every kind: what a draw of damages may miss."""
    kinds: list[Json] = [None, True, 10**30, 1.5, "x", [], [None], {}, {"a": None}]
    seen = 0
    for good in GOOD[name]:
        for at in range(len(list(places([good])))):
            for kind in kinds:
                box = [copy.deepcopy(good)]
                container, key = list(places(box))[at]
                container[key] = copy.deepcopy(kind)
                seen += len(list(outcomes(name, box[0], ReadOptions(failed_branches=True))))
    assert seen
