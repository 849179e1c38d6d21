"""Templates that look at contents or rewrite history: what is trained is still what they write, or is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenttune import templates
from agenttune.data.native import resolve
from agenttune.data.render import prompt_ids, render
from agenttune.errors import Refusal
from agenttune.models.hf import wrap_tokenizer
from agenttune.templates import Template
from agenttune.values.adapter import Card
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Tokenizer

OPEN, CLOSE = "<|im_start|>{{ m['role'] }}\n", "<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# The system text stands before the last user message only, as in Mistral's third template.
LATE = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] != 'system' %}{% if loop.index0 == ns.last and messages[0]['role'] == 'system' %}"
    "<|im_start|>system\n{{ messages[0]['content'] }}<|im_end|>\n{% endif %}"
    f"{OPEN}{{{{ m['content'] }}}}{CLOSE}{{% endif %}}{{% endfor %}}{ASK}"
)
# Keeps of a user's words only the first line.
FIRST = "{{ m['content'].split('\\n')[0] if m['role'] == 'user' else m['content'] }}"
CUTS = f"{{% for m in messages %}}{OPEN}{FIRST}{CLOSE}{{% endfor %}}{ASK}"
# An output without reasoning gets an empty block; one with it keeps its own.
BLOCK = (
    f"{{% for m in messages %}}{OPEN}{{% if m['role'] == 'assistant' and not m['content'].startswith('<think>') %}}<think>\n\n</think>\n\n"
    f"{{% endif %}}{{{{ m['content'] }}}}{CLOSE}{{% endfor %}}{ASK}"
)
# A tool's answer has a role of its own, and stands as a JSON string.
QUOTES = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}<|im_start|>ipython\n{{ m['content'] | tojson }}<|im_end|>\n"
    f"{{% else %}}{OPEN}{{{{ m['content'] }}}}{CLOSE}{{% endif %}}{{% endfor %}}{ASK}"
)


# Leaves out what was thought before a call once an answer follows, as gpt-oss's template does.
FORGETS = (
    "{% set answers = messages | selectattr('role', 'equalto', 'assistant') | rejectattr('tool_calls', 'defined') | list %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}{{ '\n' }}"
    "{% if m.reasoning_content and (loop.last or not answers) %}<think>\n{{ m.reasoning_content }}\n</think>{{ '\n\n' }}{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def loaded(make: Callable[[str], Any], template: str) -> tuple[Template, Tokenizer]:
    """The template over a small tokenizer with ChatML's markers."""
    hf = copy.copy(make("chatml"))
    hf.chat_template = template
    tokenizer = wrap_tokenizer(hf)
    return templates.load("auto", tokenizer), tokenizer


def trained(sample: Sample, template: Template, tokenizer: Tokenizer) -> list[str]:
    """The trained text of each rendering."""
    return [
        tokenizer.decode([token for token, weight in zip(one.token_ids, one.weights, strict=True) if weight])
        for one in render(sample, template, tokenizer)
    ]


def test_a_system_text_that_would_move_stands_in_the_first_user_turn(made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = loaded(made_tokenizer, LATE)
    sample = Sample(turns=(Turn(system="Tools: a", input="Q", output="A"), Turn(input="R", output="B")))
    (rendered,) = render(sample, template, tokenizer)
    text = tokenizer.decode(rendered.token_ids)
    assert text.startswith("<|im_start|>user\nTools: a\n\nQ<|im_end|>\n")
    assert text.count("Tools: a") == 1
    assert trained(sample, template, tokenizer) == ["A<|im_end|>B<|im_end|>"]


def test_a_content_that_is_left_out_is_refused_by_name(made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = loaded(made_tokenizer, CUTS)
    good, bad = (Sample(turns=(Turn(input=text, output="A"),)) for text in ("one line", "two\nlines"))
    assert trained(good, template, tokenizer) == ["A<|im_end|>"]
    with pytest.raises(Refusal) as raised:
        render(bad, template, tokenizer)
    assert raised.value.code == "content_dropped"
    refused: list[Refusal] = []
    longer = Sample(turns=(*good.turns, *bad.turns))
    (rendered,) = render(longer, template, tokenizer, refused=refused)
    assert [one.code for one in refused] == ["content_dropped"]
    assert tokenizer.decode(rendered.token_ids).endswith("A<|im_end|>")


def test_an_empty_reasoning_block_gives_way_to_an_outputs_own(made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = loaded(made_tokenizer, BLOCK)
    assert template.lead == "<think>\n\n</think>\n\n"
    own = "<think>\nI think hard.\n</think>\n\nA"
    sample = Sample(turns=(Turn(input="Q", output=own), Turn(input="R", output="B")))
    assert trained(sample, template, tokenizer) == [f"{own}<|im_end|><think>\n\n</think>\n\nB<|im_end|>"]
    assert template.read("<think>\n\n</think>\n\nB") == "B"


def test_an_adapter_keeps_the_role_that_it_was_trained_with(made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = loaded(made_tokenizer, QUOTES)
    assert template.observation_role == "tool"
    card = Card(base="b", base_fingerprint="", protocol="react", template="auto", method="lora", observation_role="user")
    assert templates.load_for(card, "auto", tokenizer).observation_role == "user"
    old = replace(card, observation_role="")  # of the time before cards had it: the first of system, tool and user that is carried
    assert templates.load_for(old, "auto", tokenizer).observation_role == "system"
    assert templates.load_for(None, "auto", tokenizer).observation_role == "tool"


def test_a_tools_answer_has_the_role_and_the_form_that_the_template_gives_it(made_tokenizer: Callable[[str], Any]) -> None:
    template, tokenizer = loaded(made_tokenizer, QUOTES)
    assert template.observation_role == "tool"
    sample = Sample(turns=(Turn(input="Q", output="A"), Turn(system='Observation: "晴"\n', output="B")))
    text = tokenizer.decode(render(sample, template, tokenizer)[0].token_ids)
    assert '<|im_start|>ipython\n"Observation: \\"晴\\"\\n"<|im_end|>' in text


def test_an_answer_is_trained_behind_the_prompt_that_asks_for_it_where_it_makes_the_template_forget(
    made_tokenizer: Callable[[str], Any],
) -> None:
    """The prompt of the answer holds the reasoning before the call; the template's text of the whole conversation does not."""
    template, tokenizer = loaded(made_tokenizer, FORGETS)
    assert resolve("native", template) == "native/hermes"
    call = '<think>\nWhere?\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {"at": "Ulm"}}\n</tool_call>'
    turns = (Turn(input="Ulm?", output=call), Turn(system="fog", output="Fog."), Turn(input="Hof?", output="Ice."))
    short = Sample(protocol="native/hermes", turns=turns[:2])
    (rendered,) = render(short, template, tokenizer)
    assert trained(short, template, tokenizer) == [f"{call}<|im_end|>Fog.<|im_end|>"]
    asked = prompt_ids(replace(short, turns=(turns[0], replace(turns[1], output=""))), template, tokenizer)
    assert list(rendered.token_ids[: rendered.prompt_ends[1]]) == asked
    assert tokenizer.decode(asked).count("Where?") == 1
    assert rendered.dropped == 0
    whole = Sample(protocol="native/hermes", turns=turns)
    first, last = render(whole, template, tokenizer)
    assert trained(whole, template, tokenizer) == [f"{call}<|im_end|>Fog.<|im_end|>", "Ice.<|im_end|>"]
    assert (first.dropped, last.dropped) == (0, 1)
    assert "Where?" not in tokenizer.decode(last.token_ids)


def test_an_answer_whose_reasoning_the_template_never_writes_is_refused_by_name(made_tokenizer: Callable[[str], Any]) -> None:
    never = FORGETS.replace("(loop.last or not answers)", "not answers").replace(
        "{{ m.content }}", "{{ m.content.split('</think>')[-1].strip() }}"
    )
    template, tokenizer = loaded(made_tokenizer, never)
    turns = (Turn(input="Ulm?", output="<think>\nWhere?\n</think>\n\nFog."),)
    with pytest.raises(Refusal, match="the template leaves out the reasoning of the output in turn 1") as raised:
        render(Sample(protocol="native/hermes", turns=turns), template, tokenizer)
    assert raised.value.code == "content_dropped"
