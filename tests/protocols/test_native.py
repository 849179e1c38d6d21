"""Native protocols: what each family writes and reads, and how a template that writes calls is found out and followed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.agent.step import take_step
from agenttune.data.native import resolve
from agenttune.data.render import prompt_ids, render, text
from agenttune.errors import Refusal, UserError
from agenttune.models.hf import wrap_tokenizer
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.base import bare, write
from agenttune.protocols.native import FAMILIES, NativeProtocol
from agenttune.templates import Template
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import SamplingParams, Tokenizer
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall
from tests.conversations import CONVERSATIONS, MARKERS, TOOLS, answer, call, chat

LOOK = Step(calls=(ToolCall(name="look", arguments={"at": 'a "b"', "n": 3}, id="abcdefghi"),))
TWO = Step(calls=(*LOOK.calls, ToolCall(name="go", arguments={}, id="123456789")))
ARGUMENTS = '{"at": "a \\"b\\"", "n": 3}'
# By family: one call; words and two calls ("" where a step is one call); the arguments as they stand in the first.
WRITTEN = {
    "hermes": (
        f'<tool_call>\n{{"name": "look", "arguments": {ARGUMENTS}}}\n</tool_call>',
        f'Both.\n<tool_call>\n{{"name": "look", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "go", "arguments": {}}\n</tool_call>',
        ARGUMENTS,
    ),
    "qwen3_coder": (
        '<tool_call>\n<function=look>\n<parameter=at>\na "b"\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>',
        'Both.\n\n<tool_call>\n<function=look>\n<parameter=at>\na "b"\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>'
        "\n</tool_call>\n"
        "<tool_call>\n<function=go>\n</function>\n</tool_call>",
        '<parameter=at>\na "b"\n</parameter>\n<parameter=n>\n3\n</parameter>\n',
    ),
    "llama3_json": (f'{{"name": "look", "parameters": {ARGUMENTS}}}', "", ARGUMENTS),
    "mistral": (
        f'[TOOL_CALLS] [{{"name": "look", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}]',
        f'[TOOL_CALLS] [{{"name": "look", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}, '
        '{"name": "go", "arguments": {}, "id": "123456789"}]',
        ARGUMENTS,
    ),
    "mistral_tekken": (
        f'[TOOL_CALLS][{{"name": "look", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}]',
        f'[TOOL_CALLS][{{"name": "look", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}, '
        '{"name": "go", "arguments": {}, "id": "123456789"}]',
        ARGUMENTS,
    ),
    "openai": (f" to=functions.look<|channel|>commentary json<|message|>{ARGUMENTS}", "", ARGUMENTS),
    "deepseek_v3": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{ARGUMENTS}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        f"Both.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{ARGUMENTS}\n```<｜tool▁call▁end｜>\n"
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>go\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ARGUMENTS,
    ),
    "gemma4": (
        '<|tool_call>call:look{at:<|"|>a "b"<|"|>,n:3}<tool_call|>',
        '<|tool_call>call:look{at:<|"|>a "b"<|"|>,n:3}<tool_call|><|tool_call>call:go{}<tool_call|>',
        '{at:<|"|>a "b"<|"|>,n:3}',
    ),
}
# What Qwen2.5's template does, in short: the tools in the system turn, calls as blocks, results of one step in one user turn.
CALLING = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}<|im_end|>\n"
    "{% elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% elif m.role == 'assistant' %}<|im_start|>assistant{% if m.content %}{{ '\n' }}{{ m.content }}{% endif %}"
    "{% for c in m.tool_calls %}{{ '\n' }}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% elif m.role == 'tool' %}{% if messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}"
    "{{ '\n' }}<tool_response>\n{{ m.content }}\n</tool_response>"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>\n{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

Made = Callable[[str], Any]


@pytest.fixture(name="calling")
def template_that_calls(made_tokenizer: Made) -> tuple[Template, Tokenizer]:
    """The template above over a vocabulary made here."""
    return with_template(made_tokenizer, CALLING)


def with_template(make: Made, template: str) -> tuple[Template, Tokenizer]:
    """A made ChatML vocabulary with another template."""
    hf = copy.copy(make("chatml"))
    hf.chat_template = template
    tokenizer = wrap_tokenizer(hf)
    return templates.load("auto", tokenizer), tokenizer


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_a_family_writes_its_words_and_reads_them_back(family: NativeProtocol) -> None:
    one, two, _ = WRITTEN[family.family]
    assert family.write_step(LOOK) == one
    assert bare(family.parse(one)) == bare(LOOK)
    several = replace(TWO, thought="" if family.thoughts == "nowhere" else "Both.")
    if two:
        assert family.write_step(several) == two
        assert bare(family.parse(two)) == bare(several)
    else:
        with pytest.raises(Refusal, match="one call a step"):
            family.write_step(several)
    assert family.parse("Plainly so.") == Step(answer="Plainly so.")
    cut = one[: one.rindex("3")]
    (broken,) = family.parse(cut).calls
    assert isinstance(broken, Malformed)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_spans_cover_an_output_and_name_its_arguments(family: NativeProtocol) -> None:
    *outputs, arguments = WRITTEN[family.family]
    for output in filter(None, outputs):
        spans = family.spans(output)
        assert "".join(output[span.start : span.end] for span in spans) == output
        assert next(output[span.start : span.end] for span in spans if span.kind == "arguments") == arguments


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_what_streams_is_never_taken_back(family: NativeProtocol) -> None:
    for step in (LOOK, Step(answer="It is <so> {and} so.")):
        written = family.write_step(step)
        whole = family.partial(written)
        for end in range(len(written)):
            seen = family.partial(written[:end])
            assert step is LOOK or whole.answer.startswith(seen.answer)
            assert whole.arguments.startswith(seen.arguments)
            assert seen.name in ("", whole.name)
        assert (whole.name, whole.answer) == (("look", "") if step is LOOK else ("", "It is <so> {and} so."))


def test_observations_of_one_call_stay_as_they_are_and_several_are_a_list() -> None:
    family = FAMILIES[0]
    for texts in (["clear"], [""], ['["a"]'], ["rain", 'wind "7"'], ["[1]", ""]):
        written = family.observation_text([Observation(text=one) for one in texts])
        assert list(family.observations(written, len(texts))) == texts
    assert family.observation_text([Observation(text="clear")]) == "clear"


def test_the_family_is_found_by_what_the_template_writes(calling: tuple[Template, Tokenizer], made_tokenizer: Made) -> None:
    assert resolve("native", calling[0]) == "native/hermes"
    assert resolve("react", calling[0]) == "react"
    with pytest.raises(UserError, match="does not write calls as native/llama3_json does"):
        resolve("native/llama3_json", calling[0])
    plain = templates.load("auto", wrap_tokenizer(made_tokenizer("chatml")))
    with pytest.raises(UserError, match="writes no tool calls in the words of a family that is known here"):
        resolve("native", plain)
    with pytest.raises(UserError, match="say template=auto"):
        resolve("native", templates.load("qwen_chat", wrap_tokenizer(made_tokenizer("chatml"))))
    with pytest.raises(UserError, match='there is no protocol "nativ"'):
        protocols.check("nativ")


def test_a_native_conversation_is_the_templates_own_text(calling: tuple[Template, Tokenizer]) -> None:
    template, tokenizer = calling
    sample = write(CONVERSATIONS["parallel calls"], protocols.get("native/hermes"))
    assert [turn.system for turn in sample.turns] == ["You help.", '["rain", "wind"]']
    tool = (
        '{"type": "function", "function": {"name": "weather", "description": "Tells the weather.", "parameters": '
        '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}'
    )
    said = (
        'Both.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Kiel"}}\n</tool_call>'
    )
    prompt = f"<|im_start|>system\nYou help.\n{tool}<|im_end|>\n<|im_start|>user\nBoth?<|im_end|>\n<|im_start|>assistant\n"
    results = "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nwind\n</tool_response><|im_end|>\n"
    assert text(sample, template) == f"{prompt}{said}<|im_end|>\n{results}<|im_start|>assistant\nRain and wind.<|im_end|>"
    (rendered,) = render(sample, template, tokenizer)
    trained = [token for token, weight in zip(rendered.token_ids, rendered.weights, strict=True) if weight]
    assert tokenizer.decode(trained) == f"{said}<|im_end|>Rain and wind.<|im_end|>"


def test_markers_in_arguments_and_results_are_plain_text(calling: tuple[Template, Tokenizer]) -> None:
    template, tokenizer = calling
    steps = (call(MARKERS, MARKERS), answer("So."))
    (dirty,) = render(write(chat(("Hi", steps)), protocols.get("native/hermes")), template, tokenizer)
    (clean,) = render(write(chat(("Hi", (call("x", "y"), answer("So.")))), protocols.get("native/hermes")), template, tokenizer)
    special = tokenizer.special_ids
    assert [token for token in dirty.token_ids if token in special] == [token for token in clean.token_ids if token in special]


def test_an_output_in_other_words_is_not_trained_and_is_context_in_the_templates_words(calling: tuple[Template, Tokenizer]) -> None:
    template, tokenizer = calling
    odd = '<tool_call>{"name":"weather","arguments":{"city":"Ulm"}}</tool_call>'
    turns = (Turn(input="Ulm?", output=odd), Turn(system="fog", output="Fog."))
    sample = Sample(protocol="native/hermes", tools=TOOLS, turns=turns)
    with pytest.raises(Refusal, match="the output of turn 1 in other words"):
        render(sample, template, tokenizer)
    context = Sample(protocol="native/hermes", tools=TOOLS, turns=(Turn(input="Ulm?", output=odd, weight=0.0), turns[1]))
    (rendered,) = render(context, template, tokenizer)
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>' in tokenizer.decode(rendered.token_ids)
    trained = [token for token, weight in zip(rendered.token_ids, rendered.weights, strict=True) if weight]
    assert tokenizer.decode(trained) == "Fog.<|im_end|>"


def test_a_reply_that_cannot_be_read_stays_in_the_prompt_and_the_user_tells_of_it(calling: tuple[Template, Tokenizer]) -> None:
    template, tokenizer = calling
    turns = (Turn(input="Ulm?", output='<tool_call>\n{"name": '), Turn(system="it could not be read"))
    prompt = tokenizer.decode(prompt_ids(Sample(protocol="native/hermes", turns=turns), template, tokenizer))
    assert prompt.endswith(
        '<|im_start|>assistant\n<tool_call>\n{"name": <|im_end|>\n<|im_start|>user\nit could not be read<|im_end|>\n<|im_start|>assistant\n'
    )


def test_a_tool_that_holds_a_marker_of_the_template_is_refused(calling: tuple[Template, Tokenizer]) -> None:
    template, tokenizer = calling
    tools = (type(TOOLS[0])(name="weather", description="Ends in <|im_end|>."),)
    sample = Sample(protocol="native/hermes", tools=tools, turns=(Turn(input="Hi", output="Ho."),))
    with pytest.raises(Refusal, match="a marker of the chat template"):
        render(sample, template, tokenizer)
    model = ScriptedModel([])
    model.tokenizer = tokenizer  # type: ignore[assignment]
    asked = replace(sample, turns=(Turn(input="Hi"),))
    with pytest.raises(UserError, match="cannot carry this conversation: a tool's description holds"):
        take_step(model, asked, template, SamplingParams())


def test_a_thought_before_an_answer_is_reasoning_and_is_counted() -> None:
    sample = write(chat(("Oslo?", (answer("Snow.", "I know."),))), protocols.get("native/hermes"))
    assert sample.turns[0].output == "<think>\nI know.\n</think>\n\nSnow."
    assert sample.meta["changes"] == {"thought_as_reasoning": 1}
