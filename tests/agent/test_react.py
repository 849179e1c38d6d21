"""The loop: every way it ends, and what is sent to the model on the way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StepMade, TextDelta, ToolAnswered, ToolCalled, TrajectoryGrown
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.react import run
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox import Toolbox, tool
from agenttune.agent.toolbox.run import OnPrint, Wary
from agenttune.data.render import render
from agenttune.models.base import Prefix
from agenttune.models.scripted import ScriptedBatch, ScriptedModel
from agenttune.protocols.base import write
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, Trajectory

Replies = Sequence[str] | Callable[[str], str]
CALL = 'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}'
OTHER = 'Thought: I add.\nAction: add\nAction Input: {"left": 3, "right": 4}'
ANSWER = "Thought: I know.\nFinal Answer: 3"


def add(left: int, right: int) -> int:
    """Adds.

    Args:
        left: a number
        right: a number
    """
    return left + right


def start(**fields: Any) -> Trajectory:
    """A question nobody has answered."""
    return Trajectory(system="You help.", tools=TOOLS.specs, rounds=(Round(user="1+2?"),), **fields)


TOOLS = Toolbox([tool(add)], inline=True)


def events(replies: Replies, *, protocol: str = "react", trajectory: Trajectory | None = None, **options: Any) -> list[AgentEvent]:
    """All events of one run."""
    return list(running(ScriptedModel(replies), protocol=protocol, trajectory=trajectory, **options))


def running(model: Any, *, protocol: str = "react", trajectory: Trajectory | None = None, **options: Any) -> Any:
    """The run itself."""
    session = options.pop("session", None)
    template = templates.load("auto", model.tokenizer)
    fields: dict[str, Any] = {"toolbox": TOOLS, "options": STRICT, "guards": None, **options}
    agent = Agent(model=model, template=template, protocol=protocols.get(protocol), **fields)
    return run(trajectory or start(), agent, session=session)


def finished(seen: Sequence[AgentEvent]) -> tuple[str, tuple[Step, ...]]:
    """Why it stopped, and the steps of the last round."""
    last = seen[-1]
    assert isinstance(last, RunFinished)
    assert last.trajectory.stop == last.stop
    assert sum(isinstance(one, RunFinished) for one in seen) == 1
    return last.stop, last.trajectory.rounds[-1].steps


def test_a_call_then_an_answer() -> None:
    seen = events([CALL, ANSWER])
    stop, steps = finished(seen)
    assert stop == "answer"
    assert [step.outcome for step in steps] == ["call", "final"]
    assert steps[0].calls == (ToolCall(name="add", arguments={"left": 1, "right": 2}),)
    assert [one.text for one in steps[0].observations] == ["3"]
    assert (steps[1].thought, steps[1].answer) == ("I know.", "3")
    assert [step.raw for step in steps] == [CALL, ANSWER]
    assert [step.token_ids for step in steps] == [tuple(CALL.encode()), tuple(ANSWER.encode())]
    kinds = [type(one) for one in seen if not isinstance(one, TextDelta)]
    grown = TrajectoryGrown
    assert kinds == [grown, StepMade, ToolCalled, grown, ToolAnswered, grown, StepMade, RunFinished]
    told = [one.trajectory.rounds[-1].steps for one in seen if isinstance(one, TrajectoryGrown)]
    assert [[len(step.observations) for step in steps] for steps in told] == [[0], [1], [1, 0]]


def test_text_is_told_by_kind() -> None:
    seen = [one for one in events([CALL, ANSWER]) if isinstance(one, TextDelta)]
    joined: dict[str, str] = {}
    for one in seen:
        joined[one.kind] = joined.get(one.kind, "") + one.delta
    assert joined["thought"] == "Thought: I add.\nThought: I know.\n"
    assert joined["action"] == "Action: add\nAction Input:"
    assert joined["arguments"] == ' {"left": 1, "right": 2}'
    assert joined["answer"] == "Final Answer: 3"
    assert "".join(one.delta for one in seen) == CALL + ANSWER
    assert len(seen) > 8  # as it comes, not at the end


class Recording(ScriptedModel):
    """Remembers the ids it was given."""

    def __init__(self, replies: Replies) -> None:
        super().__init__(replies)
        self.prompts: list[list[int]] = []

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        self.prompts += [list(prompt) for prompt in prompts]
        return super().start(prompts, prefixes)


@pytest.mark.parametrize("protocol", ["react", "react_zh"])
def test_law_3_what_is_sent_is_the_prefix_that_is_trained(protocol: str) -> None:
    written = protocols.get(protocol)
    call = written.write_step(Step(thought="I add.", calls=(ToolCall(name="add", arguments={"left": 1, "right": 2}),)))
    answer = written.write_step(Step(thought="I know.", answer="3"))
    model = Recording([call, "what?", answer, answer])
    first = list(running(model, protocol=protocol))[-1]
    assert isinstance(first, RunFinished)
    again = Trajectory(system=start().system, tools=start().tools, rounds=(*first.trajectory.rounds, Round(user="Again?")))
    second = list(running(model, protocol=protocol, trajectory=again))[-1]
    assert isinstance(second, RunFinished)
    template = templates.load("auto", model.tokenizer)
    (rendered,) = render(write(second.trajectory, written), template, model.tokenizer)
    assert len(model.prompts) == len(rendered.prompt_ends) == 4
    for prompt, end in zip(model.prompts, rendered.prompt_ends, strict=True):
        assert list(rendered.token_ids[:end]) == prompt
    trained = [index for index, weight in enumerate(rendered.weights) if weight]
    assert model.tokenizer.decode([rendered.token_ids[one] for one in trained]).count("what?") == 0


def test_prompts_hold_what_was_said_not_how_it_was_read() -> None:
    odd = 'I add.\nAction:  add\nAction Input:\n{"left":1,"right":2}'
    model = Recording([odd, ANSWER])
    finished(list(running(model)))
    assert list(odd.encode()) == model.prompts[1][len(model.prompts[0]) : len(model.prompts[0]) + len(odd)]


class Odd(Recording):
    """Says its first reply with a special id in it, which no encoding of the text gives back."""

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        rows = super().start(prompts, prefixes)
        return rows if len(self.prompts) > 1 else ScriptedBatch(prompts, prefixes, [[256, *CALL.encode(), 257]])


def test_prompts_hold_the_ids_that_were_said_not_an_encoding_of_their_text() -> None:
    model = Odd([CALL, ANSWER])
    session = Session(model)
    stop, steps = finished(list(running(model, session=session)))
    assert stop == "answer"
    assert steps[0].token_ids == (256, *CALL.encode())
    first, second = model.prompts
    assert second[len(first) : len(first) + len(CALL) + 2] == [256, *CALL.encode(), 257]


def test_ids_are_found_by_turn() -> None:
    call = ToolCall(name="add", arguments={"left": 1, "right": 2})
    recorded = Step(thought="Both.", calls=(call, call), observations=(Observation(text="3"), Observation(text="3")))
    made = Step(calls=(Malformed(text="hm", reason="?"),), observations=(Observation(text="no"),), token_ids=(1, 2), raw="hm")
    last = Step(answer="3", token_ids=(3,), raw="Final Answer: 3")
    rounds = (Round(user="nobody answered"), Round(user="a", steps=(recorded, made)), Round(user="b", steps=(last,)))
    for name, turns in (("react", (3, 4)), ("hermes", (2, 4))):  # hermes: both calls in one turn, and a turn for what was said to "hm"
        protocol = protocols.get(name)
        sample = write(verbatim(Trajectory(rounds=rounds)), protocol)
        found = generated_ids(Trajectory(rounds=rounds), protocol)
        assert found == dict(zip(turns, ((1, 2), (3,)), strict=True))
        assert [sample.turns[turn].output for turn in found] == ["hm", "Final Answer: 3"]


def test_what_no_protocol_can_write_does_not_end_a_run() -> None:
    stop, steps = finished(events(['Action: add\nAction Input: {"left": NaN, "right": 2}', ANSWER]))
    assert stop == "answer"
    assert steps[0].observations[0].error


def test_an_unknown_tool_is_named_back() -> None:
    stop, steps = finished(events(['Action: ad\nAction Input: {"left": 1, "right": 2}', ANSWER]))
    assert stop == "answer"
    (seen,) = steps[0].observations
    assert seen.error
    assert '"ad"' in seen.text and '"add"' in seen.text


def test_a_reply_that_cannot_be_read_is_answered_twice() -> None:
    stop, steps = finished(events(["hm", "hm?", ANSWER]))
    assert stop == "answer"
    assert [step.outcome for step in steps] == ["malformed", "malformed", "final"]
    assert [step.weight for step in steps] == [0.0, 0.0, 1.0]
    text = steps[0].observations[0].text
    assert text.startswith("the reply could not be read: neither Action: nor Final Answer: begins a line; reply with Action and")
    assert steps[0].observations[0].error


def test_the_third_in_a_row_ends_the_run() -> None:
    stop, steps = finished(events(["hm", "hm", CALL, "hm", "hm", "hm", ANSWER]))
    assert stop == "malformed"
    assert [step.outcome for step in steps] == ["malformed", "malformed", "call", "malformed", "malformed", "malformed"]
    assert steps[-1].observations == ()
    assert isinstance(steps[-1].calls[0], Malformed)


def test_the_same_call_a_third_time_ends_the_run_unrun() -> None:
    seen = events([CALL, CALL, CALL, ANSWER])
    stop, steps = finished(seen)
    assert stop == "loop"
    assert [len(step.observations) for step in steps] == [1, 1, 0]
    assert sum(isinstance(one, ToolCalled) for one in seen) == 2
    assert finished(events([CALL, CALL, OTHER, CALL, CALL, ANSWER]))[0] == "answer"


def test_steps_are_limited() -> None:
    stop, steps = finished(events([CALL, OTHER] * 9, max_steps=5))
    assert (stop, len(steps)) == ("max_steps", 5)
    assert steps[-1].observations


def test_a_cut_answer_ends_and_a_cut_call_is_never_run() -> None:
    stop, steps = finished(events([ANSWER + " and more"], sampling=SamplingParams(max_new_tokens=len(ANSWER))))
    assert (stop, steps[-1].answer, steps[-1].outcome) == ("length", "3", "truncated")
    seen = events([CALL, CALL, CALL, CALL], sampling=SamplingParams(max_new_tokens=len(CALL)))
    assert finished(seen)[0] == "length"
    assert not any(isinstance(one, ToolCalled) for one in seen)
    assert f"cut off after {len(CALL)} tokens" in finished(seen)[1][0].observations[0].text


def test_a_full_context_ends_the_run() -> None:
    recorded = Recording([CALL, ANSWER])
    finished(list(running(recorded)))
    for room, count in ((0, 1), (len(ANSWER) - 2, 2)):  # nothing can be said at the second step, or not all of it
        model = ScriptedModel([CALL, ANSWER], context=len(recorded.prompts[1]) + room)
        stop, steps = finished(list(running(model)))
        assert (stop, len(steps)) == ("context", count)
    assert steps[-1].outcome == "context"


class Interrupting:
    """A toolbox whose user presses Ctrl-C while a tool works."""

    def run(self, calls: Sequence[ToolCall | Malformed], deadline: float, on_print: OnPrint, wary: Wary) -> tuple[Observation, ...]:
        raise KeyboardInterrupt


def test_an_interrupt_ends_the_step_and_leaves_what_was_done() -> None:
    stop, steps = finished(events([CALL], toolbox=Interrupting()))
    assert (stop, len(steps), steps[0].observations) == ("interrupted", 1, ())

    def reply(prompt: str) -> str:
        if prompt.count("Observation:") >= 1:
            raise KeyboardInterrupt
        return CALL

    stop, steps = finished(events(reply))
    assert (stop, [one.text for one in steps[0].observations]) == ("interrupted", ["3"])


def test_an_interrupt_of_the_screen_can_be_thrown_in() -> None:
    going = running(ScriptedModel([CALL, ANSWER]))
    assert isinstance(next(going), TextDelta)
    last = going.throw(KeyboardInterrupt)
    assert isinstance(last, RunFinished) and last.stop == "interrupted"
    assert last.trajectory.rounds[-1].steps == ()
    assert list(going) == []


def test_after_an_interrupt_the_session_goes_on() -> None:
    model = Recording([CALL, CALL, ANSWER])
    session = Session(model)
    going = running(model, session=session)
    for event in going:
        if isinstance(event, ToolAnswered):
            break
    last = going.throw(KeyboardInterrupt)
    again = Trajectory(system="You help.", tools=TOOLS.specs, rounds=(*last.trajectory.rounds, Round(user="Go on")))
    seen = list(running(model, session=session, trajectory=again))
    assert finished(seen)[0] == "answer"
    assert session.prefix is not None


def test_the_prefix_cache_is_kept_between_steps() -> None:
    model = Recording([CALL, ANSWER])
    session = Session(model)
    finished(list(running(model, session=session)))
    assert session.prefix is not None
    assert session.prefix.ids[: len(model.prompts[1])] == model.prompts[1]
    assert model.prompts[1][: len(model.prompts[0])] == model.prompts[0]


def test_the_question_must_be_open() -> None:
    answered = Trajectory(rounds=(Round(user="x", steps=(Step(answer="y"),)),))
    with pytest.raises(AssertionError):
        next(iter(running(ScriptedModel([]), trajectory=answered)))


def test_thousands_of_scripted_runs_a_minute() -> None:
    begun = time.process_time()
    for _ in range(40):
        finished(events([CALL, OTHER, ANSWER]))
    assert (time.process_time() - begun) / 40 < 0.03  # 2,000 a minute


def test_building_data_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from agenttune import protocols, templates\n"
        "from agenttune.agent.agent import Agent\n"
        "from agenttune.agent.react import run\n"
        "from agenttune.agent.step import STRICT\n"
        "from agenttune.models.scripted import ScriptedModel, ScriptedBatch\n"
        "from agenttune.values.trajectory import Round, Trajectory\n"
        "model = ScriptedModel(['Final Answer: x'])\n"
        "given = dict(template=templates.load('auto', model.tokenizer), protocol=protocols.get('react'), toolbox=None)\n"
        "given |= dict(options=STRICT, guards=None)\n"
        "print([*run(Trajectory(rounds=(Round(user='q'),)), Agent(model=model, **given))][-1].stop)\n"
        "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == ["answer", "[]"]
