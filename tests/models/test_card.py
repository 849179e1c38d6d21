"""The card beside an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttune.errors import UserError
from agenttune.models.card import NAME, fingerprint, read_card, write_card
from agenttune.values.adapter import Card

CARD = Card(
    base="smollm2-135m",
    base_fingerprint="ab12",
    protocol="react",
    template="auto",
    method="lora",
    stops=("<|im_end|>", "\n观察:"),
    length=2048,
    config={"lora": {"r": 16}},
    data={"samples": 3},
    versions={"torch": "2"},
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD
    assert "观察" in (tmp_path / NAME).read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": None}, '"protocol" in the card .* must be text'),
        ({"length": "9"}, '"length" .* must be a whole number'),
        ({"length": True}, '"length" .* must be a whole number'),
        ({"stops": "x"}, '"stops" .* must be a list'),
        ({"stops": [1]}, '"stops" .* must be a list of texts'),
        ({"colour": "red"}, 'does not know, "colour"'),
    ],
)
def test_a_wrong_card_is_named_in_a_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    write_card(tmp_path, CARD)
    raw = json.loads((tmp_path / NAME).read_text(encoding="utf-8"))
    (tmp_path / NAME).write_text(json.dumps({**raw, **change}), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_card(tmp_path)


@pytest.mark.parametrize(("text", "sentence"), [("{", "is not JSON"), ("[]", "must be a JSON object"), ('{"base": "x"}', "lacks")])
def test_no_card_at_all(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_card(tmp_path)


def test_optional_keys_may_lack(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"base": "b", "base_fingerprint": "", "protocol": "react", "template": "auto", "method": "full"}')
    found = read_card(tmp_path)
    assert found is not None
    assert (found.method, found.stops, found.length) == ("full", (), 0)


def test_a_fingerprint_tells_bases_apart_and_not_dtypes() -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    def model(seed: int, **changes: Any) -> Any:
        torch.manual_seed(seed)
        shape = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        return AutoModelForCausalLM.from_config(LlamaConfig(**{**shape, **changes}))

    first = fingerprint(model(1))
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert fingerprint(model(1).to(dtype)) == first
    others = [model(2), model(1, num_hidden_layers=3), model(1, vocab_size=301)]
    assert len({first, *map(fingerprint, others)}) == 4
    changed = model(1)
    with torch.no_grad():
        changed.get_input_embeddings().weight[0, 0] *= -1
    assert fingerprint(changed) != first
