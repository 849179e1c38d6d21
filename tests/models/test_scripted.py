"""The scripted model and its tokenizer of bytes."""

from __future__ import annotations

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttune.agent.decode import decode
from agenttune.errors import UserError
from agenttune.models.scripted import CHATML, ByteTokenizer, ScriptedModel
from agenttune.values.tokens import SamplingParams

STOP = SamplingParams(stop_ids=frozenset({257}))


@given(st.text())
def test_plain_text_never_gives_a_special_id(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(f"<|im_start|>{text}<|im_end|>", special=False)
    assert not set(ids) & tokenizer.special_ids
    assert len(tokenizer.offsets(text)) == len(tokenizer.encode(text, special=False))


def test_markers_are_ids_where_they_are_asked_for() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("<|im_start|>a<|im_end|>\n", special=True) == [256, 97, 257, 10]
    assert tokenizer.decode([256, 97, 257, 10]) == "<|im_start|>a<|im_end|>\n"
    assert [tokenizer.special_id(text) for text in ("<|im_start|>", "<|im_end|>", "a")] == [256, 257, None]


def test_offsets_are_those_of_characters() -> None:
    assert ByteTokenizer().offsets("aé你") == [(0, 1), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3)]


def test_the_template_is_what_its_jinja_text_says() -> None:
    messages = [{"role": "system", "content": "S {{ x }}"}, {"role": "user", "content": "é\n"}, {"role": "assistant", "content": ""}]
    for generate in (False, True):
        wanted = jinja2.Template(CHATML).render(messages=messages, add_generation_prompt=generate)
        assert ByteTokenizer().apply_template(messages, generate=generate) == wanted


def test_replies_come_in_order_and_run_out() -> None:
    model = ScriptedModel(["a", "b"])
    assert [decode(model, [[1]], STOP)[0].text for _ in range(2)] == ["a", "b"]
    with pytest.raises(UserError, match="all its 2 replies"):
        decode(model, [[1]], STOP)


def test_a_function_is_given_the_prompts_text() -> None:
    model = ScriptedModel(lambda prompt: prompt.upper())
    assert [one.text for one in decode(model, [list(b"ab"), [256, 99]], STOP)] == ["AB", "<|IM_START|>C"]


def test_its_logits_say_the_same_as_its_choice() -> None:
    model = ScriptedModel(["xyz"])
    assert decode(model, [[1]], SamplingParams(stop_ids=frozenset({257}), temperature=1.0))[0].text == "xyz"
