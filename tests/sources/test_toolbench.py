"""ToolBench: each path from the question to a leaf, in the three shapes that searches are published in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.toolbench import source as toolbench
from agenttune.sources.toolbench.cut import tool_message
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, Trajectory

FINISH = '{\n  "return_type": "give_answer",\n  "final_answer": "It is 4."\n}'
GIVE_UP = '{"return_type": "give_up_and_restart"}'
TOOLS = [{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}, {"name": "Finish", "parameters": {}}]
ADD = ToolCall(name="add", arguments={"a": 2})
FAILED = ReadOptions(failed_branches=True)


def node(role: str, message: Json, *following: Json) -> Json:
    return {"role": role, "message": message, "next": list(following)}


def tool(name: str, arguments: str, response: str = "ok") -> str:
    return repr({"name": name, "arguments": arguments, "response": response})


def tree(*branches: Json, final: str = FINISH, query: str = "What is 2+2?") -> Json:
    root = node("system", "", node("user", query, *branches))
    answer = {"method": "x", "total_steps": 3, "final_answer": final, "answer_details": [root]}
    return {"id": "7", "query": query, "available_tools": TOOLS, "answer": answer}


def read(record: Json, options: ReadOptions | None = None) -> list[Trajectory]:
    found = []
    for one in toolbench.read(record, options or ReadOptions()):
        if isinstance(one, Refusal):
            raise one
        found.append(one)
    return found


def test_a_path_that_finishes_has_its_answer() -> None:
    details = node("tool", tool("add", '{"a": 2}', "it's 4"), node("assistant", "I know.", node("tool", tool("Finish", FINISH))))
    (found,) = read(tree(details))
    assert found.rounds[0].user == "What is 2+2?"
    assert found.rounds[0].steps == (
        Step(calls=(ADD,), observations=(Observation(text="it's 4"),)),
        Step(thought="I know.", answer="It is 4."),
    )
    assert [tool.name for tool in found.tools] == ["add"]
    assert sorted(found.notes) == ["fields_dropped: method, total_steps", "finish_as_answer"]


def test_each_branch_is_a_path_and_failed_ones_are_asked_for() -> None:
    record = tree(
        node(
            "assistant",
            "T.",
            node("tool", tool("add", '{"a": 2}'), node("tool", tool("Finish", GIVE_UP))),
            node("tool", tool("add", '{"a": 3}'), node("tool", tool("Finish", FINISH))),
        ),
        node("tool", tool("add", '{"a": 4}')),
    )
    (found,) = read(record)
    assert [step.thought for step in found.rounds[0].steps] == ["T.", ""]
    assert "branches_left_out: 2" in found.notes
    every = read(record, FAILED)
    assert [(one.id, one.stop, len(one.rounds[0].steps)) for one in every] == [
        ("7#1", "gave_up", 2),
        ("7#2", "", 2),
        ("7#3", "no_answer", 1),
    ]
    assert every[0].rounds[0].steps[-1].calls == (ToolCall(name="Finish", arguments={"return_type": "give_up_and_restart"}),)
    assert [tool.name for tool in every[0].tools] == ["add", "Finish"]
    assert len({one.group for one in every}) == 1


def test_the_best_branch_is_the_one_whose_answer_the_record_names() -> None:
    other = '{"return_type": "give_answer", "final_answer": "five"}'
    record = tree(node("tool", tool("Finish", other)), node("tool", tool("Finish", FINISH)))
    (found,) = read(record, ReadOptions(branches="best"))
    assert found.rounds[0].steps[-1].answer == "It is 4."
    assert len(read(record)) == 2


def test_a_search_without_an_answer_is_refused_or_kept_on_request() -> None:
    record = tree(node("tool", tool("add", '{"a": 2}'), node("tool", tool("Finish", GIVE_UP))), final="")
    with pytest.raises(Refusal, match="no path"):
        read(record)
    assert [one.stop for one in read(record, FAILED)] == ["gave_up"]


def test_messages_that_the_record_cuts_off() -> None:
    notes: list[str] = []
    assert tool_message(tool("add", "{}", "x" * 90)[:100], "", notes) == ("add", "{}", "x" * 52)
    assert notes == ["observation_cut"]
    assert tool_message("{'name': 'add', 'arguments': '{\\n  \"a\": 2\\n}', 'respo", "", []) == ("add", '{\n  "a": 2\n}', "")
    assert tool_message("{'name': 'add', 'arguments': '{}', 'response': 'a\\u4e", "", []) == ("add", "{}", "a")
    assert tool_message("{'name': 'add', 'arguments': '{}', 'response': 'a\\\\x4", "", []) == ("add", "{}", "a\\x4")
    assert tool_message("{'name': 'add', 'arguments': '{}', 'response': 'a\\", "", []) == ("add", "{}", "a")
    with pytest.raises(Refusal, match="cuts off the arguments"):
        tool_message("{'name': 'add', 'arguments': '{\"a\": ", "", [])
    assert tool_message("{'name': 'Finish', 'arguments': '{\\n  \"return_", FINISH, notes) == ("Finish", FINISH, None)
    assert notes[1:] == ["finish_from_final_answer"]
    with pytest.raises(Refusal, match="cuts off the arguments"):
        tool_message("{'name': 'Finish', 'arguments': '{\\n  \"other", FINISH, [])


def test_a_thought_that_is_cut_off_is_not_trained() -> None:
    query = "q" * 150
    details = node("assistant", "t" * 100, node("tool", tool("add", "{}", "r" * 100)[:100], node("tool", tool("Finish", FINISH)[:100])))
    record = tree(details, query=query)
    record["answer"]["answer_details"][0]["next"][0]["message"] = query[:100]
    (found,) = read(record)
    assert found.rounds[0].user == query
    assert [step.weight for step in found.rounds[0].steps] == [0.0, 1.0]
    assert {note_name(note) for note in found.notes} >= {"thought_cut", "observation_cut", "user_from_query", "finish_from_final_answer"}


def chosen(*messages: Json) -> Json:
    head = [{"role": "system", "content": "S"}, {"role": "user", "content": "\nQ?\nBegin!\n"}]
    return {
        "source": "s",
        "query": "Q?",
        "function": TOOLS,
        "final_answer": FINISH,
        "valid_data": True,
        "train_messages": [*head, *messages],
    }


def calls(name: str, arguments: str, content: str | None = None) -> Json:
    return {"role": "assistant", "content": content, "function_call": {"name": name, "arguments": arguments}}


def test_a_chosen_path_of_messages() -> None:
    result = {"role": "function", "name": "add", "content": "4"}
    retry = {"role": "user", "content": "This is not the first time", "valid": False}
    thought = {"role": "assistant", "content": "So."}
    (found,) = read(chosen(calls("add", '{"a": 2}', "Hm."), result, retry, thought, calls("Finish", FINISH)))
    assert (found.system, found.rounds[0].user) == ("S", "Q?")
    assert found.rounds[0].steps == (
        Step(thought="Hm.", calls=(ADD,), observations=(Observation(text="4"),)),
        Step(thought="So.", answer="It is 4."),
    )
    assert sorted(map(note_name, found.notes)) == ["fields_dropped", "finish_as_answer", "search_prompt_dropped", "user_from_query"]
    nested = chosen()
    nested["train_messages"] = [nested["train_messages"], chosen(calls("Finish", FINISH))["train_messages"]]
    assert read(nested)[0].rounds[0].steps == (Step(answer="It is 4."),)


def action(kind: str, text: str, *children: Json, **fields: Json) -> Json:
    return {"node_type": kind, "description": text, "children": list(children), **fields}


def test_a_whole_search_tree() -> None:
    good = action("Action", "Finish", action("Action Input", FINISH, observation="done"))
    add = action("Action", "add", action("Action Input", '{"a": 2}', action("Thought", "Hm.", good), good, observation="4"))
    record = {
        "win": True,
        "tree": {"size": 9, "tree": action("Action Input", "", add, action("Thought", "No idea."))},
        "answer_generation": {"query": "Q?", "function": TOOLS, "final_answer": FINISH, "train_messages": []},
    }
    found = read(record, FAILED)
    assert [one.stop for one in found] == ["", "", "no_answer"]
    assert found[0].rounds[0].steps[-1] == Step(thought="Hm.", answer="It is 4.")
    assert found[1].rounds[0].steps == (Step(calls=(ADD,), observations=(Observation(text="4"),)), Step(answer="It is 4."))
    assert found[2].rounds[0].steps == (Step(answer="No idea."),)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"query": "q", "train_messages": []}, "failed"),
        ({"query": "", "train_messages": [{}]}, "shape"),
        ({"query": "q", "train_messages": [1]}, "shape"),
        (chosen({"role": "function", "name": "add", "content": "4"}), "orphan"),
        (chosen(calls("add", "{}"), {"role": "function", "name": "sub", "content": "4"}), "orphan"),
        (chosen(calls("add", "{}"), {"role": "user", "content": "more"}), "order"),
        (chosen(calls("", "{}")), "call"),
        (tree(node("tool", "nonsense")), "call"),
        (tree(node("robot", "x")), "role"),
        (tree(node("tool", tool("add", "[1]"))), "arguments"),
        ({**tree(), "answer": {"answer_details": 3}}, "shape"),
        ({**tree(), "answer": {"answer_details": []}}, "empty"),
        ({"tree": {}, "answer_generation": {"query": "q"}}, "shape"),
        ({"tree": {"tree": action("Action Input", "", action("Action", "add"))}, "answer_generation": {"query": "q"}}, "call"),
    ],
)
def test_what_is_refused(record: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(record)
    assert refused.value.code == code


def test_too_many_paths_are_refused_before_they_are_copied() -> None:
    leaves = [node("tool", tool("Finish", FINISH))] * 2000
    deep = leaves
    for _ in range(600):
        deep = [node("assistant", "t", *deep)]
    with pytest.raises(Refusal, match="paths"):
        read(tree(*deep))


def test_every_dfs_answer_is_kept_whole(data_dir: Path) -> None:
    raw = (data_dir / "toolbench" / "dfs_answers.jsonl").read_text(encoding="utf-8")
    found, empty = [], 0
    for line in raw.splitlines():
        try:
            found += read(json.loads(line), FAILED)
        except Refusal as error:
            assert (error.code, '"train_messages": []' in line) == ("failed", True)
            empty += 1
    steps = [step for one in found for round_ in one.rounds for step in round_.steps]
    made = [call.name for step in steps for call in step.calls if isinstance(call, ToolCall)]
    finishes = len(re.findall(r'"function_call": \{"name": "Finish"', raw))
    assert (len(found), empty, finishes) == (13, 2, 13)
    assert sum(step.answer is not None for step in steps) == len([one for one in found if one.stop == ""]) == 9
    assert len(made) - made.count("Finish") == len(re.findall(r'"function_call": \{"name": "(?!Finish)', raw)) == 37
    assert sum(len(step.observations) for step in steps) == len(re.findall(r'"role": "function"', raw)) == 37
    dropped = [note for one in found for note in one.notes if note == "search_prompt_dropped"]
    assert len(dropped) == len(re.findall(r'"valid": false\}', raw)) == 7


def test_every_solution_tree_is_kept_or_refused_for_being_cut(data_dir: Path) -> None:
    kept = cut = broken = 0
    for path in sorted((data_dir / "toolbench").glob("gpt-3.5-turbo_CoT_*.json")):
        for name, record in json.loads(path.read_text(encoding="utf-8")).items():
            text = json.dumps(record["answer"]["answer_details"])
            tools = re.findall(r'"role": "tool", "message": "\{\'name\': \'([^\']*)\'', text)
            try:
                (one,) = read({"id": name, **record}, FAILED)
            except Refusal as error:
                cut += error.code == "cut"
                broken += error.code == "arguments"
                assert error.code in ("cut", "arguments")
                continue
            kept += 1
            steps = one.rounds[0].steps
            assert one.rounds[0].user == record["query"]
            # the last Finish is the answer, or a call that gives up, whose own result is cut off or not
            calls_made = sum(len(step.calls) for step in steps)
            observed = sum(len(step.observations) for step in steps)
            assert calls_made == len(tools) - (one.stop == "")
            assert observed == calls_made or (one.stop == "gave_up" and observed == calls_made - 1)
            assert one.stop != "" or steps[-1].answer is not None
            said = re.sub(r'"role": "assistant", "message": "[^"]*", "next": \[\{(?="role": "assistant")', "", text)
            spoken = sum(bool(step.thought) or (one.stop == "no_answer" and step.answer is not None) for step in steps)
            assert spoken == len(re.findall(r'"role": "assistant"', said))
    assert (kept + cut + broken, kept, broken) == (600, 276, 4)


def test_training_messages_without_a_tree() -> None:
    said = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "W?"},
        {"role": "assistant", "content": "I look.", "function_call": {"name": "w", "arguments": '{"c": "Oslo"}'}},
        {"role": "function", "name": "w", "content": "rain"},
        {"role": "assistant", "content": "", "function_call": {"name": "Finish", "arguments": json.dumps(ANSWERED)}},
    ]
    functions = [{"name": "w", "parameters": {"type": "object", "properties": {"c": {"type": "string"}}}}]
    for record in (
        {"answer_generation": {"query": "W?", "function": functions, "train_messages": [said]}},
        {"function": functions, "train_messages": [said]},
        {"query": "W?", "function": functions, "train_messages": said},
    ):
        assert toolbench.detect(record)
        (found,) = toolbench.read(record, ReadOptions())
        assert isinstance(found, Trajectory)
        assert (found.system, found.rounds[0].user, [tool.name for tool in found.tools]) == ("S", "W?", ["w"])
        call = ToolCall(name="w", arguments={"c": "Oslo"})
        assert found.rounds[0].steps == (
            Step(thought="I look.", calls=(call,), observations=(Observation(text="rain"),)),
            Step(answer="Rain."),
        )


ANSWERED = {"return_type": "give_answer", "final_answer": "Rain."}
