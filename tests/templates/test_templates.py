"""Templates: five spans or the tokenizer's own, cut into pieces without searching for contents."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agenttune import templates
from agenttune.errors import UserError
from agenttune.templates.named import BREAK
from agenttune.values.sample import Turn

TURNS = (
    Turn(system="S", input="u1", output="o1"),
    Turn(system="Observation: x", output="o2"),
    Turn(input="u2", output=""),
)


def load(name: str, kind: str, made_tokenizer: Callable[[str], Any]) -> templates.Template:
    """The template for a tokenizer made here."""
    from agenttune.models.hf import wrap_tokenizer

    return templates.load(name, wrap_tokenizer(made_tokenizer(kind)))


def joined(template: templates.Template, turns: tuple[Turn, ...]) -> str:
    """The pieces as one text."""
    return "".join(piece.text for piece in template.pieces(turns))


def test_an_empty_input_renders_no_user_turn(made_tokenizer: Callable[[str], Any]) -> None:
    template = load("internlm2_chat", "chatml", made_tokenizer)
    assert joined(template, TURNS) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\no1<|im_end|>\n"
        "<|im_start|>system\nObservation: x<|im_end|>\n<|im_start|>assistant\no2<|im_end|>\n"
        "<|im_start|>user\nu2<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_default_template_ends_in_eos_and_breaks_its_plain_markers(made_tokenizer: Callable[[str], Any]) -> None:
    template = load("default", "llama3", made_tokenizer)
    turns = (Turn(system="S", input="say <|Bot|>:", output="o"),)
    assert joined(template, turns) == f"<|System|>:S\n<|User|>:say <{BREAK}|Bot|>:\n<|Bot|>:o<|eot|>"


def test_auto_equals_the_chatml_template(made_tokenizer: Callable[[str], Any]) -> None:
    own, named = load("auto", "chatml", made_tokenizer), load("qwen_chat", "chatml", made_tokenizer)
    assert own.stops == ("<|im_end|>",)
    assert [one.turns for one in own.coverage(TURNS)] == [2]
    assert joined(own, TURNS) == joined(named, TURNS)


def test_a_strict_template_carries_system_and_observation_in_the_user_turn(made_tokenizer: Callable[[str], Any]) -> None:
    template = load("auto", "strict", made_tokenizer)
    assert joined(template, TURNS) == "<|bos|>[INST] S\n\nu1 [/INST] o1<|end|>[INST] Observation: x [/INST] o2<|end|>[INST] u2 [/INST]"


def test_a_template_that_drops_reasoning_says_it_is_not_stable(made_tokenizer: Callable[[str], Any]) -> None:
    template = load("auto", "thinking", made_tokenizer)
    turns = (Turn(input="u", output="short"), Turn(input="u2", output="shorter"))
    assert [(one.turns, sorted(one.trained)) for one in template.coverage(turns)] == [(1, [0]), (2, [1])]
    turns = (Turn(input="u", output="<think>\nlong\n</think>\n\nshort"), Turn(input="u2", output=""))
    text = joined(template, turns)
    assert "long" not in text
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_template_without_its_tokens_is_refused(made_tokenizer: Callable[[str], Any]) -> None:
    with pytest.raises(UserError, match=r"internlm_chat.*<eoh>, <eoa>"):
        load("internlm_chat", "chatml", made_tokenizer)
    with pytest.raises(UserError, match='did you mean "qwen_chat"'):
        load("qwen_chatt", "chatml", made_tokenizer)


def test_a_template_that_draws_system_turns_to_the_front_carries_observations_otherwise(made_tokenizer: Callable[[str], Any]) -> None:
    """An observation in front of the call that asked for it would tell the model the future."""
    hf = copy.deepcopy(made_tokenizer("chatml"))
    hf.chat_template = (
        "{% for m in messages if m['role'] == 'system' %}{{ m['content'] }}\n{% endfor %}"
        "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    from agenttune.models.hf import wrap_tokenizer

    template = templates.load("auto", wrap_tokenizer(hf))
    turns = [Turn(system="S", input="Q", output="call"), Turn(system="seen", output="done")]
    said = "".join(piece.text for piece in template.pieces(turns))
    assert said.startswith("S\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\ncall<|im_end|>\n<|im_start|>tool\nseen<|im_end|>")
