"""What sharing cannot honour is refused by name; what no config names is found by the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from agenttune.training.packability import probe, why_not_pack, why_not_share


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3", "Gemma", "Mistral", "Cohere", "Granite"])
def test_known_families_are_shared_and_the_probe_agrees(family: str, tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(family)
    assert why_not_share(model, 100) is None
    assert probe(model) is None
    assert model.training


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("Mistral", {"sliding_window": 64}, "sliding window of 64 tokens and the longest sample has 100"),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}, "sliding window of 64"),
        ("Gemma2", {}, "attn_logit_softcapping"),
        ("Llama", {"attention_dropout": 0.1}, "attention_dropout is 0.1"),
        (
            "Llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}, "max_position_embeddings": 64},
            "dynamic",
        ),
        ("Mamba", {}, "attention interface"),
    ],
)
def test_what_cannot_be_honoured_is_named(family: str, changes: dict[str, Any], said: str, tiny_model: Callable[..., Any]) -> None:
    reason = why_not_pack(tiny_model(family, **changes), 100)
    assert reason is not None
    assert said in reason


def test_a_window_that_no_sample_reaches_is_no_reason(tiny_model: Callable[..., Any]) -> None:
    assert why_not_share(tiny_model("Mistral", sliding_window=128), 100) is None


def test_dropout_forbids_sharing_but_not_packing(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("Llama")
    assert "lora.dropout is 0.1" in str(why_not_share(model, 100, 0.1))
    assert why_not_pack(model, 100) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_finds_what_no_config_names(dtype: torch.dtype, tiny_model: Callable[..., Any]) -> None:
    """A model whose layers mix neighbouring rows: alone and in a tree, neighbours differ."""
    model = tiny_model("Llama").to(dtype)
    assert probe(model) is None
    model.set_attn_implementation("sdpa")
    layer = model.model.layers[0].mlp
    plain = layer.forward
    layer.forward = lambda rows: plain(rows) + torch.roll(rows, 1, dims=1)
    reason = probe(model)
    assert reason is not None
    assert "differ from one sample at a time" in reason


def test_an_attention_that_asks_for_more_is_found_by_the_probe(tiny_model: Callable[..., Any]) -> None:
    reason = probe(tiny_model("Gemma2"))
    assert reason is not None
    assert "attention with softcap" in reason
