"""The wrapped tokenizer: content is never a special id, and nothing is added that was not asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttune.errors import UserError
from agenttune.models.hf import wrap_tokenizer

MARKS = ("<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="module")
def hf(made_tokenizer: Callable[[str], Any]) -> Any:
    """A tokenizer with an added token that is not special, and a new one that is."""
    made = copy.deepcopy(made_tokenizer("chatml"))
    made.add_tokens(["<tool_call>"])
    made.add_special_tokens({"additional_special_tokens": ["<|tool|>"]}, replace_extra_special_tokens=False)
    return made


@given(st.lists(st.sampled_from([*MARKS, "<|tool|>", "a", " ", "\n", "你", "<|im_"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_content_never_yields_a_special_id(hf: Any, parts: list[str]) -> None:
    tokenizer = wrap_tokenizer(hf)
    text = "".join(parts)
    ids = tokenizer.encode(text, special=False)
    assert not set(ids) & tokenizer.special_ids
    assert tokenizer.decode(ids) == text
    assert len(tokenizer.offsets(text)) == len(ids)
    known = tokenizer.encode(text, special=True)
    assert [one for one in known if one in tokenizer.special_ids] == [
        hf.convert_tokens_to_ids(part) for part in parts if part[:2] == "<|" and part != "<|im_"
    ]


def test_added_tokens(hf: Any) -> None:
    tokenizer = wrap_tokenizer(hf)
    marks = [tokenizer.special_id(text) for text in (*MARKS, "<|tool|>", "<tool_call>")]
    assert None not in marks
    assert tokenizer.special_id("the") is None
    assert {*marks[:3]} <= tokenizer.special_ids
    assert marks[3] not in tokenizer.special_ids
    assert tokenizer.encode("<tool_call>", special=False) == [marks[3]]  # an ordinary word of the vocabulary


def test_the_library_object_is_left_alone(hf: Any) -> None:
    before = hf("<|im_start|>a").input_ids
    tokenizer = wrap_tokenizer(hf)
    tokenizer.encode("<|im_start|>a", special=False)
    assert hf("<|im_start|>a").input_ids == before
    hf.backend_tokenizer.enable_truncation(1)
    try:
        assert len(tokenizer.encode("a b c d", special=False)) > 1
    finally:
        hf.backend_tokenizer.no_truncation()


def test_threads_do_not_disturb_each_other(hf: Any) -> None:
    tokenizer = wrap_tokenizer(hf)
    text = "<|im_start|>user\nhi<|im_end|>" * 5
    wanted = {special: tokenizer.encode(text, special=special) for special in (True, False)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: tokenizer.encode(text, special=at % 2 == 0) == wanted[at % 2 == 0], range(400)))
    assert all(found)


def test_bos_is_what_the_tokenizer_itself_puts_first(hf: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    assert wrap_tokenizer(hf).bos_id is None
    starting = copy.deepcopy(hf)
    starting.add_special_tokens({"bos_token": "<|im_start|>"})
    assert wrap_tokenizer(starting).bos_id is None  # it has one, and puts none
    bos = starting.bos_token_id
    starting.backend_tokenizer.post_processor = TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", bos)])
    wrapped = wrap_tokenizer(starting)
    assert wrapped.bos_id == bos
    assert bos not in wrapped.encode("a", special=True)


def test_a_template_that_refuses_says_so(made_tokenizer: Callable[[str], Any]) -> None:
    tokenizer = wrap_tokenizer(made_tokenizer("strict"))
    with pytest.raises(ValueError, match="alternate"):
        tokenizer.apply_template([{"role": "assistant", "content": "a"}], generate=False)
    assert tokenizer.apply_template([{"role": "user", "content": "a"}], generate=True).endswith("[INST] a [/INST]")


@pytest.mark.parametrize(
    "template", ["{{ 1 / 0 }}", "{{ " + "[" * 3000, "{{ 'a' + [] }}", "{{ messages[0].no.thing }}", "{{ range(10 ** 30) }}"]
)
def test_whatever_a_template_does_is_a_refusal(made_tokenizer: Callable[[str], Any], template: str) -> None:
    made = copy.deepcopy(made_tokenizer("chatml"))
    made.chat_template = template
    with pytest.raises(ValueError, match="refuses the messages"):
        wrap_tokenizer(made).apply_template([{"role": "user", "content": "x"}], generate=True)


def test_text_that_is_no_unicode_is_read_as_a_replacement(hf: Any) -> None:
    tokenizer = wrap_tokenizer(hf)
    assert tokenizer.encode("a\ud800b", special=False) == tokenizer.encode("a\ufffdb", special=False)
    assert len(tokenizer.offsets("a\ud800b")) == len(tokenizer.encode("a\ud800b", special=False))


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        name_or_path = "slow-one"
        backend_tokenizer = None

    with pytest.raises(UserError, match="slow-one"):
        wrap_tokenizer(Slow())


def test_the_embedded_tokenizer_splits_digits(smollm2: str) -> None:
    from agenttune.models import load_tokenizer

    tokenizer = load_tokenizer(smollm2)
    assert tokenizer.name == "smollm2-135m"
    # Ids of the model's published tokenizer: every digit by itself, and the space before a number apart from it.
    assert tokenizer.encode("Hello 1234", special=False) == [19556, 216, 33, 34, 35, 36]
    assert tokenizer.encode("a\n\n12", special=False) == [*tokenizer.encode("a\n\n", special=False), 33, 34]
    assert (tokenizer.bos_id, tokenizer.eos_id) == (None, 2)
    assert tokenizer.special_ids == frozenset(range(17))
    assert tokenizer.encode("<|im_start|>user<|im_end|>", special=True) == [1, 4093, 2]
    assert not set(tokenizer.encode("<|im_start|>user<|im_end|>", special=False)) & tokenizer.special_ids
    text = tokenizer.apply_template([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}], generate=True)
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
