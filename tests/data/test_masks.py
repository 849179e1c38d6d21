"""Five templates by eight shapes: no observation token is trained, none that the model must emit is missed, none else is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenttune import templates
from agenttune.data.render import render
from agenttune.models.hf import wrap_tokenizer
from tests.benchmarks.shapes import SHAPES, Wrong, count, sample_of

# Tokenizer, template, its stop, and what the model must write between its header and the last output.
CASES = [
    ("chatml", "auto", "<|im_end|>", ""),
    ("llama3", "auto", "<|eot|>", ""),
    ("strict", "auto", "<|end|>", " "),
    ("thinking", "auto", "<|im_end|>", ""),  # its empty reasoning block is part of the prompt
    ("chatml", "qwen_chat", "<|im_end|>", ""),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "name", "stop", "lead"), CASES)
def test_exactly_what_the_model_must_emit_is_trained(
    kind: str, name: str, stop: str, lead: str, shape: str, made_tokenizer: Callable[[str], Any]
) -> None:
    hf = made_tokenizer(kind)
    tokenizer = wrap_tokenizer(hf)
    template = templates.load(name, tokenizer)
    sample = sample_of(shape)
    answered = [index for index, turn in enumerate(sample.turns) if turn.output]
    renderings = render(sample, template, tokenizer)
    several = len(renderings) > 1
    for number, one in enumerate(renderings):
        part = replace(sample, turns=sample.turns[: (answered[number] if several else answered[-1]) + 1])
        flags = [bool(weight) for weight in one.weights]
        assert sum(flags) > len(answered) - number
        assert count(hf, one.token_ids, flags, part, stop, lead, only_last=several) == Wrong()


def test_the_counter_finds_each_kind_of_mistake(made_tokenizer: Callable[[str], Any]) -> None:
    hf = made_tokenizer("chatml")
    tokenizer = wrap_tokenizer(hf)
    sample = sample_of("one call")
    (one,) = render(sample, templates.load("auto", tokenizer), tokenizer)
    flags = [bool(weight) for weight in one.weights]
    observation = one.kinds.index("system", one.turn_ends[0])
    for place, wrong in (
        (observation, Wrong(observation=1)),
        (one.turn_ends[0], Wrong(never=1)),
        (one.turn_ends[0] - 1, Wrong(missed=1)),
    ):
        changed = [not flag if index == place else flag for index, flag in enumerate(flags)]
        assert count(hf, one.token_ids, changed, sample, "<|im_end|>") == wrong
