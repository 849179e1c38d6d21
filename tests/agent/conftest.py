"""Tiny random models for the agent's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenttune.models.hf import HFModel, wrap_tokenizer

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.6,  # wide, so that outputs differ from each other
    "pad_token_id": 0,
}
WINDOW = 9


@pytest.fixture(scope="session")
def tiny(made_tokenizer: Callable[[str], Any]) -> Callable[..., HFModel]:
    """``tiny("llama")``: an `HFModel` with random weights in float64. Kinds: llama, qwen2, qwen3, gemma, mistral (a sliding window),
    lfm2 (hybrid: convolutions keep a state that cannot be cut)."""
    import torch
    from transformers import AutoModelForCausalLM, GemmaConfig, Lfm2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

    tokenizer = made_tokenizer("chatml")
    shape = {**SMALL, "vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": None}

    def make(kind: str, dtype: Any = torch.float64) -> HFModel:
        configs: dict[str, Callable[[], Any]] = {
            "llama": lambda: LlamaConfig(**shape),
            "qwen2": lambda: Qwen2Config(**shape),
            "qwen3": lambda: Qwen3Config(**shape, head_dim=8),
            "gemma": lambda: GemmaConfig(**shape, head_dim=8),
            "mistral": lambda: MistralConfig(**shape, sliding_window=WINDOW),
            "lfm2": lambda: Lfm2Config(**shape, layer_types=["conv", "full_attention", "conv"], block_auto_adjust_ff_dim=False),
        }
        torch.manual_seed(7)
        hf = AutoModelForCausalLM.from_config(configs[kind]()).to(dtype).eval()
        return HFModel(hf, wrap_tokenizer(tokenizer), name=f"tiny-{kind}")

    return make
