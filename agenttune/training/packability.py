"""What sharing a prefix, or packing at all, cannot honour: by name where the config says it, by a probe where only the model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from agenttune.training.kernels.attention import use_tree_attention
from agenttune.training.kernels.tree import tree_of_segments
from agenttune.values.pack import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ATTENTION_DROPOUTS = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")
OTHER_DROPOUTS = ("hidden_dropout", "hidden_dropout_prob", "resid_pdrop", "embd_pdrop")
ROPES_BY_LENGTH = ("dynamic", "longrope")  # their angles depend on the longest position in the batch


def why_not_share(model: PreTrainedModel, longest: int, lora_dropout: float = 0.0) -> str | None:
    """Why a prefix cannot be computed once for several samples, or None. `longest`: tokens of the longest sample."""
    if lora_dropout:
        return f"lora.dropout is {lora_dropout}: a shared prefix would be dropped alike in all its samples"
    for name in OTHER_DROPOUTS:
        if getattr(model.config, name, 0) or 0:
            return f"the model's {name} is {getattr(model.config, name)}: a shared prefix would be dropped alike in all its samples"
    return why_not_pack(model, longest)


def why_not_pack(model: PreTrainedModel, longest: int) -> str | None:
    """Why several samples cannot lie in one sequence, each seeing only itself, or None. `model` is a transformers causal LM."""
    config = model.config
    reason = _attention(model, config) or _layers(config, longest)
    if reason is None and hasattr(config, "text_config") and config.get_text_config() is not config:
        reason = "it is a model of several modalities"
    return reason


def _attention(model: PreTrainedModel, config: PreTrainedConfig) -> str | None:
    if not getattr(model, "_supports_attention_backend", False):
        return f"the attention of {type(model).__name__} does not go through transformers' attention interface"
    if getattr(model, "_is_stateful", False):
        return f"{type(model).__name__} carries a state from token to token"
    for name in ATTENTION_DROPOUTS:
        if getattr(config, name, 0) or 0:
            return f"the model's {name} is {getattr(config, name)}, which tree attention does not do"
    if getattr(config, "attn_logit_softcapping", None):
        return f"the model caps its attention scores (attn_logit_softcapping {config.attn_logit_softcapping})"
    if getattr(config, "alibi", False):
        return "the model's positions are ALiBi biases, which depend on the distance in the sequence"
    return None


def _layers(config: PreTrainedConfig, longest: int) -> str | None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    unknown = sorted(kinds - {"full_attention", "sliding_attention"})
    if unknown:
        return f"the model has layers of {', '.join(unknown)}"
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in kinds if getattr(config, "layer_types", None) else getattr(config, "use_sliding_window", True)
    if window and slides and longest > window:
        return f"the model attends in a sliding window of {window} tokens and the longest sample has {longest}"
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type") or rope.get("type")
    limit = int(rope.get("original_max_position_embeddings") or getattr(config, "max_position_embeddings", 0) or 0)
    if kind in ROPES_BY_LENGTH and longest > limit:
        return f"the model's {kind} rotary positions depend on the longest sample in the batch beyond {limit} tokens"
    return None


@torch.no_grad()
def probe(model: PreTrainedModel, matmul: bool | None = None) -> str | None:
    """Runs two short sequences with a common prefix by the model's own attention, each as a tree, and both as one tree, and compares.

    It finds what no config names. Sharing must agree with not sharing closely, by the same kernels; tree attention with the model's
    own attention as far as the dtype's rounding, which grows through the layers, allows. The model is left with tree attention.
    `matmul` is that of `use_tree_attention`.
    """
    backbone = getattr(model, model.base_model_prefix)
    device = model.get_input_embeddings().weight.device
    ids = torch.arange(12, device=device) % max(2, min(model.config.vocab_size, 12))
    first, second = ids[:8], torch.cat([ids[:4], ids.flip(0)[:4]])
    was_training = model.training
    model.train()  # as the run does: a quantised layer may repack its weights when it is not trained
    try:
        own = torch.cat([_hidden(backbone, one, None) for one in (first, second)])
        use_tree_attention(model, matmul)
        alone = torch.cat([_hidden(backbone, one, [(0, 8, -1)]) for one in (first, second)])
        flat = _hidden(backbone, torch.cat([first, second[4:]]), [(0, 4, -1), (4, 8, 0), (8, 12, 0)])
    except (NotImplementedError, TypeError) as error:
        return f"{type(model).__name__} does not run over a tree ({error})"
    finally:
        model.train(was_training)
    shared = torch.cat([flat[:8], flat[:4], flat[8:]])
    close, loose = (1e-3, 1e-3) if model.dtype == torch.float32 else (5e-2, 0.3)
    for one, other, limit in ((shared, alone, close), (alone, own, loose)):
        difference = float((one - other).norm() / other.norm().clamp_min(1e-12))
        if not difference <= limit:
            return f"the hidden states of {type(model).__name__} over a tree differ from one sample at a time by {difference:.1e}"
    return None


def _hidden(backbone: torch.nn.Module, ids: torch.Tensor, segments: list[tuple[int, int, int]] | None) -> torch.Tensor:
    """``[T, d]`` in float32: by the model's own attention, or over a tree of (start, end, parent)."""
    given: dict[str, Any] = {}
    if segments is not None:
        depths: list[int] = []
        for start, end, parent in segments:
            first = depths[segments[parent][1] - 1] + 1 if parent >= 0 else 0
            depths += range(first, first + end - start)
        tree = tree_of_segments([Segment(start=start, end=end, parent=parent) for start, end, parent in segments])
        given = {"position_ids": torch.tensor([depths], device=ids.device), "tree": tree}
    hidden: torch.Tensor = backbone(input_ids=ids[None], use_cache=False, **given).last_hidden_state[0].float()
    return hidden
