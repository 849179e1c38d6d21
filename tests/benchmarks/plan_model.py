"""A random Llama of a middling size, whose memory is measured: large enough that its parts stand out, small enough for a CPU."""

from __future__ import annotations

from pathlib import Path

SHAPE = {
    "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1536,
    "vocab_size": 49152, "tie_word_embeddings": False,
}  # fmt: skip


def write(folder: Path) -> Path:
    """Writes its weights and the embedded model's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from agenttune.models.hf import load_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, max_position_embeddings=8192)
    LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer("smollm2-135m").hf.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
