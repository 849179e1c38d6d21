"""Guards: no run ends with an empty hand, no reading call is made twice, no result floods the prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.events import AgentEvent, GuardActed, RunFinished, ToolAnswered, ToolCalled
from agenttune.agent.guards import Guards, cut_observation
from agenttune.agent.react import SAME, run
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox import POLLING, READ_ONLY, Permission, Toolbox, find, tool
from agenttune.errors import Refusal
from agenttune.models.scripted import ByteTokenizer, ScriptedModel
from agenttune.values.sample import Turn
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory

ANSWER = "Thought: I know.\nFinal Answer: It is 3."
MADE: list[str] = []


def look(name: str) -> Annotated[str, READ_ONLY]:
    """Looks something up.

    Args:
        name: what
    """
    MADE.append(name)
    return "ten letters" if name != "long" else "0123456789" * 300


def wait(name: str) -> Annotated[str, POLLING]:
    """Asks whether it is done.

    Args:
        name: what
    """
    MADE.append(name)
    return "not yet"


def send(name: str) -> str:
    """Changes something.

    Args:
        name: what
    """
    MADE.append(name)
    return "sent"


TOOLS = Toolbox([tool(look), tool(wait), tool(send)], inline=True)


def call(name: str, value: str = "x") -> str:
    """A reply that calls a tool."""
    return f'Thought: I try.\nAction: {name}\nAction Input: {{"name": "{value}"}}'


def running(replies: Sequence[str], *, protocol: str = "react", guards: Guards | None = None, **more: Any) -> list[AgentEvent]:
    """All events of one guarded run."""
    MADE.clear()
    model = ScriptedModel(replies)
    fields: dict[str, Any] = {"toolbox": TOOLS, "guards": guards or Guards(), **more}
    agent = Agent(model=model, template=templates.load("auto", model.tokenizer), protocol=protocols.get(protocol), **fields)
    return list(run(Trajectory(tools=agent.toolbox.specs, rounds=(Round(user="q"),)), agent))


def ended(events: Sequence[AgentEvent]) -> tuple[str, tuple[Step, ...], dict[str, int]]:
    """Why it stopped, the steps, and the guards that acted."""
    last = events[-1]
    assert isinstance(last, RunFinished)
    told = [one.guard for one in events if isinstance(one, GuardActed)]
    assert {name: told.count(name) for name in told} == dict(last.guards)  # each is an event, and counted
    return last.stop, last.trajectory.rounds[-1].steps, dict(last.guards)


def test_the_last_allowed_step_can_only_be_an_answer() -> None:
    stop, steps, guards = ended(running([call("look", "a"), call("look", "b")], max_steps=2))
    assert (stop, guards) == ("max_steps", {"forced_answer": 1})
    assert [step.outcome for step in steps] == ["call", "forced"]
    assert steps[-1].answer
    assert MADE == ["a"]


def test_a_reading_call_again_is_answered_from_the_first_and_then_an_answer_is_forced() -> None:
    events = running([call("look"), call("look"), call("look")])
    stop, steps, guards = ended(events)
    assert (stop, guards) == ("loop", {"repeated_call": 1, "forced_answer": 1})
    assert MADE == ["x"]
    assert [one.text for step in steps for one in step.observations] == ["ten letters", f"ten letters\n{SAME}"]
    assert steps[-1].outcome == "forced" and steps[-1].answer
    assert sum(isinstance(one, ToolCalled) for one in events) == 1
    assert sum(isinstance(one, ToolAnswered) for one in events) == 2


def test_something_between_is_no_repetition() -> None:
    stop, _, guards = ended(running([call("look"), call("look", "y"), call("look"), ANSWER]))
    assert (stop, guards, MADE) == ("answer", {}, ["x", "y", "x"])


def test_a_call_that_changes_something_runs_twice_and_not_a_third_time() -> None:
    stop, steps, guards = ended(running([call("send")] * 3 + [ANSWER]))
    assert (stop, guards, MADE) == ("loop", {"forced_answer": 1}, ["x", "x"])
    assert (steps[-1].outcome, steps[-1].answer) == ("forced", "It is 3.")
    assert steps[2].observations[0].error


def test_a_polling_tool_may_be_asked_again_and_again() -> None:
    stop, _, guards = ended(running([call("wait")] * 5 + [ANSWER]))
    assert (stop, guards, MADE) == ("answer", {}, ["x"] * 5)


def test_replies_that_cannot_be_read_end_in_a_forced_answer() -> None:
    stop, steps, guards = ended(running(["hm", "hm", "hm", ANSWER]))
    assert (stop, guards) == ("malformed", {"forced_answer": 1})
    assert (steps[-1].outcome, steps[-1].answer) == ("forced", "It is 3.")


def test_tokens_of_a_run_are_limited() -> None:
    stop, steps, _ = ended(running([call("look", "a"), call("look", "b"), ANSWER], guards=Guards(run_tokens=len(call("look", "a")) + 1)))
    assert (stop, len(steps), steps[-1].outcome) == ("run_tokens", 3, "forced")


LONG = call("look", "long")  # answered with 3,000 letters
CUT = 'Thought: I try.\nAction: look\nAction Input: {"name": "' + "x" * 300


@pytest.mark.parametrize(
    ("limit", "replies", "fields", "why"),
    [
        ("max_steps", [call("look"), call("wait"), ANSWER], {"max_steps": 3}, "after 3 steps"),
        ("run_tokens", [call("look"), ANSWER], {"guards": Guards(run_tokens=20)}, "after 20 tokens"),
        ("loop", [call("look"), call("look"), ANSWER], {}, "after the same call again"),
        ("malformed", ["hm", "hm", "hm", ANSWER], {}, "after three replies that could not be used"),
        ("length", [CUT, CUT, CUT, ANSWER], {"sampling": SamplingParams(max_new_tokens=99)}, "after three replies that were cut at 99"),
        ("context", [LONG, ANSWER], {"context": 2000}, "because the conversation fills the model's context of 2,000"),
    ],
)
def test_at_every_limit_an_answer_comes_and_says_why(limit: str, replies: list[str], fields: dict[str, Any], why: str) -> None:
    from agenttune.screens.chat.trace import forced_sentence

    given = dict(fields)
    model = ScriptedModel(replies, context=given.pop("context", 1 << 20))
    template = templates.load("auto", model.tokenizer)
    agent = Agent(model=model, template=template, protocol=protocols.get("react"), toolbox=TOOLS, options=STRICT, **given)
    events = list(run(Trajectory(tools=TOOLS.specs, rounds=(Round(user="q"),)), agent))
    stop, steps, guards = ended(events)
    assert (stop, steps[-1].outcome, steps[-1].answer) == (limit, "forced", "It is 3.")
    assert guards["forced_answer"] == 1
    assert f"this answer was forced {why}" in forced_sentence(stop, agent)  # type: ignore[arg-type]


class _Choosy:
    """A chat template that does not carry a conversation whose results are short."""

    def __init__(self, template: templates.Template) -> None:
        self._template = template

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def pieces(self, turns: Sequence[Turn]) -> list[templates.Piece]:
        """As the template's, or the refusal."""
        if any(0 < len(turn.system) < 1500 for turn in turns[1:]):
            raise Refusal("content_dropped", "the template leaves out what the tool says in turn 2")
        return self._template.pieces(turns)


def test_a_template_that_refuses_what_was_shortened_ends_the_run_as_full() -> None:
    model = ScriptedModel([LONG, ANSWER], context=2000)
    template: Any = _Choosy(templates.load("auto", model.tokenizer))
    agent = Agent(model=model, template=template, protocol=protocols.get("react"), toolbox=TOOLS)
    stop, steps, guards = ended(list(run(Trajectory(tools=TOOLS.specs, rounds=(Round(user="q"),)), agent)))
    assert (stop, len(steps), guards) == ("context", 1, {"observation_cut": 1})


def test_a_full_context_shortens_what_was_answered_and_says_so() -> None:
    MADE.clear()
    model = ScriptedModel([LONG, ANSWER], context=2000)
    agent = Agent(model=model, template=templates.load("auto", model.tokenizer), protocol=protocols.get("react"), toolbox=TOOLS)
    stop, steps, guards = ended(list(run(Trajectory(tools=TOOLS.specs, rounds=(Round(user="q"),)), agent)))
    assert (stop, guards) == ("context", {"observation_cut": 1, "context_full": 1, "forced_answer": 1})
    assert "tokens left out" in steps[0].observations[0].text and len(steps[0].observations[0].text) < 300
    assert steps[-1].answer == "It is 3."


@pytest.mark.parametrize("protocol", ["react", "react_zh", "hermes"])
def test_a_forced_answer_under_every_protocol(protocol: str) -> None:
    one = protocols.get(protocol)
    said = one.write_step(Step(calls=(ToolCall(name="look", arguments={"name": "x"}),)))
    stop, steps, _ = ended(running([said] * 3, protocol=protocol))
    assert (stop, len(steps)) == ("loop", 3)
    assert steps[-1].answer and not steps[-1].calls


def test_a_long_result_loses_its_middle_and_says_so() -> None:
    events = running([call("look", "long"), ANSWER], guards=Guards(observation_tokens=100))
    _, steps, guards = ended(events)
    assert guards == {"observation_cut": 1}
    (seen,) = steps[0].observations
    assert seen.text == f"{'0123456789' * 7}01234\n[… 2900 tokens left out …]\n{'5678901234567890123456789'}"
    assert any(isinstance(one, GuardActed) and one.sentence.startswith("2900 tokens") for one in events)
    assert cut_observation(Observation(text="short"), 5, ByteTokenizer()) == ("short", 0)


def test_without_guards_nothing_is_forced() -> None:
    model = ScriptedModel([call("look")] * 3)
    agent = Agent(
        model=model, template=templates.load("auto", model.tokenizer), protocol=protocols.get("react"), toolbox=TOOLS, guards=None
    )
    stop, steps, guards = ended(list(run(Trajectory(rounds=(Round(user="q"),)), agent)))
    assert (stop, len(steps), guards) == ("loop", 3, {})


FILE = '''
import time
from typing import Annotated
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox import READ_ONLY


def reads(name: str) -> Annotated[str, READ_ONLY]:
    """Takes a while."""
    time.sleep(1.0)
    if name == "bad":
        raise ValueError("no")
    return f"{name} {time.time()}"


def writes(name: str) -> str:
    """Takes a while."""
    return f"{name} {time.time()}"
'''


def test_reading_calls_run_together_and_others_in_order(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(FILE)

    def one(name: str, value: str) -> ToolCall:
        return ToolCall(name=name, arguments={"name": value}, id=value)

    with find([str(tmp_path / "slow.py")], ask=lambda request: Permission(allowed=True)) as toolbox:
        toolbox.run([one("reads", "w")] * 4, 60)  # the workers have started
        begun = time.monotonic()
        seen = toolbox.run([one("reads", "a"), one("reads", "bad"), one("reads", "b"), one("reads", "c"), one("writes", "d")], 60)
        took = time.monotonic() - begun
    assert [observed.call_id for observed in seen] == ["a", "bad", "b", "c", "d"]  # in the order of the calls
    assert [observed.text.split()[0] for observed in seen] == ["a", "Error:", "b", "c", "d"]
    assert [observed.error for observed in seen] == [False, True, False, False, False]  # one failure loses no other
    assert float(seen[4].text.split()[1]) >= max(float(seen[at].text.split()[1]) for at in (0, 2, 3))
    assert took < 3.5  # four seconds of waiting, at once


def test_an_interrupt_ends_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text(FILE)
    with find([str(tmp_path / "slow.py")], ask=lambda request: Permission(allowed=True)) as toolbox:
        monkeypatch.setattr(toolbox, "_observe", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            toolbox.run([ToolCall(name="reads", arguments={"name": "a"})] * 3)
        assert toolbox.worker is None


def test_a_sampled_run_with_guards_and_grammar_never_ends_empty_handed() -> None:
    from agenttune.agent.step import StepOptions

    sampling = SamplingParams(max_new_tokens=300)
    options = StepOptions(constrain=True)
    for replies in ([call("luk")] * 9, ["Action: send\nAction Input: nothing"] * 9, ["what"] * 9, [call("look", str(n)) for n in range(9)]):
        stop, steps, _ = ended(running(replies, options=options, sampling=sampling, max_steps=4))
        assert stop != "answer"
        assert steps[-1].answer, (replies, stop)


def test_a_reading_call_that_failed_may_be_tried_again() -> None:
    def flaky(name: str) -> Annotated[str, READ_ONLY]:
        """Looks something up.

        Args:
            name: what
        """
        MADE.append(name)
        if len(MADE) == 1:
            raise OSError("busy")
        return "ten letters"

    stop, steps, guards = ended(running([call("flaky"), call("flaky"), ANSWER], toolbox=Toolbox([tool(flaky)], inline=True)))
    assert (stop, guards, MADE) == ("answer", {}, ["x", "x"])
    assert [one.error for step in steps for one in step.observations] == [True, False]
