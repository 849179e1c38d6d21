"""BOS and EOS are transformers' own for the same messages: a table of tokenizers and templates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agenttune import templates
from agenttune.data.render import render
from agenttune.errors import UserError
from agenttune.models.hf import wrap_tokenizer
from agenttune.values.sample import Sample, Turn

ASK = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
ASK += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BOS = "{{ bos_token }}" + ASK
SAMPLE = Sample(turns=(Turn(system="S", input="Hi", output="Final Answer: Yes"),))


def made(make: Callable[[str], Any], template: str, bos: str | None, adds: bool, pad: str | None = "<|im_end|>") -> Any:
    """A tokenizer with this BOS, which it puts before a text itself where it `adds`."""
    from tokenizers import processors

    hf = copy.deepcopy(make("chatml"))
    hf.chat_template, hf.bos_token, hf.pad_token = template, bos, pad
    if adds and bos is not None:
        single = f"{bos} $A"
        hf.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=f"{single} $B", special_tokens=[(bos, hf.convert_tokens_to_ids(bos))]
        )
    return hf


# (template, BOS token, whether the tokenizer adds it, how many BOS a sample begins with)
CASES = [
    (ASK, None, False, 0),  # a tokenizer without BOS
    (ASK, "<|im_start|>", False, 1),  # the template's own first marker is that token: it is written once
    (ASK, "<|im_start|>", True, 1),  # add_bos_token, and a template that does not write it: transformers adds nothing to a template's text
    (BOS, "<|im_start|>", False, 2),  # the template writes BOS and then its first marker, here the same token
    (BOS, "<|im_start|>", True, 2),  # both: the tokenizer's own is not put before it once more
    (BOS, None, False, 0),
]


@pytest.mark.parametrize("pad", ["<|im_end|>", None])
@pytest.mark.parametrize(("template", "bos", "adds", "count"), CASES)
def test_a_sample_begins_and_ends_as_transformers_writes_it(
    template: str, bos: str | None, adds: bool, count: int, pad: str | None, made_tokenizer: Callable[[str], Any]
) -> None:
    hf = made(made_tokenizer, template, bos, adds, pad)
    tokenizer = wrap_tokenizer(hf)
    (rendered,) = render(SAMPLE, templates.load("auto", tokenizer), tokenizer)
    said = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Final Answer: Yes"}]
    theirs = hf.apply_chat_template(said, tokenize=True, return_dict=False)
    assert list(rendered.token_ids[:6]) == theirs[:6]
    start = next(index for index, token in enumerate(rendered.token_ids) if token != hf.convert_tokens_to_ids("<|im_start|>"))
    assert start == max(count, 1)
    assert rendered.token_ids[-1] == hf.eos_token_id == hf.convert_tokens_to_ids("<|im_end|>")
    assert rendered.weights[-1] == 1.0


@pytest.mark.parametrize(("bos", "adds", "count"), [("<|im_end|>", True, 1), ("<|im_end|>", False, 0), (None, False, 0)])
def test_a_named_template_has_the_bos_that_the_tokenizer_adds(
    bos: str | None, adds: bool, count: int, made_tokenizer: Callable[[str], Any]
) -> None:
    tokenizer = wrap_tokenizer(made(made_tokenizer, ASK, bos, adds))
    (rendered,) = render(SAMPLE, templates.load("default", tokenizer), tokenizer)
    end = tokenizer.eos_id
    assert [token == end for token in rendered.token_ids[:2]] == [bool(count), False]


def test_a_date_is_pinned_and_options_reach_the_template(made_tokenizer: Callable[[str], Any]) -> None:
    hf = copy.copy(made_tokenizer("chatml"))
    hf.chat_template = "Today: {{ strftime_now('%d %b %Y') }}, {{ reasoning_effort }}.\n" + ASK
    tokenizer = wrap_tokenizer(hf)
    template = templates.load("auto", tokenizer, {"date": "2025-03-01", "reasoning_effort": "low"}, pinned=True)
    pieces = template.pieces(SAMPLE.turns)
    assert pieces[0].text == "Today: 01 Mar 2025, low.\n<|im_start|>system\n"
    with pytest.raises(UserError, match=r"today's date into every prompt; pin it: template_options\.date=20"):
        templates.load("auto", tokenizer, pinned=True)
    with pytest.raises(UserError, match="must be a day like 2026-01-31"):
        templates.load("auto", tokenizer, {"date": "soon"})
    with pytest.raises(UserError, match="takes no template_options"):
        templates.load("default", tokenizer, {"enable_thinking": False})
