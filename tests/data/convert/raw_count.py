"""A second reader of the real data: plain regular expressions over the raw file. It parses nothing and imports nothing of the project.

For each file: where a record begins, where a conversation in it begins, and what in that stretch of raw text is a call, an observation and
an answer. Texts are seen as they stand in the file: a line break inside one is the two characters backslash and n.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COUNTED = ("calls", "observations", "answers")
TEXT = r'((?:[^"\\]|\\.)*)"'  # the rest of a JSON string
START = r"(?:^|\\n)"  # of a line inside a JSON string


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one file is counted.

    `record` begins a record (empty: each line that holds something is one), `body` the part of a record that is looked at, `unit` a
    conversation in it (empty: the record is one). Of the other three each is ``(where, what)``: `what` is counted in the first group of
    each match of `where` in the conversation, or where that is empty, in the whole of it.
    """

    source: str
    record: str = ""
    body: str = ""
    unit: str = ""
    calls: tuple[str, str]
    observations: tuple[str, str]
    answers: tuple[str, str]


@dataclass(frozen=True)
class Unit:
    """One conversation: the number of its record (or its line), its number in that record, and what was counted."""

    line: int
    part: int
    calls: int
    observations: int
    answers: int


def units(path: Path, rule: Rule) -> Iterator[Unit]:
    """Every conversation of a file, in order."""
    for line, record in records(path, rule):
        begin = re.search(rule.body, record) if rule.body else None
        body = record[begin.end() :] if begin else record
        for part, text in enumerate(pieces(rule.unit, body) if rule.unit else [body], 1):
            yield Unit(line, part, *(count(text, getattr(rule, name)) for name in COUNTED))


def records(path: Path, rule: Rule) -> Iterator[tuple[int, str]]:
    """The raw text of each record with its number."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    if rule.record:
        yield from enumerate(pieces(rule.record, text), 1)
    else:
        yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def pieces(pattern: str, text: str) -> list[str]:
    """The stretches that begin with a match of the pattern, up to the next one."""
    starts = [found.start() for found in re.finditer(pattern, text, re.MULTILINE)]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def count(unit: str, where_what: tuple[str, str]) -> int:
    """How often one thing stands in a conversation."""
    where, what = where_what
    stretches = (found.group(1) for found in re.finditer(where, unit)) if where else (unit,)
    return sum(len(re.findall(what, stretch)) for stretch in stretches)


def says(who: str, of: str = "from", text: str = "value") -> str:
    """The text of each message of a role."""
    return rf'"{of}": ?"(?:{who})",\s*"{text}": ?"' + TEXT


OUTPUT = r'"output": "' + TEXT
FINISH = START + r"Action(?: \d+)?: ?[Ff]inish\["
BRACKET = START + r"Action(?: \d+)?: ?(?![Ff]inish\[)\w"
SEEN = START + r"Observation(?: \d+)?:(?! ?(?:Episode finished|Answer is (?:IN)?CORRECT))"
REACT_GPT4 = Rule(
    source="react",
    calls=(says("assistant"), START + r"Action: (?!finish\b)"),
    observations=("", r'"from": "function"|Action: ask_to_user\\n(?:[^"\\]|\\.)*"\}, \{"from": "user"'),
    answers=(says("assistant"), START + r"Action: finish\b|\A(?!(?:.|\\.)*?Action: )."),
)
SAID_NONE = r'\s*\},\s*\{\s*"role": "user",\s*"content": "Observation: None"'
FIREACT = Rule(
    source="react", record=r'^        "instruction": ', calls=(OUTPUT, BRACKET), observations=(OUTPUT, SEEN), answers=(OUTPUT, FINISH)
)
GLAIVE = Rule(
    source="sharegpt",
    record=r'^    "conversations": ',
    calls=("", r'"from": "function_call"'),
    observations=("", r'"from": "observation"'),
    answers=("", r'"from": "gpt",\s*"value": "(?:[^"\\]|\\.)*"\s*\}(?!,\s*\{\s*"from": "function_call")'),
)
TREE_NODE = r'"message": "\{\'name\': '
LAST = r"'Finish'(?:[^\"\\]|\\.)*\", \"next\": \[\]"  # a Finish that ends its path is the answer, any other is a call like all
OTHERS = rf"(?!{LAST})"
SOLUTION = Rule(
    source="toolbench",
    record=r'(?:^\{|, )"\d+": \{"query": ',
    body=r'"answer_details": ',
    calls=("", TREE_NODE + OTHERS),
    observations=("", TREE_NODE + OTHERS),
    answers=("", TREE_NODE + LAST),
)
FEWSHOT = Rule(
    source="react",
    record=r"\A",
    unit=r"(?:\\n|\")(?:Question|Claim):",
    calls=("", BRACKET),
    observations=("", SEEN),
    answers=("", FINISH + "|" + START + "Answer:"),
)
TRANSCRIPT = Rule(
    source="openai",
    calls=("", r"\\nassistant: None"),
    observations=("", r"\\ntool: "),
    answers=("", r"\\nassistant: (?!None)"),
)
RULES: dict[str, Rule] = {
    "api-bank/dialogues_lv1_lv2.jsonl": Rule(
        source="apibank",
        calls=("", r'"role": "API"'),
        observations=("", r'"role": "API"(?:(?!"role": ).)*?"result": '),
        answers=("", r'"role": "AI", "text": "(?:[^"\\]|\\.)*"\}(?!, \{"role": "API")'),
    ),
    "api-bank/lv3-train.json": Rule(
        source="apibank",
        record=r'^        "instruction": ',
        body=r'"input": ',
        calls=("", r"(?:\\n|\")API-Request: "),
        observations=("", r"API-Request: (?:(?!\\n).)*?[\])]\s*->"),
        answers=("", r"(?:\\n|\")AI: "),
    ),
    "fireact/hotpotqa.json": FIREACT,
    "fireact/multitask_multimethod.json": FIREACT,
    "fireact/traj_hotpotqa_dev_gpt35ft.json": Rule(
        source="react",
        record=r'^  "\d+": \{',
        body=r'"traj": ',
        # a finish that has the result "None", after which the model goes on, is a call and no answer
        calls=(says("assistant", "role", "content")[:-2] + f'"(?:{SAID_NONE})?)', BRACKET + rf'|Action: finish\[[^"]*"{SAID_NONE}'),
        observations=(says("user", "role", "content"), r"\A" + SEEN.removeprefix(START)),
        answers=(says("assistant", "role", "content") + f"(?!{SAID_NONE})", FINISH),
    ),
    "glaive-demo/glaive_toolcall_en_demo.json": GLAIVE,
    "glaive-demo/glaive_toolcall_zh_demo.json": GLAIVE,
    "glaive-demo/reason_tool_use_demo_50.jsonl": Rule(
        source="sharegpt",
        calls=("", r'"type": "tool_call"'),
        observations=("", r'"role": "tool"'),
        answers=("", r'"role": "assistant", "content": \[(?:(?!"role": |"type": "tool_call").)*?\]\}'),
    ),
    "knowagent/ALFWorld_data_knowagent.json": Rule(
        source="react",
        record=r'^        "input": ',
        calls=(OUTPUT, START + r"> ?(?!(?:[Tt]hink|ActionPath) ?:)\w"),
        observations=(OUTPUT, START + r"> ?(?!(?:[Tt]hink|ActionPath) ?:)\w(?:(?!\\n).)*\\n(?!>)."),
        answers=(OUTPUT, START + r"Finish"),
    ),
    "knowagent/HotpotQA_data_knowagent.json": Rule(
        source="react", record=r'^        "input": ', calls=(OUTPUT, BRACKET), observations=(OUTPUT, SEEN), answers=(OUTPUT, FINISH)
    ),
    "msagent/ms_agent_bench_20.jsonl": Rule(
        source="msagent",
        calls=("", r"<\|startofthink\|>"),
        observations=("", r"<\|startofexec\|>"),
        answers=("", r'<\|endofexec\|>(?:\\n)*[^"\\]'),
    ),
    "msagent/ms_agent_react_126374.jsonl": Rule(
        source="ms_agent",
        calls=(says("assistant"), START + "Action: "),
        observations=(says("assistant"), START + "Observation: "),
        answers=(says("assistant"), START + "Final Answer: "),
    ),
    "react-fewshot/agentbench_alfworld_multiturn_react.json": Rule(
        source="openai",
        record=r'^  "\w+": \[',
        calls=("", r'"type": "function"'),
        observations=("", r'"role": "tool"'),
        answers=("", r'"role": "agent",\s*"content": "(?:[^"\\]|\\.)*",\s*"tool_calls": null'),
    ),
    "react-fewshot/alfworld_3prompts.json": Rule(
        source="react",
        record=r"\A",
        unit=r'"(?:re)?act_\w+": "',
        calls=("", r"\\n>(?! ?think:)"),
        observations=("", r"\\n>(?! ?think:)(?:(?!\\n).)*\\n(?!>|\")."),
        answers=("", r"\\nAnswer:"),
    ),
    "react-fewshot/fever.json": FEWSHOT,
    "react-fewshot/prompts_naive.json": FEWSHOT,
    "react-gpt4/dev.jsonl": REACT_GPT4,
    "react-gpt4/train.jsonl": REACT_GPT4,
    "tau-bench/MockAirlineDomainEnv-few_shot.jsonl": TRANSCRIPT,
    "tau-bench/MockRetailDomainEnv-few_shot.jsonl": TRANSCRIPT,
    "tau-bench/gpt-4o-airline.json.gz": Rule(
        source="openai",
        record=r'^    "task_id": ',
        body=r'"traj": ',
        calls=("", r'"type": "function"'),
        observations=("", r'"role": "tool"'),
        answers=("", r'"role": "assistant"(?!,\s*"(?:function_call|tool_calls)")'),
    ),
    "toolalpaca/eval_simulated.json": Rule(
        source="react",
        record=r'^        "Name": ',
        body=r'"Golden_Answers": ',
        unit=r"^            \[",
        calls=("", r'"Action": '),
        observations=("", r'"Observation": '),
        answers=("", r'"Answer": '),
    ),
    "toolalpaca/octobrist_chatgpt_multi_api_trajectories.json": Rule(
        source="react",
        record=r'^        "Name": ',
        body=r'"Instances": ',
        unit=r'^            (?:\{|"This instance)',
        calls=("", r"^ {20}\[$|^ {20}\[\n|\n {20}\[\n"),
        observations=("", r"\n {20}\[\n"),
        answers=("", r'"output": "(?!Agent stopped due to|Could not parse LLM output:).'),
    ),
    "toolbench/dfs_answers.jsonl": Rule(
        source="toolbench",
        body=r'"train_messages": ',
        calls=("", r'"function_call": \{"name": "(?!Finish")'),
        observations=("", r'"role": "function", "name": "(?!Finish")'),
        answers=("", r'"function_call": \{"name": "Finish"'),
    ),
    **{
        f"toolbench/gpt-3.5-turbo_CoT_{name}.json": SOLUTION
        for name in ("G1_category", "G1_instruction", "G1_tool", "G2_category", "G2_instruction", "G3_instruction")
    },
}
# Files beside them that hold no records of a conversation.
OTHER = {
    "api-bank/all_apis.csv": "a table of APIs",
    "bfcl-leaderboard/data_format_sensitivity_2025-12-16.csv": "a table of scores",
    "bfcl-leaderboard/data_overall_2025-12-16.csv": "a table of scores",
    "msagent/dev0_converted_golden.json": "another converter's output, compared with --compat xtuner",
    "msagent/dev0_raw_system_head.json": "a part of one record",
    "react-gpt4/systems.json": "the system texts of react-gpt4, given with --systems",
}
