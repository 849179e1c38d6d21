"""Whole conversations: they end as the loop ends them, and are judged by what was said or done at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.events import RunFinished
from agenttune.agent.guards import Guards
from agenttune.agent.ladder import RUNGS
from agenttune.agent.step import StepOptions
from agenttune.agent.toolbox import tool
from agenttune.errors import UserError
from agenttune.evaluation.live import cases as live_cases
from agenttune.evaluation.live.cases import LiveCase, batches, is_live, part, read
from agenttune.evaluation.live.converse import converse
from agenttune.evaluation.live.judge import numbers, same, verdict
from agenttune.evaluation.live.report import prepare, read_report, report_of, save, score
from agenttune.evaluation.live.run import agent_of, run_live
from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.run import run_eval
from agenttune.evaluation.shots import shots
from agenttune.models.scripted import ScriptedModel
from agenttune.screens.report.live_table import live_rows, markdown
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory


def add(left: int, right: int) -> int:
    """Adds.

    Args:
        left: a number
        right: a number
    """
    return left + right


CALL = 'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}'
OTHER = 'Thought: I add.\nAction: add\nAction Input: {"left": 3, "right": 4}'
ANSWER = "Thought: I know.\nFinal Answer: It is 3."
BROKEN = "Action: add\nAction Input: {"


def case(*users: str, **fields: Any) -> LiveCase:
    made = {"id": "one", "tools": (tool(add),), "users": users or ("1+2?",), "how": "number", "accepted": ("3",)}
    return LiveCase(**{**made, **fields})


def agent(replies: Any, **fields: Any) -> Agent:
    model = ScriptedModel(replies)
    from agenttune.agent.toolbox import Toolbox

    made = {"toolbox": Toolbox([tool(add)], inline=True), "sampling": SamplingParams(max_new_tokens=200)}
    made |= {"options": StepOptions(), "guards": None, **fields}
    return Agent(model=model, template=templates.load("auto", model.tokenizer), protocol=protocols.get("react"), **made)


def ran(replies: Any, one: LiveCase | None = None, **fields: Any) -> RunFinished:
    (found,) = converse([one or case()], agent(replies, **fields))
    return found


def held(replies: Any, one: LiveCase | None = None, **fields: Any) -> Trajectory:
    return ran(replies, one, **fields).trajectory


@pytest.mark.parametrize(
    ("replies", "stop", "steps"),
    [
        ([CALL, ANSWER], "answer", 2),
        ([ANSWER], "answer", 1),
        ([CALL, CALL, CALL], "loop", 3),
        ([CALL, OTHER, CALL, OTHER, CALL, OTHER, CALL, OTHER], "max_steps", 8),
        ([BROKEN, BROKEN, BROKEN], "malformed", 3),
        ([BROKEN, BROKEN, CALL, BROKEN, ANSWER], "answer", 5),
        (["Thought: " + "a" * 400] * 3, "length", 3),
        (["Final Answer: " + "a" * 400], "length", 1),
        ([CALL, 'Action: none\nAction Input: {"a": 1}', ANSWER], "answer", 3),
    ],
)
def test_a_conversation_without_guards_ends_as_a_run_ends(replies: list[str], stop: str, steps: int) -> None:
    found = held(replies)
    assert (found.stop, len(found.rounds[0].steps)) == (stop, steps)


AS_IN_CHAT: dict[str, Any] = {"guards": Guards(), "options": StepOptions(constrain=True, repairs=RUNGS), "max_steps": 4}
TWICE = ("1+2?", "and 3+4?")


@pytest.mark.parametrize("settings", [AS_IN_CHAT, {"max_steps": 4}, {**AS_IN_CHAT, "options": StepOptions(repairs=RUNGS)}])
@pytest.mark.parametrize(
    ("replies", "users"),
    [
        ([CALL, ANSWER, OTHER, "Final Answer: 7"], TWICE),
        ([CALL, CALL, CALL, CALL, OTHER, OTHER, OTHER, ANSWER], TWICE),  # loops: ended, or answered when it must be
        ([CALL, OTHER] * 6, TWICE),  # to the last step
        ([BROKEN] * 8, TWICE[:1]),
        (
            ["Action: ad\nAction Input: {'left': 1, 'right': '2'}", ANSWER, ANSWER],
            TWICE[:1],
        ),  # what the grammar changes, or the ladder reads
        (["Thought: " + "a" * 400] * 4, TWICE[:1]),
        (["Final Answer: " + "a" * 400], TWICE[:1]),
    ],
)
def test_a_conversation_is_step_by_step_the_one_that_chat_would_hold(
    replies: list[str], users: tuple[str, ...], settings: dict[str, Any]
) -> None:
    ended = ran(replies, case(*users), **settings)
    chat = Conversation(agent(replies, **settings))
    stops = [chat.ask(text) for text in users[: len(ended.trajectory.rounds)]]
    assert ended.trajectory.rounds == chat.trajectory.rounds
    assert (ended.stop, ended.guards) == (stops[-1], dict(chat.guards))


def test_rounds_follow_an_answer_and_nothing_else() -> None:
    both = case("1+2?", "and 3+4?")
    found = held([CALL, ANSWER, OTHER, "Final Answer: 7"], both)
    assert [one.user for one in found.rounds] == ["1+2?", "and 3+4?"]
    assert [len(one.steps) for one in found.rounds] == [2, 2]
    cut = ran([CALL, CALL, CALL], both)
    assert (len(cut.trajectory.rounds), cut.stop) == (1, "loop")
    assert score(both, cut).reason == "loop"


def test_conversations_side_by_side_do_not_disturb_each_other() -> None:
    def reply(prompt: str) -> str:
        if "Observation" in prompt:
            return "Final Answer: done"
        return CALL if "first" in prompt else "Final Answer: nothing to do"

    pair = [case("first", id="a"), case("second", id="b")]
    found = converse(pair, agent(reply))
    assert [[step.answer for step in one.trajectory.rounds[0].steps] for one in found] == [[None, "done"], ["nothing to do"]]


def test_shots_stand_before_every_step_and_in_no_trajectory() -> None:
    seen: list[str] = []
    replies = [CALL, ANSWER]

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return replies[len(seen) - 1]

    (found,) = converse([case()], agent(reply), shots("react", 2))
    assert found.trajectory.rounds == held([CALL, ANSWER]).rounds
    assert len(seen) == 2
    for prompt in seen:
        assert prompt.count("open_valve:") == 2 and prompt.index("Night Watch") < prompt.index("1+2?")
    assert "Observation" in seen[1].partition("1+2?")[2]


def test_a_fault_fails_the_first_call_alone() -> None:
    found = held([CALL, CALL, ANSWER], case(fault="busy"))
    assert [seen.text for step in found.rounds[0].steps for seen in step.observations] == ["Error: busy", "3"]
    again = held([CALL, ANSWER], case(fault="busy"))  # the next conversation has its own fault
    assert again.rounds[0].steps[0].observations[0].error


def ended(*steps: Step, stop: str = "answer") -> Trajectory:
    return Trajectory(rounds=(Round(user="?", steps=steps),), stop=stop)


def called(answer: str, name: str = "add", seen: Observation | None = None, **arguments: Any) -> Trajectory:
    call = Step(calls=(ToolCall(name=name, arguments=arguments),), observations=(seen or Observation(text="x"),))
    return ended(call, Step(answer=answer))


@pytest.mark.parametrize(
    ("answer", "how", "accepted", "reason"),
    [
        ("It is about 6,650 km long.", "number", ["6650"], "ok"),
        ("It is 6650.", "number", ["6651"], "wrong"),
        ("About 128.67.", "number", ["128.666666666667"], "ok"),
        ("About 129.", "number", ["128.666666666667"], "ok"),
        ("About 14.", "number", ["13.8"], "wrong"),
        ("minus 269 degrees", "number", ["-269"], "ok"),
        ("from 05:12 to 17:48", "numbers", ["05", "12", "17", "48"], "ok"),
        ("from 05:12", "numbers", ["05", "12", "17", "48"], "wrong"),
        ("The capital is nairobi.", "text", ["Nairobi"], "ok"),
        ("The symbol is Au.", "text", ["Au"], "ok"),
        ("It was in August.", "text", ["Au"], "wrong"),
        ("It has 3 hearts.", "text", ["three", "3"], "ok"),
        ("李白是唐代诗人。", "text", ["唐"], "ok"),
        ("3 " + "and so on " * 40, "number", ["3"], "long"),
        ("I have no tool to do it.", "number", ["3"], "wrong"),
    ],
)
def test_an_answer_is_judged_by_what_it_holds(answer: str, how: str, accepted: list[str], reason: str) -> None:
    assert verdict(called(answer), how, accepted) == reason


def test_without_a_call_the_reason_says_so() -> None:
    assert verdict(ended(Step(answer="I have no tool to add.")), "number", ["3"]) == "declined"
    assert verdict(ended(Step(answer="It is 4.")), "number", ["3"]) == "no call"
    assert verdict(ended(Step(answer="It is 3.")), "number", ["3"]) == "ok"
    assert verdict(ended(Step(answer="3"), stop="loop"), "number", ["3"]) == "loop"


@pytest.mark.parametrize(
    ("answer", "how", "reason"),
    [
        ("Hello!", "talk", "ok"),
        ("I have no tool to greet.", "talk", "declined"),
        ("", "talk", "no call"),
        ("I have no tool to book a flight.", "declines", "ok"),
        ("I can't do that.", "declines", "ok"),
        ("抱歉，我不能。", "declines", "ok"),
        ("The flight is booked.", "declines", "no call"),
    ],
)
def test_what_needs_no_tool_is_said(answer: str, how: str, reason: str) -> None:
    assert verdict(ended(Step(answer=answer)), how, []) == reason
    assert verdict(called(answer), how, []) == "called"


def test_a_round_that_lacks_something_must_be_answered_without_a_call() -> None:
    asked = Round(user="?", steps=(Step(answer="Which numbers?"),))
    done = called("It is 3.").rounds[0]
    assert verdict(Trajectory(rounds=(asked, done), stop="answer"), "number", ["3"], [0]) == "ok"
    assert verdict(Trajectory(rounds=(done, done), stop="answer"), "number", ["3"], [0]) == "called"


def test_state_is_what_the_last_calls_left() -> None:
    wanted = [{"name": "lamp", "arguments": {"lamp": "Kitchen", "state": "on"}}]
    assert verdict(called("Done.", "lamp", lamp="kitchen", state="on"), "state", wanted) == "ok"
    assert verdict(called("Done.", "lamp", lamp="hall", state="on"), "state", wanted) == "wrong"
    assert verdict(called("Done.", "timer", minutes=3), "state", wanted) == "wrong"
    failed = Observation(text="Error: busy", error=True)
    assert verdict(called("Done.", "lamp", failed, lamp="kitchen", state="on"), "state", wanted) == "wrong"


def test_numbers_are_read_with_their_commas() -> None:
    assert numbers("1,250 and 3.5, 7") == [Decimal("1250"), Decimal("3.5"), Decimal("7")]
    assert not same(Decimal("9" * 400), Decimal("3.5")) and same(Decimal("3.5" + "0" * 300 + "1"), Decimal("3.5"))
    assert same(Decimal("13"), Decimal("13.0")) and not same(Decimal("12323"), Decimal("12325"))


def test_a_repeated_call_is_counted_within_its_round() -> None:
    found = score(case(), ran([CALL, OTHER, CALL, ANSWER]))
    assert (found.right, found.repeated, found.steps, found.forced) == (True, 1, 4, 0)


def test_what_guards_grammar_and_ladder_did_is_counted() -> None:
    looped = score(case(), ran([CALL, CALL, CALL, ANSWER], **AS_IN_CHAT))
    assert (looped.right, looped.reason, looped.stop) == (True, "ok", "loop")  # it was made to answer, and that is judged
    assert (looped.guards, looped.forced, looped.calls, looped.constrained) == ({"forced_answer": 1}, 1, 3, 0)
    misspelt = score(case(), ran(["Action: add\nAction Input: {'left': 1, 'right': 2}", ANSWER], **AS_IN_CHAT))
    assert (misspelt.constrained, misspelt.repaired, misspelt.calls) == (1, 0, 1)
    free = {**AS_IN_CHAT, "options": StepOptions(repairs=RUNGS)}
    loose = score(case(), ran(["Action: add\nAction Input: {left: 1, right: 2}", ANSWER], **free))
    assert (loose.right, loose.constrained, loose.repaired) == (True, 0, 1)
    tags = {"half": "shipped", "kind": "sums"}
    told = report_of("x", [replace(one, tags=tags, clusters=("sums", "p")) for one in (looped, misspelt, loose)], {}).counts
    names = ("calls changed by the grammar", "replies repaired", "guard: forced answer", "guard: repeated call", "ended in no answer")
    assert [told[name] for name in names] == [1, 1, 1, 0, 0]


def test_the_next_question_follows_an_answer_that_a_guard_asked_for() -> None:
    found = ran([CALL, CALL, CALL, ANSWER, OTHER, OTHER, OTHER, "Final Answer: 7"], case(*TWICE), **AS_IN_CHAT)
    assert [len(one.steps) for one in found.trajectory.rounds] == [4, 4]
    assert found.guards == {"forced_answer": 2}


def test_the_agent_has_guards_and_grammar_unless_told_otherwise() -> None:
    model = ScriptedModel([])
    made = agent_of(model, EvalOptions(suite="desk:live", out=Path("x")))
    assert made.guards == Guards() and made.options == StepOptions(constrain=True, repairs=RUNGS)
    bare = agent_of(model, EvalOptions(suite="desk:live", out=Path("x"), constrain=False, guards=False, repair=False))
    assert bare.guards is None and bare.options == StepOptions()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": "m", "fail_under": {"tool": 0.5}}, "takes no --fail-under"),
        ({}, "needs a model"),
    ],
)
def test_what_conversations_do_not_take_is_refused(given: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        run_live(EvalOptions(suite="desk:live", out=tmp_path / "run", **given))
    with pytest.raises(UserError, match=r"--no-guards and --no-repair are of desk:live"):
        run_eval(EvalOptions(suite="desk", model="overlap", out=tmp_path / "run", guards=False))


def test_the_parts_are_in_even_shares_and_grow() -> None:
    cases = [case(id=f"{kind}{number}", tags={"kind": kind}) for kind in "abc" for number in range(9)]
    drawn = part(cases, 6)
    assert sorted(one.tags["kind"] for one in drawn) == ["a", "a", "b", "b", "c", "c"]
    assert {one.id for one in drawn} < {one.id for one in part(cases, 9)}
    assert part(cases, None) == cases


def test_batches_hold_every_case_once() -> None:
    cases = [case(id=str(number), users=("q",) * (1 + number % 2)) for number in range(7)]
    assert sorted(one.id for batch in batches(cases, 3) for one in batch) == sorted(one.id for one in cases)


def test_a_report_has_rates_by_half_and_kind_and_the_counts() -> None:
    tags = {"half": "shipped", "kind": "sums"}
    good = score(case(tags=tags, clusters=("sums", "p")), ran([CALL, ANSWER]))
    bad = score(case(tags=tags, clusters=("sums", "q"), accepted=("4",)), ran([CALL, ANSWER]))
    report = report_of("x", [good, bad], {})
    assert {name: (one.value, one.n) for name, one in report.rates.items()} == {
        "all": (0.5, 2), "half shipped": (0.5, 2), "kind sums": (0.5, 2),
    }  # fmt: skip
    assert report.counts["reason wrong"] == 1 and report.counts["steps a conversation"] == 2


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    tags = {"half": "shipped", "kind": "sums"}
    scores = [score(case(tags=tags, clusters=("sums", "p")), ran([CALL, ANSWER]))]
    report = report_of("x", scores, {"suite": "x", "model": "m"})
    with pytest.raises(UserError, match="holds no finished run"):
        read_report(tmp_path)
    prepare(tmp_path / "run", report.meta, overwrite=False)
    save(report, tmp_path / "run")
    assert read_report(tmp_path / "run") == report
    with pytest.raises(UserError, match="there already"):
        prepare(tmp_path / "run", report.meta, overwrite=False)


def test_a_folder_of_somebody_else_is_refused_even_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not the folder of a run"):
        prepare(tmp_path, {}, overwrite=True)


def test_the_table_begins_with_right_answers() -> None:
    tags = {"half": "shipped", "kind": "sums"}
    report = report_of("x", [score(case(tags=tags, clusters=("sums", "p")), ran([CALL, ANSWER]))], {})
    head, rows = live_rows({"base": report, "adapter": report})
    assert head == ["conversations", "n", "base", "adapter"]
    assert rows[0][:3] == ["**right answers**", "1", "100 % (21–100)"]
    assert [row[0] for row in rows[1:3]] == ["half shipped", "kind sums"]
    assert " ".join(markdown(head, rows).splitlines()[2].split()) == "| **right answers** | 1 | 100 % (21–100) | 100 % (21–100) |"


def test_the_shipped_halves_are_found_by_name() -> None:
    assert is_live("desk:live") and is_live("desk:live-dev") and not is_live("desk") and not is_live("desk:dev")
    assert {one.tags["split"] for one in read("desk:live")} == {"heldout"}
    assert {one.tags["split"] for one in read("desk:live-dev")} == {"dev"}
    with pytest.raises(UserError, match='no half "devv"'):
        read("desk:live-devv")


@pytest.mark.parametrize("name", ["../evil", {"use": "os:system", "name": "x", "description": "y", "parameters": {}}])
def test_a_suite_loads_nothing_but_shipped_tools_and_the_desks_own(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": "a", "tools": [name], "users": ["?"], "judge": {"how": "talk", "accepted": []}, "tags": {}, "clusters": []}
    folder = tmp_path / "mine" / "live"
    folder.mkdir(parents=True)
    (folder / "heldout.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr(live_cases, "shipped", lambda _: tmp_path)
    with pytest.raises(UserError, match=r"heldout\.jsonl:1"):
        read("mine:live")
