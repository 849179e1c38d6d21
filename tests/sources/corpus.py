"""Adversarial records, written by us: for each shape what must be kept, or the reason why the record is refused. No reader is used.

`row` names the row of the list of shapes that XTuner v0.1.23 drops or bends which a shape stands for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = Any

# What XTuner v0.1.23's converter of MSAgent records drops or bends, each executed: every one of these must be met by a shape below.
BENT = (
    "two pairs in one value",
    "two thinks, no exec",
    "think unreadable",
    "think single-quoted",
    "think without parameters",
    "think without api_name",
    "fence in lower case",
    "exec is not JSON",
    "no prose after exec",
    "closing prose holds Final Answer:",
    "no prose before the call",
    "answer has no thought",
    "flat parameters",
    "no tools",
    "non-ASCII, quotes, booleans",
    "plugin url",
    "required flags, method, model_id",
    "plain answer",
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One record. Either `reject` names the reason code, or the other fields say, in order, what must come out.

    `calls` are (tool, arguments); `open` is the number of calls that nobody answered; `tools` are (name, parameters, required ones);
    `changes` are the names of all changes the reader must own up to; `react` and `hermes` are the codes
    under which a protocol refuses what was read.
    """

    name: str
    source: str
    record: Json
    row: str = ""
    users: tuple[str, ...] = ("q",)
    thoughts: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[tuple[str, Json], ...] = ()
    observations: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    system: str = ""
    tools: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    changes: tuple[str, ...] = ()
    conversations: int = 1
    reject: str = ""
    react: str = ""
    hermes: str = ""


def line(shape: Shape) -> str:
    """The record as a line of a JSONL file; a record that is text already is that line."""
    return shape.record if isinstance(shape.record, str) else json.dumps(shape.record, ensure_ascii=False)


# ---- MSAgent-Bench ----

CALL = '{"api_name": "a", "parameters": {"t": "x"}}'
A = ("a", {"t": "x"})
B = ("b", {"n": "2"})


def think(text: str = CALL, fence: str = "```JSON\n{}\n```") -> str:
    return f"<|startofthink|>{fence.replace('{}', text)}<|endofthink|>"


def execute(text: str, fence: str = "```JSON\n{}\n```") -> str:
    return f"<|startofexec|>{fence.replace('{}', text)}<|endofexec|>"


def talk(*values: str, system: str | None = "你是助手。") -> list[Json]:
    head = [] if system is None else [{"from": "system", "value": system}]
    return head + [one for value in values for one in ({"from": "user", "value": "q"}, {"from": "assistant", "value": value})]


def bench(*values: str, system: str | None = "你是助手。") -> Json:
    return {"id": "MS_Agent_Bench_1", "conversations": talk(*values, system=system)}


THINK_B = think('{"api_name": "b", "parameters": {"n": "2"}}')
PATH = {
    "name": "a",
    "model_id": "/damo/x",
    "method": "post",
    "description": "译",
    "parameters": [{"name": "t", "description": "文", "required": "True"}, {"name": "u", "description": "", "required": "False"}],
}
INNER = {"name": "a", "description": "译", "url": "http://h:1/", "paths": [PATH]}
PLUGIN = {"plugin_name": "a", "plugin_owner": "ModelScopeGPT", "plugin_type": "default", "plugin_schema_for_model": INNER}
FLAT = {"name": "a", "description": "译", "parameters": PATH["parameters"]}
TOOL_A = (("a", ("t", "u"), ("t",)),)
TRACE = "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'a'"
ODD = {"词": "引'号\"", "ok": True, "no": None, "l": [1.5, "\n"], "deep": {"b": False}}


def plugins(*items: Json) -> str:
    return "你是助手。" + "\n\n".join(f"{n}. {one if isinstance(one, str) else dumped(one)}" for n, one in enumerate(items, 1))


def dumped(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def msagent(name: str, record: Json, **fields: Any) -> Shape:
    fields.setdefault("system", "你是助手。")
    return Shape(name=name, source="msagent", record=record, **fields)


MSAGENT = (
    msagent(
        "two pairs in one value",
        bench("先。" + think() + execute("1") + "再。" + THINK_B + execute("2") + "完。"),
        row="two pairs in one value",
        thoughts=("先。", "再。"),
        calls=(A, B),
        observations=("1", "2"),
        answers=("完。",),
    ),
    msagent(
        "seven pairs without prose",
        bench("\n\n".join(think() + "\n\n" + execute(f"r{n}") for n in range(7))),
        row="two pairs in one value",
        calls=(A,) * 7,
        observations=tuple(f"r{n}" for n in range(7)),
    ),
    msagent("two thinks without a result", bench(think() + THINK_B), row="two thinks, no exec", calls=(A, B)),
    msagent(
        "two thinks, two results",
        bench(think() + THINK_B + execute("1") + execute("2") + "完"),
        row="two thinks, no exec",
        calls=(A, B),
        observations=("1", "2"),
        answers=("完",),
    ),
    msagent("a call cut off", bench(think('{"api_name": "a", "parameters": {"t": "x"')), row="think unreadable", reject="call"),
    msagent("a call with a trailing comma", bench(think('{"api_name": "a", "parameters": {"t": "x",}}')), row="think unreadable",
            calls=(A,), changes=("python_literal",)),
    msagent("prose where a call should be", bench(think("我不知道")), row="think unreadable", reject="call"),
    msagent(
        "a single-quoted call",
        bench(think("{'api_name': 'a', 'parameters': {'t': 'x', 'ok': True, 'no': None}}") + execute("1") + "好"),
        row="think single-quoted",
        calls=(("a", {"t": "x", "ok": True, "no": None}),),
        observations=("1",),
        answers=("好",),
        changes=("python_literal",),
    ),
    msagent("a call without parameters", bench(think('{"api_name": "a"}') + execute("1")), row="think without parameters",
            calls=(("a", {}),), observations=("1",), changes=("parameters_missing",)),
    msagent("a call without a name", bench(think('{"parameters": {"t": "x"}}')), row="think without api_name", reject="call"),
    msagent("a fence in lower case", bench(think(fence="```json\n{}\n```") + execute("1", "```json\n{}\n```") + "好"),
            row="fence in lower case", calls=(A,), observations=("1",), answers=("好",)),
    msagent("a fence that is never closed", bench(think(fence="```JSON\n{}") + execute("1", "```\n{}")), row="fence in lower case",
            calls=(A,), observations=("1",)),
    msagent("no fence", bench(think(fence="{}") + execute("1", "{}")), row="fence in lower case", calls=(A,), observations=("1",)),
    msagent("a result that is a traceback", bench(think() + execute(TRACE) + "失败。"), row="exec is not JSON",
            calls=(A,), observations=(TRACE,), answers=("失败。",)),
    msagent("a result that is a Python literal", bench(think() + execute("{'r': ['预报', True, None]}") + "好"), row="exec is not JSON",
            calls=(A,), observations=("{'r': ['预报', True, None]}",), answers=("好",)),
    msagent("a result of several lines with a fence inside", bench(think() + execute("a\n```py\nx\n```\nb", "{}") + "好"),
            row="exec is not JSON", calls=(A,), observations=("a\n```py\nx\n```\nb",), answers=("好",)),
    msagent("an empty result", bench(think() + execute("", "{}") + "好"), row="exec is not JSON",
            calls=(A,), observations=("",), answers=("好",)),
    msagent("a result that nobody answered", bench(think() + "\n\n" + execute('{"r": 1}')), row="no prose after exec",
            calls=(A,), observations=('{"r": 1}',)),
    msagent("closing prose with Final Answer: in it", bench(think() + execute("1") + "结论\nFinal Answer: 42\n完"),
            row="closing prose holds Final Answer:", calls=(A,), observations=("1",), answers=("结论\nFinal Answer: 42\n完",)),
    msagent("a result with Final Answer: in it", bench(think() + execute("Final Answer: no\nAction: none", "{}") + "好"),
            row="closing prose holds Final Answer:", calls=(A,), observations=("Final Answer: no\nAction: none",), answers=("好",)),
    msagent("a call with nothing before it", bench(think() + execute("1") + "好"), row="no prose before the call",
            calls=(A,), observations=("1",), answers=("好",)),
    msagent("an answer of two paragraphs", bench(think() + execute("1") + "一。\n\n二。\n"), row="answer has no thought",
            calls=(A,), observations=("1",), answers=("一。\n\n二。",)),
    msagent("a flat plugin", bench("好", system=plugins(FLAT)), row="flat parameters", tools=TOOL_A, answers=("好",)),
    msagent("a flat plugin with brackets too many", bench("好", system=plugins(dumped(FLAT) + "]}]}", FLAT)), row="flat parameters",
            tools=TOOL_A, answers=("好",), changes=("plugin_brackets", "plugin_merged")),
    msagent("a flat plugin with brackets too few", bench("好", system=plugins(dumped(FLAT)[:-2], {**FLAT, "name": "b"})),
            row="flat parameters", tools=(*TOOL_A, ("b", ("t", "u"), ("t",))), answers=("好",), changes=("plugin_brackets",)),
    msagent("a system text without tools", bench(think() + execute("1"), system="只是你好。"), row="no tools",
            system="只是你好。", calls=(A,), observations=("1",)),
    msagent("no system message", bench("好", system=None), row="no tools", system="", answers=("好",)),
    msagent("arguments of every kind", bench(think(dumped({"api_name": "a", "parameters": ODD})) + execute("1")),
            row="non-ASCII, quotes, booleans", calls=(("a", ODD),), observations=("1",)),
    msagent("the url of a call", bench(think('{"api_name": "a", "url": "http://1.2.3.4/", "parameters": {"t": "x"}}') + execute("1")),
            row="plugin url", calls=(A,), observations=("1",), changes=("call_url",)),
    msagent("a ModelScope plugin", bench("好", system=plugins(PLUGIN)), row="required flags, method, model_id",
            tools=TOOL_A, answers=("好",), changes=("plugin_details",)),
    msagent("the same plugin under two urls", bench("好", system=plugins(PLUGIN, {**PLUGIN, "plugin_schema_for_model":
            {**INNER, "url": "http://h:2/"}})), row="plugin url", tools=TOOL_A, answers=("好",),
            changes=("plugin_details", "plugin_details", "plugin_merged")),
    msagent("the inner form of a plugin", bench("好", system=plugins(INNER)), row="required flags, method, model_id",
            tools=TOOL_A, answers=("好",), changes=("plugin_details",)),
    msagent("a dialogue inside the system text", bench("好", system=plugins(FLAT) + "\n\n<|user|>:旧\n\n<|assistant|>:旧答\n\n</s>"),
            tools=TOOL_A, answers=("好",), changes=("system_dialogue",)),
    msagent("a plain answer", bench("就是这样。"), row="plain answer", answers=("就是这样。",)),
    msagent("an answer that begins with Final Answer:", bench("Final Answer: 就是这样。"), row="plain answer",
            answers=("Final Answer: 就是这样。",)),
    msagent("the conversation as a Python literal", {"id": "x", "conversations": repr(talk("p" + think() + execute('it\'s "1"') + "好"))},
            thoughts=("p",), calls=(A,), observations=('it\'s "1"',), answers=("好",), changes=("python_literal",)),
    msagent("the conversation as JSON in a text", {"id": "x", "conversations": dumped(talk(think() + execute("1")))},
            calls=(A,), observations=("1",), changes=("conversations_text",)),
    msagent("code where a literal should be", {"id": "x", "conversations": "[{'from': 'user', 'value': print('ran')}]"}, reject="shape"),
    msagent("prose between a call and its result", bench("p" + think() + "等等" + execute("1") + "好"), thoughts=("p\n等等",),
            calls=(A,), observations=("1",), answers=("好",), changes=("prose_after_call",)),
    msagent("two results of one call", bench(think() + execute("1") + execute("2") + "好"), calls=(A,), observations=("1\n2",),
            answers=("好",), changes=("result_joined",)),
    msagent("markers that are never closed", bench("<|startofthink|>" + CALL + "<|startofexec|>1<|endofexec|>好"),
            calls=(A,), observations=("1",), answers=("好",), changes=("think_unclosed",)),
    msagent("a result without a call", bench(execute("1") + "好"), reject="orphan"),
    msagent("a message that is only the end of a marker", bench("好<|endofexec|>"), reject="markers"),
    msagent("three rounds, the second without an answer", bench("一", " ", think()), users=("q", "q", "q"), calls=(A,), answers=("一",),
            changes=("empty_assistant",)),
    msagent("protocol words in the prose before a call", bench("想\nAction: 走\n" + think() + execute("1")), thoughts=("想\nAction: 走",),
            calls=(A,), observations=("1",), react="unwritable"),
    msagent("a number beyond 64 bits", '{"id": "x", "conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": '
            + dumped(think('{"api_name": "a", "parameters": {"n": 123456789012345678901234567890}}')) + "}]}",
            system="", calls=(("a", {"n": 123456789012345678901234567890}),)),
    msagent("a system message in the middle", {"conversations": [*talk("好"), {"from": "system", "value": "s"}]}, reject="order"),
    msagent("a role of its own", {"id": "x", "conversations": [*talk("好"), {"from": "robot", "value": "s"}]}, reject="role"),
    msagent("nobody answers", {"id": "x", "conversations": talk()}, reject="empty"),
    msagent("half of a surrogate pair", '{"id": "x", "conversations": [{"from": "user", "value": "\\ud83d"}]}', reject="surrogate"),
    msagent("a line cut in the middle", '{"id": "x", "conversations": [{"from": "user", "val', reject="json"),
    msagent("NaN in a record", '{"id": NaN, "conversations": []}', reject="shape"),
    msagent("one argument twice", bench(think('{"api_name": "a", "parameters": {"t": "x", "t": "y"}}')), reject="call"),
    msagent("a list where a record should be", "[1, 2]", reject="shape"),
)  # fmt: skip

# ---- ReAct text ----

ROUNDS = (
    "Thought: I look.\nAction: a\nAction Input: {'t': 'x'}\nObservation: one\n"
    'Thought: Again.\nAction: b\nAction Input: {"n": "2"}\nObservation: {"r": [1,\n 2]}\nThought: Done.\nFinal Answer: It is so.'
)
FINISH = 'Thought: Done.\nAction: finish\nAction Input: {"answer": "It is so."}'


def said(*pairs: tuple[str, str], key: str = "conversations") -> Json:
    return {"id": "x", key: [{"from": who, "value": text} for who, text in pairs]}


REACT = (
    Shape(name="three rounds in one value", source="ms_agent", record=said(("user", "q"), ("assistant", ROUNDS)),
          thoughts=("I look.", "Again.", "Done."), calls=(A, B), observations=("one", '{"r": [1,\n 2]}'), answers=("It is so.",),
          changes=("python_literal",)),
    Shape(name="an input that is code", source="ms_agent", record=said(("user", "q"), ("assistant",
          "Thought: I look.\nAction: a\nAction Input: __import__('os').getcwd()\nObservation: one\nThought: so\nFinal Answer: no")),
          thoughts=("I look.", "so"), calls=(("a", {"input": "__import__('os').getcwd()"}),), observations=("one",), answers=("no",),
          changes=("input_text", "input_named")),
    Shape(name="the last observation nobody answered", source="ms_agent", record=said(("user", "q"), ("assistant",
          'Thought: I look.\nAction: a\nAction Input: {"t": "x"}\nObservation: one')),
          thoughts=("I look.",), calls=(A,), observations=("one",)),
    Shape(name="roles function and user, finish as the answer", source="react", record=said(("user", "q"),
          ("assistant", 'Thought: I look.\nAction: a\nAction Input: {"t": "x"}'), ("function", "one"), ("assistant", FINISH)),
          thoughts=("I look.", "Done."), calls=(A,), observations=("one",), answers=("It is so.",)),
    Shape(name="two questions", source="react", record=said(("user", "q"), ("assistant", FINISH), ("user", "r"),
          ("assistant", 'Thought: I look.\nAction: a\nAction Input: {"t": "x"}'), ("observation", "one"), ("assistant", FINISH)),
          users=("q", "r"), thoughts=("Done.", "I look.", "Done."), calls=(A,), observations=("one",),
          answers=("It is so.", "It is so.")),
    Shape(name="a missing observation", source="react", record=said(("user", "q"),
          ("assistant", 'Thought: I look.\nAction: a\nAction Input: {"t": "x"}'), ("assistant", FINISH)),
          thoughts=("I look.", "Done."), calls=(A,), answers=("It is so.",), changes=("gap",)),
    Shape(name="bare quotes inside an answer", source="react", record=said(("user", "q"), ("assistant",
          'Thought: Done.\nAction: finish\nAction Input: {"answer": "He said "so" twice."}')),
          thoughts=("Done.",), answers=('He said "so" twice.',), changes=("quotes_escaped",)),
    Shape(name="an input cut off", source="react", record=said(("user", "q"), ("assistant",
          'Thought: I look.\nAction: a\nAction Input: {"t": "x", "u": [1')), reject="arguments"),
    Shape(name="an action without input", source="react", record=said(("user", "q"), ("assistant",
          "Thought: I look.\nAction: a\nThought: no\nAction Input: {}")), reject="action"),
    Shape(name="a thought that leads nowhere", source="react", record=said(("user", "q"), ("assistant",
          "Thought: I look.\nAction: a\nAction Input: {}"), ("function", "one"), ("assistant", "Thought: hm")), reject="step"),
    Shape(name="search[…] and a reward", source="react", record={"instruction": "q", "input": "", "output":
          "Thought: I look.\nAction: search[New [old] York]\nObservation: one\nThought: Done.\nAction: finish[yes]\n"
          "Observation: Episode finished, reward = True\n"},
          thoughts=("I look.", "Done."), calls=(("search", {"input": "New [old] York"}),), observations=("one",), answers=("yes",),
          changes=("reward",)),
    Shape(name="numbered lines and a path", source="react", record={"input": "q", "output":
          "ActionPath 1: Start\nThought 1: I look.\nAction 1: Search[x]\nObservation 1: one\nThought 2: Done.\nAction 2: Finish[yes]"},
          thoughts=("ActionPath: Start\nI look.", "Done."), calls=(("Search", {"input": "x"}),), observations=("one",), answers=("yes",),
          changes=("action_path_in_thought",)),
    Shape(name="a room", source="react", record={"input": "q", "output":
          "> think: I go.\nOK.\n> go to shelf 1\nOn the shelf 1, you see a cup 1.\n> take cup 1\nYou take it."},
          thoughts=("I go.",), calls=(("act", {"action": "go to shelf 1"}), ("act", {"action": "take cup 1"})),
          observations=("On the shelf 1, you see a cup 1.", "You take it."), changes=("think_reply",)),
    Shape(name="an observation before any call", source="react", record={"input": "q", "output":
          "Thought: I look.\nObservation: one\nAction: finish[yes]"}, reject="orphan"),
)  # fmt: skip

# ---- chat messages ----

F = {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}
TOOL_F = (("f", ("a",), ("a",)),)


def chat(*messages: Json, **fields: Json) -> Json:
    return {"id": "x", "messages": [{"role": "user", "content": "q"}, *messages], **fields}


def tool_call(id: str, arguments: Json, name: str = "f") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Json, content: Json = None) -> Json:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(id: str, content: Json) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content}


F1, F2 = ("f", {"a": "1"}), ("f", {"a": "2"})

CHAT = (
    Shape(name="content beside a call", source="openai", record=chat(calling(tool_call("1", '{"a": "1"}'), content="I look."),
          result("1", "one"), {"role": "assistant", "content": "so"}, tools=[{"type": "function", "function": F}]),
          thoughts=("I look.",), calls=(F1,), observations=("one",), answers=("so",), tools=TOOL_F),
    Shape(name="arguments as an object", source="openai", record=chat(calling(tool_call("1", {"a": "1"})), result("1", "one")),
          calls=(F1,), observations=("one",)),
    Shape(name="arguments encoded twice", source="openai", record=chat(calling(tool_call("1", dumped('{"a": "1"}'))), result("1", "one")),
          calls=(F1,), observations=("one",), changes=("arguments_encoded_twice",)),
    Shape(name="parallel calls answered the other way round", source="openai", record=chat(calling(tool_call("1", '{"a": "1"}'),
          tool_call("2", '{"a": "2"}')), result("2", "two"), result("1", "one"), {"role": "assistant", "content": "so"}),
          calls=(F1, F2), observations=("one", "two"), answers=("so",)),
    Shape(name="a result at the end", source="openai", record=chat(calling(tool_call("1", '{"a": "1"}')), result("1", "one")),
          calls=(F1,), observations=("one",)),
    Shape(name="a call that nobody answered", source="openai", record=chat(calling(tool_call("1", '{"a": "1"}')),
          {"role": "user", "content": "r"}, {"role": "assistant", "content": "so"}), users=("q", "r"), calls=(F1,), answers=("so",)),
    Shape(name="reasoning beside the content", source="openai", record=chat({"role": "assistant", "content": "so",
          "reasoning_content": "because"}), reasoning=("because",), answers=("so",)),
    Shape(name="a result for another call", source="openai", record=chat(calling(tool_call("1", "{}")), result("9", "one")),
          reject="orphan"),
    Shape(name="a picture", source="openai", record=chat({"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}),
          reject="media"),
    Shape(name="arguments that are no object", source="openai", record=chat(calling(tool_call("1", "[1]"))), reject="arguments"),
    Shape(name="a run of tau-bench", source="openai", record={"task_id": 3, "trial": 1, "reward": 1.0, "traj": [
          {"role": "system", "content": "S"}, {"role": "user", "content": "q"}, calling(tool_call("1", '{"a": "1"}')),
          {"role": "tool", "tool_call_id": "1", "name": "f", "content": "one"}, {"role": "assistant", "content": "so"}]},
          system="S", calls=(F1,), observations=("one",), answers=("so",), changes=("fields_dropped",)),
    Shape(name="a transcript whose calls are lost", source="openai", record={"messages_display": "user: q\nassistant: None\ntool: one"},
          reject="calls_missing"),
    Shape(name="a thought, then a function_call", source="sharegpt", record={**said(("human", "q"), ("gpt", "I look."),
          ("function_call", '{"name": "f", "arguments": {"a": "1"}}'), ("observation", "one"), ("gpt", "so")), "tools": dumped([F])},
          thoughts=("I look.",), calls=(F1,), observations=("one",), answers=("so",), tools=TOOL_F),
    Shape(name="a thought tag in a function_call", source="sharegpt", record=said(("human", "q"), ("function_call",
          '<think>because</think>\n{"name": "f", "arguments": {"a": "1"}}'), ("observation", "one")),
          reasoning=("because",), calls=(F1,), observations=("one",), changes=("think_tags",)),
    Shape(name="a list of calls, a list of results", source="sharegpt", record=said(("human", "q"), ("function_call",
          '[{"name": "f", "arguments": {"a": "1"}}, {"name": "g", "arguments": {}}]'),
          ("observation", '[{"name": "f", "content": "one"}, {"name": "g", "content": "two"}]'), ("gpt", "so")),
          calls=(F1, ("g", {})), observations=('{"name": "f", "content": "one"}', '{"name": "g", "content": "two"}'), answers=("so",),
          changes=("results_split",)),
    Shape(name="a call that is no JSON", source="sharegpt", record=said(("human", "q"), ("function_call", "f(1)")), reject="call"),
    Shape(name="an observation first", source="sharegpt", record=said(("human", "q"), ("observation", "one"), ("gpt", "so")),
          reject="orphan"),
    Shape(name="blocks of tool_use and tool_result", source="anthropic", record={"system": "S", "messages": [
          {"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "because"},
          {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "1"}}]},
          {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "one"}, {"type": "text", "text": "r"}]},
          {"role": "assistant", "content": "so"}]},
          users=("q", "r"), system="S", thoughts=("I look.",), reasoning=("because",), calls=(F1,), observations=("one",),
          answers=("so",)),
    Shape(name="a tool_result that answers nothing", source="anthropic", record={"messages": [{"role": "user", "content": [
          {"type": "tool_result", "tool_use_id": "1", "content": "one"}]}]}, reject="orphan"),
    Shape(name="two tool_call tags with prose before", source="hermes", record=said(("human", "q"), ("gpt",
          'I look.\n<tool_call>\n{"name": "f", "arguments": {"a": "1"}}\n</tool_call>\n'
          '<tool_call>\n{"name": "f", "arguments": {"a": "2"}}\n</tool_call>'),
          ("tool", "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"), ("gpt", "so")),
          thoughts=("I look.",), calls=(F1, F2), observations=("one", "two"), answers=("so",),
          changes=("results_by_position",)),
    Shape(name="a closing tag inside an argument", source="hermes", record=said(("human", "q"), ("gpt",
          '<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>'), ("tool", "one")),
          calls=(("f", {"a": "</tool_call>"}),), observations=("one",)),
    Shape(name="a query with two answers", source="xlam", record={"id": 1, "query": "q", "tools": dumped([F]), "answers":
          dumped([{"name": "f", "arguments": {"a": "1"}}, {"name": "f", "arguments": {"a": "2"}}])}, calls=(F1, F2), tools=TOOL_F),
    Shape(name="a query without an answer", source="xlam", record={"id": 1, "query": "q", "tools": "[]", "answers": "[]"},
          reject="empty"),
    Shape(name="history before an instruction", source="alpaca", record={"instruction": "q", "input": "i", "output": "so",
          "history": [["x", "y"]]}, users=("x", "q\ni"), answers=("y", "so")),
    Shape(name="an empty output", source="alpaca", record={"instruction": "q", "output": ""}, reject="empty"),
)  # fmt: skip

# ---- trees, dialogues, our own ----

ANSWER = '{"return_type": "give_answer", "final_answer": "so"}'


def node(role: str, message: str, *following: Json) -> Json:
    return {"role": role, "message": message, "next": list(following)}


def tool_node(name: str, arguments: str, response: str, *following: Json) -> Json:
    return node("tool", repr({"name": name, "arguments": arguments, "response": response}), *following)


def solution(*nodes: Json) -> Json:
    return {"id": "x", "query": "q", "available_tools": [F], "answer": {"final_answer": ANSWER, "answer_details": list(nodes)}}


TREES = (
    Shape(name="a solution tree of two answers", source="toolbench", record=solution(node("user", "q",
          tool_node("f", '{"a": "1"}', "one", tool_node("Finish", ANSWER, "")),
          tool_node("f", '{"a": "2"}', "two", tool_node("Finish", ANSWER, "")))),
          users=("q", "q"), calls=(F1, F2), observations=("one", "two"), answers=("so", "so"), tools=TOOL_F, conversations=2,
          changes=("finish_as_answer", "finish_as_answer")),
    Shape(name="a message cut after its arguments", source="toolbench", record=solution(node("user", "q",
          node("tool", repr({"name": "f", "arguments": '{"a": "1"}', "response": "one two three"})[:-9],
          tool_node("Finish", ANSWER, "")))),
          calls=(F1,), observations=("one tw",), answers=("so",), tools=TOOL_F, changes=("finish_as_answer", "observation_cut")),
    Shape(name="a message cut inside its arguments", source="toolbench", record=solution(node("user", "q",
          node("tool", repr({"name": "f", "arguments": '{"a": "1"}', "response": ""})[:35], tool_node("Finish", ANSWER, "")))),
          conversations=1, reject="cut"),
    Shape(name="a search that gave up", source="toolbench", record=solution(node("user", "q",
          tool_node("Finish", '{"return_type": "give_up_and_restart"}', ""))), reject="failed"),
    Shape(name="API turns of a dialogue", source="apibank", record={"file": "x", "turns": [{"role": "User", "text": "q"},
          {"role": "API", "api_name": "F", "param_dict": {"a": 1}, "result": {"api_name": "F", "input": {"a": 1}, "output": {"r": 1},
          "exception": None}}, {"role": "API", "api_name": "F", "param_dict": {"a": 2}, "result": {"api_name": "F", "input": {"a": 2},
          "output": None, "exception": "no"}}, {"role": "AI", "text": "so"}]},
          calls=(("F", {"a": 1}), ("F", {"a": 2})), observations=('{"r": 1}', "no"), answers=("so",)),
    Shape(name="a row whose arguments hold code", source="apibank", record={"instruction": "S", "input":
          "User: q\nAPI-Request: [F(a=exit(1), b='x')]->one", "output": "AI: so"},
          system="S", calls=(("F", {"a": "exit(1)", "b": "x"}),), observations=("one",), answers=("so",), changes=("arguments_unquoted",)),
    Shape(name="a dialogue without turns", source="apibank", record={"file": "x", "turns": []}, reject="empty"),
    Shape(name="a tree of two leaves", source="oasst", record={"message_tree_id": "t", "prompt": {"role": "prompter", "text": "q",
          "replies": [{"role": "assistant", "text": "b", "rank": 1, "replies": []},
          {"role": "assistant", "text": "a", "rank": 0, "replies": []}]}},
          users=("q", "q"), answers=("a", "b"), conversations=2, changes=("message_fields_dropped",) * 2),
    Shape(name="two messages of one id", source="oasst", record=[
          {"message_id": "1", "parent_id": None, "role": "prompter", "text": "q"},
          {"message_id": "2", "parent_id": "1", "role": "assistant", "text": "a"},
          {"message_id": "2", "parent_id": "1", "role": "assistant", "text": "b"}], reject="tree"),
    Shape(name="our own, with reasoning and an answer", source="trajectory", record={"id": "x", "system": "S", "rounds": [{"user": "q",
          "steps": [{"reasoning": "because", "thought": "I look.", "calls": [{"name": "a", "arguments": {"t": "x"}}],
          "observations": [{"text": "one", "error": True}]}, {"answer": "so", "weight": 0.5}]}]},
          system="S", reasoning=("because",), thoughts=("I look.",), calls=(A,), observations=("one",), answers=("so",)),
    Shape(name="our own, with a field of no meaning", source="trajectory", record={"rounds": [{"user": "q", "steps": [], "x": 1}]},
          reject="trajectory"),
)  # fmt: skip

SHAPES = (*MSAGENT, *REACT, *CHAT, *TREES)
