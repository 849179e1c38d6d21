"""Each record is known by one source: its own. Over real files, and over small records of the formats that no file here holds."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune import sources
from agenttune.values.trajectory import Json

FILES = {
    "tau-bench/gpt-4o-airline.json.gz": "openai",
    "tau-bench/MockAirlineDomainEnv-few_shot.jsonl": "openai",
    "glaive-demo/glaive_toolcall_en_demo.json": "sharegpt",
    "glaive-demo/glaive_toolcall_zh_demo.json": "sharegpt",
    "glaive-demo/reason_tool_use_demo_50.jsonl": "sharegpt",
    "toolbench/dfs_answers.jsonl": "toolbench",
    "toolbench/gpt-3.5-turbo_CoT_G1_tool.json": "toolbench",
    "api-bank/dialogues_lv1_lv2.jsonl": "apibank",
    "api-bank/lv3-train.json": "apibank",
    "msagent/ms_agent_bench_20.jsonl": "msagent",
    "msagent/ms_agent_react_126374.jsonl": "ms_agent",
    "react-gpt4/dev.jsonl": "react",
    "fireact/hotpotqa.json": "react",
    "fireact/multitask_multimethod.json": "react",
    "fireact/traj_hotpotqa_dev_gpt35ft.json": "react",
    "knowagent/HotpotQA_data_knowagent.json": "react",
    "toolalpaca/eval_simulated.json": "react",
}
LIMIT = 300  # records of a file


def records(path: Path) -> Iterator[Json]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    if ".jsonl" in path.name:
        yield from map(json.loads, filter(str.strip, text.split("\n")))
        return
    value = json.loads(text)
    yield from value if isinstance(value, list) else ({"id": key, **one} for key, one in value.items())


def known_by(record: Json) -> list[str]:
    return [name for name in sources.SHIPPED if sources.get(name).detect(record)]


def asked_first(record: Json) -> str:
    found = sources.detect(record)
    return found[0] if found else ""


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_real_records_are_known_by_their_own_source(data_dir: Path, file: str, name: str) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    for number, record in enumerate(records(data_dir / file)):
        if number < LIMIT:
            counts[tuple(known_by(record))] += 1
            assert asked_first(record) == name
    print(file, dict(counts))
    allowed = {(name,), ("ms_agent", "react")} if name == "ms_agent" else {(name,)}
    assert set(counts) <= allowed


def chat(*texts: str, keys: tuple[str, str, str] = ("messages", "role", "content"), roles: tuple[str, str] = ("user", "assistant")) -> Json:
    return {keys[0]: [{keys[1]: roles[number % 2], keys[2]: text} for number, text in enumerate(texts)]}


SHAREGPT = ("conversations", "from", "value")
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
SMALL: list[tuple[str, Json]] = [
    ("openai", chat("q", "a")),
    ("openai", chat("q", "Action: none of them")),
    ("openai", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": []}]}),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "assistant", "content": "a"}]}),
    ("openai", chat("q about <tool_call>", "a")),
    ("sharegpt", chat("q", "a", keys=SHAREGPT, roles=("human", "gpt"))),
    ("sharegpt", {"messages": [{"role": "user", "content": "q"}, {"role": "tool_call", "content": "{}"}]}),
    ("hermes", chat("q", CALL, keys=SHAREGPT, roles=("human", "gpt"))),
    ("hermes", chat("q", CALL)),
    ("hermes", {"messages": [{"role": "system", "content": '<tools>\n{"name": "f"}\n</tools>'}, *chat("q", "a")["messages"]]}),
    ("react", chat("q", 'Thought: t\nAction: f\nAction Input: {"a": 1}')),
    ("msagent", chat("q", "<|startofthink|>{}<|endofthink|>", keys=SHAREGPT)),
    ("xlam", {"query": "q", "tools": "[]", "answers": "[]"}),
    ("anthropic", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}]}),
    ("anthropic", {**chat("q", "a"), "tools": [{"name": "f", "input_schema": {}}]}),
    ("alpaca", {"instruction": "q", "input": "", "output": "a"}),
    ("alpaca", {"instruction": "q", "output": "Action speaks louder: a"}),
    ("oasst", {"message_tree_id": "t", "prompt": {"role": "prompter", "text": "q", "replies": []}}),
    ("oasst", {"message_id": "1", "parent_id": None, "role": "prompter", "text": "q"}),
    ("oasst", [{"message_id": "1", "parent_id": None, "role": "prompter", "text": "q"}]),
    ("toolbench", {"tree": {}, "answer_generation": {}}),
    ("trajectory", {"rounds": [{"user": "q", "steps": []}]}),
]


@pytest.mark.parametrize(("name", "record"), SMALL)
def test_small_records_are_known_by_one_source(name: str, record: Json) -> None:
    assert known_by(record) == [name]


NOBODYS: list[Json] = [None, 3, "text", [], {}, [3], {"messages": []}, {"messages": 3}, {"messages": [3]}, {"prompt": "x"}, {"rounds": []}]


@pytest.mark.parametrize("record", [*NOBODYS, {"conversations": [{"from": []}]}])
def test_what_no_source_knows(record: Json) -> None:
    assert known_by(record) == []
