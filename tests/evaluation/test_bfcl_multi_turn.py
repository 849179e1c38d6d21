"""BFCL's conversations: the wheel's classes driven by parsed calls, judged as the wheel judges; no text of a model becomes code."""

from __future__ import annotations

import importlib
import inspect
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.evaluation.bfcl import conversations, wheel, world
from agenttune.evaluation.evaluate import evaluate
from agenttune.evaluation.predict import ModelPredictor, Prompt, Talker, model_talker
from agenttune.evaluation.suites import bfcl_multi_turn
from agenttune.models.scripted import ScriptedModel
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Step, ToolCall

HERMES = protocols.get("hermes")
CORRUPTIONS = 2


def items(category: str) -> list[conversations.MultiTurnItem]:
    return list(conversations.read_conversations(wheel.data_folder(), category))


def gold_calls(item: conversations.MultiTurnItem, root: str) -> list[list[ToolCall]]:
    """The gold calls as a model would have to make them: every value under its name."""
    here = world.ApiWorld(root, item.classes, item.config)

    def call(text: str) -> ToolCall:
        name, values, named = world.read_call(text)
        return ToolCall(
            name=name, arguments={**dict(zip(inspect.signature(here._methods[name]).parameters, values, strict=False)), **named}
        )

    return [[call(text) for text in turn] for turn in item.gold]


def plain(turns: Sequence[Sequence[ToolCall]]) -> list[list[dict[str, Any]]]:
    return [[{"name": call.name, "arguments": dict(call.arguments)} for call in turn] for turn in turns]


def knows(turns: dict[str, list[list[ToolCall]]]) -> Talker:
    """Makes all calls of a turn in one reply, then says that it is done."""

    def step(one: Prompt) -> Step:
        said = [turn.output for turn in one.sample.turns if turn.output]
        answered = sum("<tool_call>" not in text for text in said)
        calls = tuple(turns[one.key][answered])
        made = bool(said) and "<tool_call>" in said[-1]
        new = Step(answer="Done.") if made or not calls else Step(calls=calls)
        return Step(calls=new.calls, answer=new.answer, raw=HERMES.write_step(new), outcome="call" if new.calls else "final")

    return lambda prompts: [step(one) for one in prompts]


@pytest.fixture
def root(located: Path) -> str:
    return wheel.module_path(wheel.data_folder())


@pytest.fixture
def their_checker(bfcl_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(bfcl_wheel))
    yield importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")


def spoiled(turns: list[list[ToolCall]], pick: random.Random) -> list[list[ToolCall]]:
    """One fault, drawn: a turn or a call left out, twice, at the end, or with another value or none."""
    made = [list(turn) for turn in turns]
    at = pick.choice([number for number, turn in enumerate(made) if turn])
    which = pick.randrange(len(made[at]))
    call, fault = made[at][which], pick.randrange(6)
    if fault == 0:
        made[at] = []
    elif fault == 1:
        del made[at][which]
    elif fault == 2:
        made[at].insert(which, call)
    elif fault == 3:
        made[at].append(made[at].pop(which))
    else:
        name = pick.choice(list(call.arguments)) if call.arguments else ""
        arguments = {key: ("other" if key == name else value) for key, value in call.arguments.items() if fault == 4 or key != name}
        made[at][which] = ToolCall(name=call.name, arguments=arguments)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("category", wheel.MULTI_TURN)
def test_every_verdict_is_the_wheels(category: str, root: str, their_checker: Any) -> None:
    pick, verdicts = random.Random(category), []
    for item in items(category):
        gold = gold_calls(item, root)
        for number, made in enumerate([gold, *(spoiled(gold, pick) for _ in range(CORRUPTIONS))]):
            ours = world.judge(
                root, list(item.classes), dict(item.config), "long_context" in category, plain(made), [*map(list, item.gold)]
            )
            steps = [[[written(call) for call in turn]] if turn else [] for turn in made]
            entry = {"id": item.id, "initial_config": item.config, "involved_classes": item.classes}
            theirs = their_checker.multi_turn_checker(steps, [*map(list, item.gold)], entry, category, f"m{number}")
            wanted = "ok" if theirs["valid"] else theirs["error_type"].removeprefix("multi_turn:")
            assert ours == wanted, (item.id, made)
            verdicts.append(ours)
            assert number or ours == "ok", item.id
    print(category, len(verdicts), {name: verdicts.count(name) for name in set(verdicts)})
    assert len(verdicts) == 200 * (1 + CORRUPTIONS)
    assert 200 < verdicts.count("ok") < len(verdicts) - 100


def written(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def test_items_are_read_whole(located: Path) -> None:
    found = {category: items(category) for category in wheel.MULTI_TURN}
    assert {len(some) for some in found.values()} == {200}
    held_back = found["multi_turn_miss_func"][0]  # "sort" comes with its fourth turn
    assert "sort" not in [tool.name for tool in held_back.tools]
    assert '"name": "sort"' in held_back.users[3]
    assert held_back.users[3].endswith("\nI have updated some more functions you can choose from. What about now?")
    assert held_back.gold[2] == ()
    with pytest.raises(UserError, match="in a run of their own"):
        suites.load("bfcl:multi_turn_base,simple_python")


def test_conversations_are_held_and_judged(root: str) -> None:
    suite = suites.load("bfcl:multi_turn_base,multi_turn_miss_func")
    assert suite.hold is not None
    some = [case for case in suite.cases if case.id.rsplit("_", 1)[-1] in ("0", "7", "42")]
    found = {one.id: one for category in wheel.MULTI_TURN[:2] for one in items(category)}
    turns = {case.id: gold_calls(found[case.id], root) for case in some}
    scores = suite.hold(knows(turns))(some)
    assert [(one.reason, one.valid, one.counts["success"], one.counts["bfcl_compat"]) for one in scores] == [
        ("ok", True, (1, 1), (1, 1))
    ] * 6
    assert {one.counts["excess_steps"][0] for one in scores} == {0}
    first = some[0].id
    idle = suite.hold(lambda prompts: [Step(answer="no", raw="no", outcome="final") for _ in prompts])(some[:1])
    assert [(one.reason, one.valid, one.counts["success"]) for one in idle] == [("empty_turn_model_response", True, (0, 1))]
    wrong = {first: [turns[first][0][:-1], *turns[first][1:]]}
    assert suite.hold(knows(wrong))(some[:1])[0].reason == "instance_state_mismatch"


def test_a_call_where_none_is_due_is_wrong_by_our_rule_alone(root: str) -> None:
    suite = suites.load("bfcl:multi_turn_miss_func")
    assert suite.hold is not None
    item = items("multi_turn_miss_func")[0]
    turns = gold_calls(item, root)
    turns[2] = [ToolCall(name="ls", arguments={})]
    (one,) = suite.hold(knows({item.id: turns}))(suite.cases[:1])
    assert (one.reason, one.counts["success"], one.counts["bfcl_compat"], one.counts["needless_call"]) == ("called", (0, 1), (1, 1), (1, 1))


def test_a_conversation_without_end_is_ended(root: str) -> None:
    suite = suites.load("bfcl:multi_turn_base")
    assert suite.hold is not None
    call = Step(calls=(ToolCall(name="ls", arguments={}),), raw="<tool_call>", outcome="call")
    asked: list[int] = []
    (one,) = suite.hold(lambda prompts: [asked.append(len(prompts)) or call for _ in prompts])(suite.cases[:1])  # type: ignore[func-returns-value]
    assert (one.reason, one.stop, len(asked)) == ("force_terminated", "max_steps", 21)


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("open('/etc/hostname').read", {}, "is not defined"),
        ("__import__", {"name": "os"}, "is not defined"),
        ("_load_scenario", {"scenario": {}}, "is not defined"),
        ("kill", {}, "is not allowed"),
        ("ls", {"odd": 1}, "unexpected keyword argument"),
    ],
)
def test_only_public_methods_are_called(name: str, arguments: dict[str, Any], answer: str, root: str) -> None:
    here = world.ApiWorld(root, ["GorillaFileSystem"], {})
    assert answer in here.call(name, (), arguments)


def test_a_calculation_without_end_is_stopped_and_the_conversation_goes_on(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "DEADLINE", 3.0)
    item = next(one for one in items("multi_turn_base") if "MathAPI" in one.classes)
    worlds = conversations.Worlds(root)
    talk = bfcl_multi_turn.HeldItem(item=item, trajectory=bfcl_multi_turn._opened(item))
    talk.take(Step(calls=(ToolCall(name="power", arguments={"base": 10, "exponent": 10**11}),), outcome="call"), worlds)
    talk.take(Step(calls=(ToolCall(name="add", arguments={"a": 1, "b": 2}),), outcome="call"), worlds)
    seen = [step.observations[0] for step in talk.trajectory.rounds[0].steps]
    assert (seen[0].error, seen[1].error, seen[1].text) == (True, False, '{"result": 3}')


def test_a_model_holds_a_conversation_and_the_run_is_kept(root: str, tmp_path: Path) -> None:
    suite = suites.load("bfcl:multi_turn_base")
    assert suite.hold is not None
    model = ScriptedModel(lambda prompt: '<tool_call>\n{"name": "ls", "arguments": {}}\n</tool_call>' if "ls_done" in prompt else "ls_done")
    predict = ModelPredictor(
        model=model, template=templates.load("auto", model.tokenizer), sampling=SamplingParams(max_new_tokens=120), prompts={}
    )
    report = evaluate(suite.cases[:2], suite.hold(model_talker(predict)), suite="bfcl:multi_turn_base", meta={}, out=tmp_path / "run")
    rates = {one.name: one.value for one in report.estimates["all"]}
    assert (rates["valid"], rates["success"], rates["bfcl_compat"]) == (0.0, 0.0, 0.0)
    assert predict.work.generated > 4
