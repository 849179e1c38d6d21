"""InternLM checkpoints as published (InternLM, InternLM2, InternLM2.5), as the Llama they compute, without their remote code.

InternLM has Llama's own weight names; ``bias`` stands on q, k, v and o. InternLM2 renames them and fuses attention:
``wqkv`` seen as ``[kv heads, groups + 2, head size, hidden]`` holds, for each kv head, the queries of its group, one key, one
value (InternLM/xtuner v0.1.23 `xtuner/model/modules/dispatch/internlm2.py`; ModelTC/lightllm `models/internlm2`). Both are
copied once into a cache folder of Llama's layout, shard by shard, so that a machine needs memory for one shard and not for the
model, and quantised loading, adapters, export and other libraries then see an ordinary Llama.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import read_json
from agenttune.models.conversion_cache import content_hash, made_once
from agenttune.models.internlm_tokenizer import save_tokenizer
from agenttune.models.weight_files import read_tensors, weight_files, write_tensors

KINDS = ("internlm", "internlm2")
_VERSION = 1  # of what is made of a checkpoint; part of the key
_SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_SHAPE = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_NAMES = (
    (r"model\.tok_embeddings\.(.*)", r"model.embed_tokens.\1"),
    (r"output\.(.*)", r"lm_head.\1"),
    (r"(.*)\.attention\.wo\.(.*)", r"\1.self_attn.o_proj.\2"),
    (r"(.*)\.feed_forward\.w1\.(.*)", r"\1.mlp.gate_proj.\2"),
    (r"(.*)\.feed_forward\.w3\.(.*)", r"\1.mlp.up_proj.\2"),
    (r"(.*)\.feed_forward\.w2\.(.*)", r"\1.mlp.down_proj.\2"),
    (r"(.*)\.attention_norm\.(.*)", r"\1.input_layernorm.\2"),
    (r"(.*)\.ffn_norm\.(.*)", r"\1.post_attention_layernorm.\2"),
)
_FUSED = re.compile(r"(.*)\.attention\.wqkv\.(weight|bias)")


def is_internlm(folder: Path) -> bool:
    """Whether a model's folder holds an InternLM or InternLM2 checkpoint as published."""
    try:
        return _config(folder).get("model_type") in KINDS
    except UserError:
        return False  # whoever reads it next says what is wrong


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    raw = read_json(path, "the config")
    if not isinstance(raw, dict):
        raise UserError(f"{path} must be a JSON object")
    return raw


def folder_of(folder: Path, *, weights: bool = True) -> Path:
    """The Llama folder made of an InternLM checkpoint's; without `weights`, its tokenizer and config alone. Raises `UserError`."""
    raw = _config(folder)
    settings = llama_settings(raw, str(folder / "config.json"))
    files = weight_files(folder) if weights else []
    if weights and not files:
        raise UserError(f"the model folder {folder} has no weights (*.safetensors or pytorch_model*.bin)")

    def make(aside: Path) -> None:
        save_tokenizer(folder, aside)
        _save_config(folder, settings, aside)
        if files:
            write_tensors(aside, _converted(files, raw))

    size = sum(file.stat().st_size for file in files)
    return made_once(f"{folder.resolve().name}-{_key(folder, files)}-v{_VERSION}", make, room=size)


def _key(folder: Path, files: list[Path]) -> str:
    small = [folder / name for name in _SMALL if (folder / name).is_file()]
    parts = [f"{file.name} {content_hash(file)}" for file in [*small, *files]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def llama_settings(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of transformers' `LlamaConfig` for an InternLM ``config.json``. Raises `UserError` for another kind of model."""
    names = raw.get("architectures") or ["InternLMForCausalLM"]
    if not all(str(name).endswith("ForCausalLM") for name in names):
        raise UserError(f"{where} is of {', '.join(map(str, names))}, which is no causal language model")
    missing = [key for key in _SHAPE if key not in raw]
    if missing:
        raise UserError(f'{where} lacks "{missing[0]}"')
    return {
        **{key: raw[key] for key in (*_SHAPE, "hidden_act", "initializer_range") if key in raw},
        "num_key_value_heads": raw.get("num_key_value_heads") or raw["num_attention_heads"],
        "max_position_embeddings": raw.get("max_position_embeddings", 2048),
        "rms_norm_eps": raw.get("rms_norm_eps", 1e-6),
        "attention_bias": bool(raw.get("bias", True)),
        "tie_word_embeddings": bool(raw.get("tie_word_embeddings", False)),
        "rope_parameters": _rope(raw, where),
        **{key: raw.get(key, default) for key, default in (("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 2))},
        "dtype": raw.get("torch_dtype") or raw.get("dtype") or "float16",
    }


def _rope(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rotary position: ``rotary`` of InternLM (base, type), ``rope_theta`` and ``rope_scaling`` of InternLM2."""
    rotary = raw.get("rotary") if raw.get("model_type") == "internlm" else None
    if raw.get("model_type") == "internlm" and not raw.get("rope_scaling"):
        rotary = rotary or {"base": raw.get("rope_theta", 10000), "type": "dynamic"}  # the published class's own default
        kind, theta, factor = rotary.get("type", "origin"), rotary.get("base", 10000), rotary.get("scaling_factor", 1.0)
    else:
        scaling = raw.get("rope_scaling") or {}
        kind, factor = scaling.get("type") or scaling.get("rope_type") or "origin", scaling.get("factor", 1.0)
        theta = raw.get("rope_theta", 10000)
    if kind in ("origin", "default"):
        return {"rope_type": "default", "rope_theta": float(theta)}
    if kind not in ("dynamic", "linear"):
        raise UserError(f'{where} scales positions by "{kind}"; origin, dynamic and linear are known')
    return {"rope_type": kind, "rope_theta": float(theta), "factor": float(factor)}


def _save_config(folder: Path, settings: Mapping[str, Any], aside: Path) -> None:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import LlamaConfig

    try:
        LlamaConfig(**settings, architectures=["LlamaForCausalLM"]).save_pretrained(aside)
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'} describes no Llama: {' '.join(str(error).split())[:300]}") from error
    generation = folder / "generation_config.json"
    if generation.is_file():
        (aside / generation.name).write_bytes(generation.read_bytes())


def _converted(files: list[Path], raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for file in files:
        for name, tensor in read_tensors(file):
            yield from llama_weights(name, tensor, raw)


def llama_weights(name: str, tensor: Any, raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """One tensor of an InternLM checkpoint as Llama's: renamed, or split in three. Rotary tables, which are computed, are left out."""
    if "rotary_emb" in name:
        return
    fused = _FUSED.fullmatch(name)
    if fused is None:
        yield _renamed(name), tensor
        return
    heads, kv_heads = raw["num_attention_heads"], raw.get("num_key_value_heads") or raw["num_attention_heads"]
    groups, rest = heads // kv_heads, tensor.shape[1:]
    if tensor.shape[0] % (kv_heads * (groups + 2)):
        raise UserError(f"{name} has {tensor.shape[0]} rows, which are not {kv_heads} groups of {groups + 2} heads")
    parts = tensor.reshape(kv_heads, groups + 2, -1, *rest)
    for letter, part in (("q", parts[:, :groups]), ("k", parts[:, groups]), ("v", parts[:, groups + 1])):
        yield f"{fused[1]}.self_attn.{letter}_proj.{fused[2]}", part.reshape(-1, *rest)


def _renamed(name: str) -> str:
    for pattern, to in _NAMES:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(to)
    return name
