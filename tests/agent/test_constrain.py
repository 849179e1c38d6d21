"""Constrained calls: only offered tools with arguments that fit, from the trigger on; whatever the logits say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from jsonschema import Draft202012Validator

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import Session, decode
from agenttune.agent.ladder import RUNGS
from agenttune.agent.schema_grammar import in_orders, normalised
from agenttune.agent.step import StepOptions, take_step
from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.models import load_tokenizer
from agenttune.models.base import Prefill, Prefix
from agenttune.models.scripted import ByteTokenizer, ScriptedModel
from agenttune.templates import load as load_template
from agenttune.values.adapter import Card
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Completion, SamplingParams, Tokenizer
from agenttune.values.trajectory import Malformed, Step, ToolCall, ToolSpec

NUMBERS = {"left": {"type": "int"}, "right": {"type": "integer", "description": "a number"}}
ADD = ToolSpec(name="add", parameters={"type": "object", "properties": NUMBERS, "required": ["left", "right"]})
PAGE = ToolSpec(name="page", parameters={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})
TOOLS = (ADD, PAGE)
STOP = frozenset({257})
PROVE = bool(os.environ.get("AGENTTUNE_PROVE"))


def said(reply: str, protocol: str = "react", *, tools: Sequence[ToolSpec] = TOOLS, limit: int = 300, **options: Any) -> Completion:
    """What a model says that wants to say `reply`."""
    model = ScriptedModel([reply])
    grammar = CallGrammar(protocols.get(protocol), tools, model.tokenizer, **options)
    return decode(model, [[1]], SamplingParams(stop_ids=STOP, max_new_tokens=limit), grammars=[grammar])[0]


@pytest.mark.parametrize("protocol", ["react", "react_zh", "hermes"])
def test_a_valid_call_comes_out_as_it_was_said(protocol: str) -> None:
    call = Step(thought="I add.", calls=(ToolCall(name="add", arguments={"left": 1, "right": -20}),))
    text = protocols.get(protocol).write_step(call)
    assert said(text, protocol).text == text
    turned = Step(thought="", calls=(ToolCall(name="add", arguments={"right": 1, "left": 2}),))  # another order of two properties
    assert said(protocols.get(protocol).write_step(turned), protocol).text == protocols.get(protocol).write_step(turned)


@pytest.mark.parametrize("protocol", ["react", "react_zh", "hermes"])
def test_a_wrong_tool_and_wrong_arguments_cannot_be_said(protocol: str) -> None:
    one = protocols.get(protocol)
    for call in (
        ToolCall(name="sub", arguments={"left": 1, "right": 2}),
        ToolCall(name="add", arguments={"left": "1", "right": 2}),
        ToolCall(name="add", arguments={"left": 1}),
        ToolCall(name="add", arguments={"left": 1, "right": 2, "third": 3}),
    ):
        made = said(one.write_step(Step(thought="I add.", calls=(call,))), protocol)
        step = one.parse(made.text)
        assert made.stop == "stop"
        assert step.thought == "I add."
        for found in step.calls:
            assert isinstance(found, ToolCall)
            assert found.name in ("add", "page")
            assert fits(found, TOOLS)


def fits(call: ToolCall, tools: Sequence[ToolSpec]) -> bool:
    """Whether the arguments are valid under the tool's schema."""
    schema = normalised(next(tool.parameters for tool in tools if tool.name == call.name))
    json.dumps(call.arguments, allow_nan=False)
    return bool(Draft202012Validator(schema).is_valid(call.arguments))


def test_text_before_the_trigger_and_answers_are_free() -> None:
    for text in ("Thought: Action: is a word here\nFinal Answer: Action: add", "Final Answer: no\nAction: sub\nAction Input: x", "hm"):
        assert said(text).text == text
    assert said("<think>\nAction: sub\n</think>\n\nFinal Answer: x").text.startswith("<think>\nAction: sub\n</think>")
    assert said("I say <tool and more", "hermes").text == "I say <tool and more"


def test_a_whole_call_ends_the_output_without_another_pass() -> None:
    text = 'Action: page\nAction Input: {"text": "a"}'
    made = said(text + " and so on")
    # One pass each for: the prompt; "Action:"; the space; "page" and 13 forced bytes; the other 12; "a"; the quote and the brace it forces.
    assert (made.text, made.stop, made.forward_passes) == (text, "stop", 7)


def test_parallel_calls_may_follow_under_hermes() -> None:
    calls = tuple(ToolCall(name="page", arguments={"text": text}) for text in ("a", "b", "c"))
    text = protocols.get("hermes").write_step(Step(calls=calls))
    assert said(text, "hermes").text == text


def test_tool_choice() -> None:
    call = 'Thought: I see.\nAction: page\nAction Input: {"text": "a"}'
    assert protocols.get("react").parse(said("Thought: I see.\nFinal Answer: x", choice="required").text).calls
    (named,) = protocols.get("react").parse(said(call, choice="add").text).calls
    assert isinstance(named, ToolCall) and named.name == "add"
    answered = protocols.get("react").parse(said(call, choice="none").text)
    assert (answered.thought, answered.calls) == ("I see.", ())
    assert answered.answer
    hermes = said(
        protocols.get("hermes").write_step(Step(calls=(ToolCall(name="page", arguments={"text": "a"}),))), "hermes", choice="none"
    )
    assert "<tool_call>" not in hermes.text and protocols.get("hermes").parse(hermes.text).answer
    with pytest.raises(UserError, match=r'no tool "ad" is offered \(did you mean "add"\?\)'):
        said(call, choice="ad")


def test_an_answer_by_json_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Bern", "Rom"]}}, "required": ["city"]}
    made = said('Final Answer: {"city": "Paris"}', choice="none", answer=schema)
    assert json.loads(protocols.get("react").parse(made.text).answer or "") in ({"city": "Bern"}, {"city": "Rom"})
    made = said('{"city": "Rom"}', "hermes", choice="none", answer=schema)
    assert made.text == '{"city": "Rom"}'


def test_a_schema_that_no_grammar_holds_leaves_the_name_constrained() -> None:
    odd = ToolSpec(name="odd", parameters={"type": "object", "properties": {"a": {"not": {"type": "string"}}}})
    grammar = CallGrammar(protocols.get("react"), [odd, ADD], ByteTokenizer())
    assert grammar.unchecked == {"odd"}
    assert said('Action: odd\nAction Input: {"a": "x"}', tools=[odd]).text == 'Action: odd\nAction Input: {"a": "x"}'
    assert said('Action: strange\nAction Input: {"a": "x"}', tools=[odd]).text.startswith("Action: odd\nAction Input: {")


def test_arguments_that_no_grammar_checks_are_validated_and_the_model_is_told() -> None:
    odd = ToolSpec(name="odd", parameters={"type": "object", "properties": {"a": {"not": {"type": "string"}}}})
    model = ScriptedModel(['Action: odd\nAction Input: {"a": "x"}', 'Action: odd\nAction Input: {"a": 1}'])
    template = load_template("auto", model.tokenizer)
    options = StepOptions(constrain=True, repairs=RUNGS)
    asked = Sample(turns=(Turn(input="q"),), tools=(odd,))
    wrong = take_step(model, asked, template, SamplingParams(), options=options)
    assert (wrong.outcome, wrong.repairs, wrong.weight) == ("malformed", ("validated",), 0.0)
    assert isinstance(wrong.calls[0], Malformed)
    assert wrong.calls[0].reason.startswith("the arguments of odd do not fit: 'x' should not be valid under")
    assert take_step(model, asked, template, SamplingParams(), options=options).calls == (ToolCall(name="odd", arguments={"a": 1}),)


def test_foreign_words_and_orders() -> None:
    schema = normalised({"type": "dict", "properties": {"a": {"type": "float", "title": "A", "format": "money"}, "b": {"type": "str"}}})
    assert schema == {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "string"}},
        "additionalProperties": False,
    }
    assert [list(one["properties"]) for one in in_orders(schema)] == [["a", "b"], ["b", "a"]]
    assert [list(one["properties"]) for one in in_orders(schema, [["b"]])] == [["b", "a"]]
    wide = normalised({"type": "object", "properties": {name: {"type": "string"} for name in "dcba"}})
    assert [list(one["properties"]) for one in in_orders(wide)] == [["d", "c", "b", "a"]]


def test_the_order_of_arguments_is_the_training_datas_where_the_card_knows_it() -> None:
    card = Card(
        base="b", base_fingerprint="", protocol="react", template="auto", method="lora", argument_orders={"add": [["right", "left"]]}
    )
    model = ScriptedModel(lambda prompt: 'Action: add\nAction Input: {"left": 1, "right": 2}', card=card)
    asked = Sample(turns=(Turn(input="q"),), tools=TOOLS)
    step = take_step(model, asked, load_template("auto", model.tokenizer), SamplingParams(), options=StepOptions(constrain=True))
    (call,) = step.calls
    assert isinstance(call, ToolCall) and list(call.arguments) == ["right", "left"]
    free = take_step(model, asked, load_template("auto", model.tokenizer), SamplingParams())
    assert isinstance(free.calls[0], ToolCall) and list(free.calls[0].arguments) == ["left", "right"]


class Pieces(ByteTokenizer):
    """Bytes, and tokens that run across the trigger's ends."""

    pieces = (".\nAct", "ion: s", "ion:", "ion: pa", "on:\n", "Action: page\nAction Input: {")

    @property
    def grammar_vocabulary(self) -> Sequence[bytes]:
        return [*super().grammar_vocabulary, *(piece.encode() for piece in self.pieces)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(super(Pieces, self).decode([one]) if one < 258 else self.pieces[one - 258] for one in ids)


class Says:
    """A model that wants to say these ids over a tokenizer, each with a logit of its own rank."""

    def __init__(self, wanted: Sequence[int], tokenizer: Tokenizer, size: int) -> None:
        self.wanted, self.tokenizer, self.size = list(wanted), tokenizer, size
        self.name, self.context, self.card, self.fingerprint = "says", 1 << 20, None, "says"

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return SaysRows(self)


class SaysRows:
    """Its one row."""

    def __init__(self, model: Says) -> None:
        self._model, self._at = model, 0
        self.prefill = (Prefill(tokens=1, passes=1),)

    def greedy(self) -> list[int]:
        return [int(self.logits()[0].argmax())]

    def logits(self) -> Any:
        found = numpy.linspace(-1, -2, self._model.size, dtype=numpy.float32)[None].copy()
        if self._at < len(self._model.wanted):
            found[0, self._model.wanted[self._at]] = 5
        found[0, ord("}")] = 1  # what it says where it may not say what it wants
        return found

    drafts = False

    def advance(self, tokens: Sequence[int], drafts: Any = None) -> None:
        self._at += 1

    def keep(self, rows: Sequence[int]) -> None:
        """There is one."""

    def prefix(self, row: int) -> Prefix:
        return Prefix()


@pytest.mark.parametrize(
    ("pieces", "allowed"),
    [
        ([0, 2], 2),  # ".\nAct" + "ion:"
        ([0, 3], 2),  # the token that ends the trigger says the beginning of a name that is offered
        ([0, 1], 1),  # ... of one that is not: another token takes its place
        ([5], 1),  # the whole trigger and more in one token
    ],
)
def test_a_trigger_inside_tokens_is_seen(pieces: list[int], allowed: int) -> None:
    tokenizer = Pieces()
    wanted = [*(b"Hm" if pieces[0] == 0 else b""), *(258 + one for one in pieces)]
    grammar = CallGrammar(protocols.get("react"), [PAGE], tokenizer)
    sampling = SamplingParams(stop_ids=STOP, max_new_tokens=200)
    (made,) = decode(Says(wanted, tokenizer, 264), [[1]], sampling, grammars=[grammar])  # type: ignore[list-item]
    kept = [one for one in made.token_ids if one >= 258 and one - 258 in pieces]
    assert len(kept) >= allowed
    assert "Action: page\nAction Input: {" in made.text
    assert "Action: s" not in made.text


def test_the_session_goes_on_after_a_constrained_call() -> None:
    text = 'Action: page\nAction Input: {"text": "a"}'
    model = ScriptedModel([text, "Final Answer: x"])
    session = Session(model)
    template = load_template("auto", model.tokenizer)
    first = Sample(turns=(Turn(input="q"),), tools=TOOLS)
    step = take_step(model, first, template, SamplingParams(), session=session, options=StepOptions(constrain=True))
    assert step.raw == text
    later = Sample(turns=(Turn(input="q", output=step.raw), Turn(system="Observation: a")), tools=TOOLS)
    assert session.prefix is not None
    before = len(session.prefix.ids)
    made = decode(model, [prompt(later, template, model)], SamplingParams(stop_ids=STOP), sessions=[session])[0]
    assert made.prefilled_tokens == made.prompt_tokens - before  # the call's last id, which was chosen and not read, is among the new ones


def prompt(sample: Sample, template: Any, model: ScriptedModel) -> list[int]:
    """The ids of a prompt."""
    from agenttune.data.render import prompt_ids

    return prompt_ids(sample, template, model.tokenizer)


class Noise:
    """A model over a real tokenizer that says anything: what is likeliest is what was drawn at temperature 2 from random logits.

    The largest of (logit / temperature + Gumbel noise) is a draw from the softmax (Maddison et al., arXiv 1411.0030), and costs no sorting.
    """

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self.tokenizer, self.random = tokenizer, numpy.random.default_rng(1)
        self.pool = (self.random.normal(0, 4, (61, size)) / 2 + self.random.gumbel(size=(61, size))).astype(numpy.float32)
        self.ends = [one for one in range(size) if {*tokenizer.decode([one])} & {*'"}'}]  # liked better, or texts would hardly ever end
        self.name, self.context, self.card, self.fingerprint = "noise", 1 << 20, None, "noise"

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return NoiseRows(self, len(prompts))


class NoiseRows:
    """Its rows."""

    def __init__(self, model: Noise, count: int) -> None:
        self._model, self._count = model, count
        self.prefill = tuple(Prefill(tokens=1, passes=1) for _ in range(count))

    def logits(self) -> Any:
        shift = int(self._model.random.integers(self._model.pool.shape[1]))
        found = numpy.roll(self._model.pool[self._model.random.integers(61, size=self._count)], shift, axis=1)
        found[:, self._model.ends] += 5
        return found

    def greedy(self) -> list[int]:
        return [int(one) for one in self.logits().argmax(1)]

    drafts = False

    def advance(self, tokens: Sequence[int], drafts: Any = None) -> None:
        """Nothing is remembered."""

    def keep(self, rows: Sequence[int]) -> None:
        self._count = len(rows)

    def prefix(self, row: int) -> Prefix:
        return Prefix()


def desk_tools() -> Iterator[tuple[tuple[ToolSpec, ...], tuple[ToolCall, ...]]]:
    """The tools and the accepted calls of the desk suite's cases."""
    for case in [*suites.read("desk"), *suites.read("desk:dev")]:
        calls = [
            ToolCall(name=one.name, arguments={name: values[0] for name, values in one.arguments.items()}) for one in sum(case.answers, ())
        ]
        yield case.sample.tools, tuple(calls)


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_no_random_call_over_the_desk_tools_is_invalid(smollm2: str, protocol: str) -> None:
    tokenizer, one = load_tokenizer(smollm2), protocols.get(protocol)
    offered = [tools for tools, _ in desk_tools() if tools][::40][:15]
    model = Noise(tokenizer, 49152)
    sampling = SamplingParams(stop_ids=frozenset({2}), max_new_tokens=256)
    found: dict[str, int] = {"completed": 0, "cut": 0}
    for tools in offered:
        grammar = CallGrammar(one, tools, tokenizer, choice="required")
        assert grammar.unchecked == frozenset()
        for made in decode(model, [[1]] * 10, sampling, grammars=[grammar] * 10):  # type: ignore[arg-type]
            found["completed" if made.stop == "stop" else "cut"] += 1
            calls = one.parse(made.text).calls if made.stop == "stop" else ()
            for call in calls:
                assert isinstance(call, ToolCall), made.text
                assert fits(call, tools), made.text
            assert calls or made.stop != "stop"
    print(f"{protocol}: {found}, 0 invalid")
    assert sum(found.values()) == 150
    assert found["completed"] >= 100


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_greedy_constrained_is_free_where_the_free_call_is_valid(protocol: str) -> None:
    one = protocols.get(protocol)
    same = other_order = 0
    for tools, accepted in [*desk_tools()][:: 1 if PROVE else 9]:
        if not accepted:
            continue
        call = accepted[0]
        text = one.write_step(Step(thought="I look.", calls=(call,)))
        properties = list(next(tool.parameters["properties"] for tool in tools if tool.name == call.name))
        in_order = len(properties) <= 3 or [name for name in properties if name in call.arguments] == list(call.arguments)
        other_order += not in_order
        if in_order and fits(call, tools):
            free = decode(ScriptedModel([text]), [[1]], SamplingParams(stop_ids=STOP))[0]
            assert said(text, protocol, tools=tools, limit=512).token_ids == free.token_ids
            same += 1
    print(f"{protocol}: {same} the same, {other_order} in another order")
    assert same >= (400 if PROVE else 40)


def test_protocol_words_stay_in_protocols() -> None:
    package = Path(protocols.__file__).parents[1]
    files = [path for room in ("agent", "screens", "templates") for path in (package / room).rglob("*.py")]
    assert len(files) > 40
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "Action Input" not in text and "tool_call>" not in text, path
