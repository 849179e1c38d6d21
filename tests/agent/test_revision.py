"""What a person makes of a conversation afterwards, and what a trainer then sees of it."""

from __future__ import annotations

import json

import pytest

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation, resumed
from agenttune.agent.toolbox import Toolbox, tool
from agenttune.errors import UserError
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.base import write
from agenttune.values.trajectory import Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

CALL = 'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}'
WRONG = "Thought: I know.\nFinal Answer: It is 4."


def add(left: int, right: int) -> int:
    """Adds two numbers.

    Args:
        left: a number
        right: a number
    """
    return left + right


def conversation(*replies: str, name: str = "scripted", adapter: str = "") -> Conversation:
    """One with `add`, and a model that says these replies."""
    return Conversation(agent(*replies, name=name, adapter=adapter))


def agent(*replies: str, name: str = "scripted", adapter: str = "") -> Agent:
    """An agent that says these replies."""
    model = ScriptedModel(list(replies))
    model.name = model.fingerprint = name
    tools = Toolbox([tool(add)], inline=True)
    return Agent(
        model=model, template=templates.load("auto", model.tokenizer), protocol=protocols.get("react"), toolbox=tools, adapter=adapter
    )


def outputs(trajectory: Trajectory) -> list[tuple[str, float]]:
    """What a sample of it trains, and with which weight."""
    turns = write(trajectory, protocols.get("react")).turns
    return [(turn.output.splitlines()[-1], turn.weight) for turn in turns]


def test_a_round_says_why_it_ended_and_who_answered() -> None:
    talk = conversation(CALL, WRONG, adapter="mine")
    talk.ask("1+2?")
    (only,) = talk.trajectory.rounds
    assert (only.stop, only.answered_by) == ("answer", "scripted + mine")
    made = talk.trajectory
    assert (made.model, made.adapter, made.protocol, made.template) == ("scripted", "mine", "react", "auto")
    assert trajectory_from_json(json.loads(json.dumps(trajectory_to_json(made)))) == made


def test_a_bad_round_is_context_only_until_it_is_good() -> None:
    talk = conversation(CALL, WRONG, "Final Answer: Bye.")
    talk.ask("1+2?")
    talk.judge("bad", "it is 3")
    talk.ask("bye")
    weights = [weight for _, weight in outputs(talk.trajectory)]
    assert weights == [0.0, 0.0, 1.0]
    assert (talk.trajectory.rounds[0].verdict, talk.trajectory.rounds[0].comment) == ("bad", "it is 3")
    talk.rewind(1)
    talk.judge("good")
    assert [weight for _, weight in outputs(talk.trajectory)] == [1.0, 1.0]


def test_an_edited_answer_is_gold_whatever_the_verdict_and_is_what_the_model_reads() -> None:
    prompts: list[str] = []
    replies = iter([CALL, WRONG, "Final Answer: Bye."])
    talk = conversation()
    model = ScriptedModel(lambda prompt: (prompts.append(prompt), next(replies))[1])
    talk = Conversation(Agent(**{name: getattr(talk.agent, name) for name in ("template", "protocol", "toolbox")}, model=model))
    talk.ask("1+2?")
    talk.judge("bad")
    talk.edit(" It is 3. ")
    assert outputs(talk.trajectory) == [('Action Input: {"left": 1, "right": 2}', 0.0), ("Final Answer: It is 3.", 1.0)]
    last = talk.trajectory.rounds[0].steps[-1]
    assert (last.thought, last.token_ids, last.raw, last.outcome) == ("I know.", (), "", "edited")
    talk.judge("bad", "slow")
    assert talk.trajectory.rounds[0].steps[-1].weight == 1.0
    talk.ask("bye")
    assert "Final Answer: It is 3.<|im_end|>" in prompts[2]
    assert "It is 4." not in prompts[2]


def test_a_round_without_an_answer_gets_one() -> None:
    talk = conversation(CALL)
    talk.ask("1+2?", steered=lambda: True)
    talk.edit("It is 3.")
    assert [step.answer for step in talk.trajectory.rounds[0].steps] == [None, "It is 3."]


def test_what_cannot_be_is_one_sentence() -> None:
    talk = conversation("Final Answer: Hi.")
    for act in (lambda: talk.judge("good"), lambda: talk.edit("x"), lambda: talk.rewind(1), lambda: talk.compare(talk.agent)):
        with pytest.raises(UserError):
            act()
    talk.ask("hi")
    for text in ("", "  ", "caf\udce9"):
        with pytest.raises(UserError):
            talk.edit(text)
    assert talk.trajectory.rounds[0].steps[-1].answer == "Hi."


def test_a_steered_run_ends_after_its_tools_and_a_new_round_opens() -> None:
    talk = conversation(CALL, "Final Answer: It is 3, in words: three.")
    assert talk.ask("1+2?", steered=lambda: True) == "steered"
    assert talk.ask("in words, please") == "answer"
    first, second = talk.trajectory.rounds
    assert (first.user, first.stop, first.steps[-1].observations[0].text) == ("1+2?", "steered", "3")
    assert (second.user, second.stop) == ("in words, please", "answer")


def test_two_agents_answer_one_question_and_the_conversation_goes_on_from_the_first() -> None:
    talk = conversation("Final Answer: A.", "Final Answer: next.", adapter="mine")
    talk.ask("which?")
    base = agent("Final Answer: B.")
    assert talk.compare(base) == "answer"
    (beside,) = talk.comparisons
    assert [one.steps[-1].answer for one in (talk.trajectory.rounds[0], beside.rounds[0])] == ["A.", "B."]
    assert (beside.adapter, beside.rounds[0].answered_by) == ("", "scripted")
    assert not any(step.weight for step in beside.steps())
    talk.ask("and?")
    assert [one.answered_by for one in talk.trajectory.rounds] == ["scripted + mine", "scripted + mine"]
    talk.use(base)
    assert talk.agent is base


def test_another_models_ids_never_enter_a_prompt() -> None:
    talk = conversation("Final Answer: A.")
    talk.ask("which?")
    same, other = agent(), agent(name="other")
    assert resumed(talk.trajectory, same).rounds[0].steps[0].token_ids
    gone = resumed(talk.trajectory, other)
    assert not gone.rounds[0].steps[0].token_ids
    assert gone.model == "other"
    talk.use(other)
    assert not talk.trajectory.rounds[0].steps[0].token_ids
