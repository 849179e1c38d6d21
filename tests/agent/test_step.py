"""One step: what the model is given, and what becomes of what it says."""

from __future__ import annotations

import pytest

from agenttune import protocols, templates
from agenttune.agent.decode import Session
from agenttune.agent.ladder import RUNGS
from agenttune.agent.step import StepOptions, bounded, take_step, take_steps
from agenttune.data.render import prompt_ids
from agenttune.models.scripted import ScriptedModel
from agenttune.templates import Template
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Step, ToolCall, ToolSpec

CALL = 'Thought: I look.\nAction: weather\nAction Input: {"city": "Berlin"}'


def setting(*replies: str) -> tuple[ScriptedModel, Template]:
    """A model that says these, and its own template."""
    model = ScriptedModel(replies)
    return model, templates.load("auto", model.tokenizer)


def question(text: str = "Hi") -> Sample:
    """A conversation of one open turn."""
    return Sample(turns=(Turn(system="S", input=text),))


def test_a_call_is_read() -> None:
    model, template = setting(CALL)
    told: list[str] = []
    step = take_step(model, question(), template, SamplingParams(), on_text=told.append)
    assert (step.thought, step.calls) == ("I look.", (ToolCall(name="weather", arguments={"city": "Berlin"}),))
    assert (step.raw, step.outcome, step.weight) == (CALL, "call", 1.0)
    assert step.token_ids == tuple(CALL.encode())
    assert "".join(told) == CALL


def test_an_invented_observation_is_cut_off() -> None:
    model, template = setting(f"{CALL}\nObservation: sunny\nFinal Answer: sunny")
    step = take_step(model, question(), template, SamplingParams())
    assert (step.raw, step.outcome) == (CALL, "fabricated_observation")
    assert step.token_ids == tuple(CALL.encode())


def test_nothing_is_repaired_unless_it_is_asked_for() -> None:
    broken = CALL[:-1]
    model, template = setting(broken)
    step = take_step(model, question(), template, SamplingParams())
    assert (step.outcome, step.raw, step.weight) == ("malformed", broken, 0.0)
    assert isinstance(step.calls[0], Malformed) and step.calls[0].text == broken


@pytest.mark.parametrize(("limit", "context", "wanted"), [(10, 1 << 20, "truncated"), (500, 60, "context")])
def test_a_cut_is_named(limit: int, context: int, wanted: str) -> None:
    model = ScriptedModel(["Final Answer: one two three four five"], context=context)
    template = templates.load("auto", model.tokenizer)
    step = take_step(model, question(), template, SamplingParams(max_new_tokens=limit))
    assert step.outcome == wanted
    assert step.weight == 0.0


def test_several_at_once() -> None:
    model, template = setting("Final Answer: 1", CALL, "what?")
    steps = take_steps(model, [question("a"), question("b"), question("c")], template, SamplingParams())
    assert [step.answer for step in steps] == ["1", None, None]
    assert [step.outcome for step in steps] == ["final", "call", "malformed"]


def test_ids_that_the_model_made_stand_in_the_prompt() -> None:
    seen: list[str] = []

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return "Final Answer: 1"

    model = ScriptedModel(reply)
    template = templates.load("auto", model.tokenizer)
    sample = Sample(turns=(Turn(input="a", output="Final Answer: x"), Turn(input="b")))
    take_step(model, sample, template, SamplingParams(), outputs={0: list(b"Final Answer:  x ")})
    assert "Final Answer:  x <|im_end|>" in seen[0]
    take_step(model, sample, template, SamplingParams())
    assert seen[1] == model.tokenizer.decode(prompt_ids(sample, template, model.tokenizer))


def test_a_session_is_kept() -> None:
    model, template = setting("Final Answer: 1", "Final Answer: 2")
    session = Session(model)
    first = take_step(model, question(), template, SamplingParams(), session=session)
    assert session.prefix is not None
    read = model.tokenizer.decode(session.prefix.ids)
    assert read.endswith("assistant\nFinal Answer: 1")
    assert first.answer == "1"


def test_stops_are_those_of_the_limits_the_template_and_the_protocol() -> None:
    _, template = setting()
    sampling = bounded(SamplingParams(stops=("X",), stop_ids=frozenset({5})), template, protocols.get("react_zh"))
    assert sampling.stops == ("X", "<|im_end|>", "\nResponse:")
    assert sampling.stop_ids == {5, 257}


WEATHER = ToolSpec(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}})


def laddered(reply: str, *rungs: str, tools: tuple[ToolSpec, ...] = (WEATHER,)) -> Step:
    """The step that these rungs read in a reply."""
    model, template = setting(*([reply] * 2))
    asked = Sample(turns=(Turn(system="S", input="Hi"),), tools=tools)
    return take_step(model, asked, template, SamplingParams(), options=StepOptions(repairs=rungs or RUNGS))


@pytest.mark.parametrize(
    ("reply", "rungs"),
    [
        ('Action: weather\nAction Input: {"city": "Rom", "days": 2}', ()),
        ("Action: weather\nAction Input: {city: 'Rom', \"days\": 2,}", ("relaxed_json",)),
        ('Action: `weather`\nAction Input: {"city": "Rom", "days": 2}', ("relaxed_json",)),
        ('Action: weather\nAction Input: {"city": "Rom", "days": 2} and then', ("relaxed_json",)),
        ('Action: weather\nAction Input: {"city": "Rom", "days": "2"}', ("coerced",)),
        ('Action: weathr\nAction Input: {"city": "Rom", "days": 2}', ("nearest_tool",)),
        ("Action: weathr\nAction Input: {'city': 'Rom', days: '2'}", ("relaxed_json", "nearest_tool", "coerced")),
    ],
)
def test_each_rung_is_named_and_what_was_said_stays(reply: str, rungs: tuple[str, ...]) -> None:
    step = laddered(reply, *RUNGS[:3])
    assert step.calls == (ToolCall(name="weather", arguments={"city": "Rom", "days": 2}),)
    assert (step.outcome, step.repairs, step.raw, step.token_ids) == ("call", rungs, reply, tuple(reply.encode()))
    for missing in rungs:
        assert laddered(reply, *[one for one in RUNGS[:3] if one != missing]).repairs != rungs


def test_a_name_that_is_near_to_none_or_to_two_is_left() -> None:
    (call,) = laddered('Action: climate\nAction Input: {"city": "Rom"}', "nearest_tool").calls
    assert isinstance(call, ToolCall) and call.name == "climate"
    two = (WEATHER, ToolSpec(name="weather2"))
    (call,) = laddered('Action: weather1\nAction Input: {"city": "Rom"}', "nearest_tool", tools=two).calls
    assert isinstance(call, ToolCall) and call.name == "weather1"


def test_a_call_is_decoded_once_more_and_what_came_before_it_stays() -> None:
    model, template = setting("Thought: I look.\nAction: climate\nAction Input: hm", 'Action: weather\nAction Input: {"city": "Rom"}')
    asked = Sample(turns=(Turn(system="S", input="Hi"),), tools=(WEATHER,))
    step = take_step(model, asked, template, SamplingParams(), options=StepOptions(repairs=RUNGS))
    assert step.raw == 'Thought: I look.\nAction: weather\nAction Input: {"city": "Rom"}'
    assert (step.outcome, step.repairs, step.thought) == ("call", ("redecoded",), "I look.")
    assert step.token_ids == tuple(step.raw.encode())


def test_a_cut_call_is_never_repaired() -> None:
    model, template = setting('Action: weather\nAction Input: {"city": "Rom"}')
    asked = Sample(turns=(Turn(system="S", input="Hi"),), tools=(WEATHER,))
    step = take_step(model, asked, template, SamplingParams(max_new_tokens=40), options=StepOptions(repairs=RUNGS))
    assert (step.outcome, step.repairs) == ("truncated", ())
