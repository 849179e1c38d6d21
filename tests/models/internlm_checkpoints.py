"""Tiny checkpoints in the layouts that InternLM and InternLM2 are published in, and what such a model computes, in plain torch.

The forward pass follows the published description (fused `wqkv` as ``[kv heads, groups + 2, head size, hidden]``, biases on q, k,
v and o, rotary position over halves, dynamic NTK scaling past the trained length) and shares no code with the loader.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

TEXT = [
    'Thought: I need the weather of Berlin.\nAction: weather\nAction Input: {"city": "Berlin", "days": 3}',
    "今天天气怎么样？ 我需要查询北京的天气。",
    "The quick brown fox jumps over the lazy dog 0123456789",
] * 20
HIDDEN, HEADS, FEED, LAYERS = 64, 4, 128, 2
ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}


def sentencepiece(pieces: int = 380, *, dummy_prefix: bool = True, symbols: tuple[str, ...] = (), squeeze: bool = False) -> bytes:
    """A sentencepiece BPE model with byte fallback, trained here."""
    import sentencepiece as spm

    made = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=made, vocab_size=pieces, model_type="bpe", byte_fallback=True, split_digits=True,
        add_dummy_prefix=dummy_prefix, remove_extra_whitespaces=squeeze, normalization_rule_name="identity", minloglevel=2,
        user_defined_symbols=list(symbols), allow_whitespace_only_pieces=True,
    )  # fmt: skip
    return made.getvalue()


def write(folder: Path, kind: str, *, pickled: bool = False, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Writes a checkpoint of `kind` (``internlm`` or ``internlm2``) in two shards; returns its weights by published name."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model = sentencepiece(symbols=("<eoh>", "<eoa>") if kind == "internlm" else ())
    markers = {} if kind == "internlm" else {str(378 + index): text for index, text in enumerate(["<|im_end|>", "<|im_start|>"])}
    settings = config(kind, 380, **changes)
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.model").write_bytes(model)
    table = {key: {"content": text, "special": True} for key, text in markers.items()}
    own = {"auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]}, "tokenizer_class": "InternLM2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**ROLES, **own, "added_tokens_decoder": table}))
    torch.manual_seed(seed)
    weights = {name: torch.randn(shape) * (0.3 if len(shape) > 1 else 0.5) for name, shape in shapes(settings).items()}
    if kind == "internlm":
        weights |= {f"model.layers.{one}.self_attn.rotary_emb.inv_freq": torch.ones(HIDDEN // HEADS // 2) for one in range(LAYERS)}
    names = sorted(weights)
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        shard = {name: weights[name] for name in part}
        if pickled:
            torch.save(shard, folder / f"pytorch_model-0000{number}-of-00002.bin")
        else:
            save_file(shard, folder / f"model-0000{number}-of-00002.safetensors", metadata={"format": "pt"})
    return weights


def config(kind: str, vocabulary: int, **changes: Any) -> dict[str, Any]:
    """A ``config.json`` with the published keys."""
    family = {"internlm": "InternLM", "internlm2": "InternLM2"}[kind]
    found: dict[str, Any] = {
        "architectures": [f"{family}ForCausalLM"],
        "auto_map": {"AutoConfig": f"configuration_{kind}.{family}Config", "AutoModelForCausalLM": f"modeling_{kind}.{family}ForCausalLM"},
        "model_type": kind, "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": FEED, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
        "bias": kind == "internlm", "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 2,
    }  # fmt: skip
    if kind == "internlm2":
        found |= {"num_key_value_heads": 2, "rope_theta": 1000000, "rope_scaling": None}
    return {**found, **changes}


def shapes(settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint by published name."""
    hidden, feed, words, size = HIDDEN, FEED, settings["vocab_size"], HIDDEN // HEADS
    first = settings["model_type"] == "internlm"
    found: dict[str, tuple[int, ...]] = {"model.norm.weight": (hidden,)}
    found |= {("lm_head" if first else "output") + ".weight": (words, hidden)}
    found |= {f"model.{'embed_tokens' if first else 'tok_embeddings'}.weight": (words, hidden)}
    for number in range(LAYERS):
        at = f"model.layers.{number}."
        if first:
            linear = {f"self_attn.{one}_proj": (hidden, hidden) for one in "qkvo"}
            found |= {f"{at}{one}.weight": (hidden,) for one in ("input_layernorm", "post_attention_layernorm")}
            found |= {f"{at}mlp.{one}_proj.weight": (feed, hidden) for one in ("gate", "up")}
            found[f"{at}mlp.down_proj.weight"] = (hidden, feed)
        else:
            kv_heads = settings["num_key_value_heads"]
            linear = {"attention.wqkv": (kv_heads * (HEADS // kv_heads + 2) * size, hidden), "attention.wo": (hidden, hidden)}
            found |= {f"{at}{one}.weight": (hidden,) for one in ("attention_norm", "ffn_norm")}
            found |= {f"{at}feed_forward.{one}.weight": (feed, hidden) for one in ("w1", "w3")}
            found[f"{at}feed_forward.w2.weight"] = (hidden, feed)
        found |= {f"{at}{name}.weight": shape for name, shape in linear.items()}
        if settings["bias"]:
            found |= {f"{at}{name}.bias": shape[:1] for name, shape in linear.items()}
    return found


def forward(weights: dict[str, Any], settings: dict[str, Any], ids: list[int]) -> Any:
    """Logits ``[T, vocabulary]`` of a published checkpoint's weights, in float64."""
    import torch

    weights = {name: one.double() for name, one in weights.items()}
    first = settings["model_type"] == "internlm"
    x = weights[f"model.{'embed_tokens' if first else 'tok_embeddings'}.weight"][ids]
    for number in range(LAYERS):
        at = f"model.layers.{number}."
        layer = {name.removeprefix(at): one for name, one in weights.items() if name.startswith(at)}
        x = x + _attention(layer, settings, _norm(x, layer["input_layernorm.weight" if first else "attention_norm.weight"], settings))
        y = _norm(x, layer["post_attention_layernorm.weight" if first else "ffn_norm.weight"], settings)
        names = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj") if first else ("feed_forward.w1", "feed_forward.w3", "feed_forward.w2")
        gate, up, down = (layer[f"{name}.weight"] for name in names)
        x = x + (torch.nn.functional.silu(y @ gate.T) * (y @ up.T)) @ down.T
    return _norm(x, weights["model.norm.weight"], settings) @ weights["lm_head.weight" if first else "output.weight"].T


def _norm(x: Any, weight: Any, settings: dict[str, Any]) -> Any:
    return x * (x.pow(2).mean(-1, keepdim=True) + settings["rms_norm_eps"]).rsqrt() * weight


def _linear(layer: dict[str, Any], name: str, x: Any) -> Any:
    out = x @ layer[f"{name}.weight"].T
    return out + layer[f"{name}.bias"] if f"{name}.bias" in layer else out


def _attention(layer: dict[str, Any], settings: dict[str, Any], x: Any) -> Any:
    import torch

    size, length = HIDDEN // HEADS, len(x)
    if settings["model_type"] == "internlm":
        queries, keys, values = (_linear(layer, f"self_attn.{one}_proj", x).reshape(length, HEADS, size) for one in "qkv")
        groups = 1
    else:
        kv_heads = settings["num_key_value_heads"]
        groups = HEADS // kv_heads
        fused = _linear(layer, "attention.wqkv", x).reshape(length, kv_heads, groups + 2, size)
        queries = torch.stack([fused[:, one // groups, one % groups] for one in range(HEADS)], 1)
        keys, values = fused[:, :, groups], fused[:, :, groups + 1]
    angles = _angles(settings, length, size)
    queries, keys = _turn(queries, angles), _turn(keys, angles)
    heads = []
    for head in range(HEADS):
        scores = queries[:, head] @ keys[:, head // groups].T / math.sqrt(size)
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
        heads.append(scores.softmax(-1) @ values[:, head // groups])
    return _linear(layer, "self_attn.o_proj" if settings["model_type"] == "internlm" else "attention.wo", torch.cat(heads, -1))


def _angles(settings: dict[str, Any], length: int, size: int) -> Any:
    """``[T, size / 2]``; dynamic scaling raises the base where the text is longer than what was trained."""
    import torch

    rotary = settings.get("rotary") or {}
    scaling = settings.get("rope_scaling") or {"type": rotary.get("type"), "factor": 1.0}
    base, trained, at = rotary.get("base", settings.get("rope_theta", 10000)), settings["max_position_embeddings"], torch.arange(length)
    if scaling["type"] == "dynamic" and length > trained:
        factor = scaling["factor"]
        base = base * (factor * length / trained - (factor - 1)) ** (size / (size - 2))
    if scaling["type"] == "linear":
        at = at / scaling["factor"]
    return at.double()[:, None] * base ** -(torch.arange(0, size, 2).double() / size)[None]


def _turn(x: Any, angles: Any) -> Any:
    import torch

    left, right = x.chunk(2, -1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)
