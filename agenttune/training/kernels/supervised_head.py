"""The language-model head where it is needed: logits at supervised positions only, in chunks, with the gradient made in the forward pass.

    loss = sum_k w_k * -log p(label_k | hidden[predictor_k]) / normaliser
    dlogits_k = (softmax(logits_k) - onehot(label_k)) * w_k / normaliser

The same idea, of a linear layer fused with its cross entropy in chunks, is in Liger Kernel (Hsu et al., arXiv 2410.10989). It is computed
inside the model's forward pass, by the head module's own call, so that hooks on that module (ZeRO-3 gathers its weight there) see an
ordinary use of it.

`use_supervised_head` replaces ``forward`` of the model and of its head and keeps theirs as ``_plain_forward``; nobody else sets or reads
that attribute. `plain_forward` gives the model's own forward back for a while.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from agenttune.errors import UserError
from agenttune.models.lora import product
from agenttune.training.kernels.tree import Tree

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Tensor = torch.Tensor
CHUNK_BYTES = 64 << 20  # of logits at a time: large enough for a matmul at full speed (the whole weight is read for each)
CACHE_BYTES = 4 << 20  # of logits that pass through the softmax's operations at a time: what a CPU's cache holds


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """``labels[S]``, ``weights[S]`` (float32) of the supervised positions, and what the weighted sum is divided by.

    Logits are multiplied by `scale`, then soft-capped, ``cap * tanh(logits / cap)``, where `cap` is not 0.
    """

    labels: Tensor
    weights: Tensor
    normaliser: float
    scale: float = 1.0
    cap: float = 0.0


def use_supervised_head(model: PreTrainedModel) -> None:
    """Lets ``model(input_ids, position_ids, predictors=, labels=…)`` of a causal LM return the weighted loss; other calls are as before.

    Raises `UserError` where the model's logits are made in a way that is not known here.
    """
    head = model.get_output_embeddings()
    if head is None or not callable(head):
        raise UserError(f"{type(model).__name__} has no output head to train with; it must be a causal language model")
    model._scale, model._cap = _logit_scaling(model.config)
    model._plain_forward = model.forward
    model.forward = MethodType(_forward, model)
    head._plain_forward = head.forward
    head.forward = MethodType(_head_forward, head)


@contextlib.contextmanager
def plain_forward(model: PreTrainedModel) -> Iterator[None]:
    """With the model's own forward pass, which returns logits, until the block ends."""
    supervised, model.forward = model.forward, model._plain_forward
    try:
        yield
    finally:
        model.forward = supervised


def _logit_scaling(config: PreTrainedConfig) -> tuple[float, float]:
    """(factor, soft cap or 0) of a family's logits: Cohere multiplies, Granite divides, Gemma 2 caps."""
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    if getattr(config, "logits_scaling", None):
        scale /= float(config.logits_scaling)
    return scale, float(getattr(config, "final_logit_softcapping", None) or 0.0)


def _forward(
    self: Any,
    input_ids: Tensor | None = None,
    *,
    predictors: Tensor | None = None,
    targets: Tensor | None = None,
    weights: Tensor | None = None,
    normaliser: float = 1.0,
    position_ids: Tensor | None = None,
    tree: Tree | None = None,
    **others: Any,
) -> Any:
    """``input_ids [1, T]`` with ``predictors [S]``, ``targets [S]``, ``weights [S]`` to ``{"loss": scalar}``."""
    asked = {name: one for name, one in others.items() if one is not None}
    if predictors is None:
        return self._plain_forward(input_ids=input_ids, position_ids=position_ids, **asked, **({"tree": tree} if tree is not None else {}))
    assert targets is not None and weights is not None
    backbone = getattr(self, self.base_model_prefix)
    given = {"tree": tree} if tree is not None else {}
    hidden = backbone(input_ids=input_ids, position_ids=position_ids, use_cache=False, **given).last_hidden_state
    chosen = hidden[0].index_select(0, predictors)
    loss = self.get_output_embeddings()(chosen, Targets(targets, weights, normaliser, self._scale, self._cap))
    return {"loss": loss}


def _head_forward(self: Any, hidden: Tensor, supervised: Targets | None = None) -> Tensor:
    if supervised is None:
        plain: Tensor = self._plain_forward(hidden)
        return plain
    if type(self) is not torch.nn.Linear or (self.bias is not None and self.bias.requires_grad):
        return _plain_loss(self._plain_forward(hidden), supervised)
    loss: Tensor = _HeadLoss.apply(hidden, self.weight, self.bias, supervised)  # type: ignore[no-untyped-call]
    return loss


def _plain_loss(logits: Tensor, supervised: Targets) -> Tensor:
    """For a head of another kind (a LoRA layer, a quantised one): autograd over ``[S, V]`` logits."""
    logits = logits.float() * supervised.scale
    if supervised.cap:
        logits = supervised.cap * torch.tanh(logits / supervised.cap)
    losses = torch.nn.functional.cross_entropy(logits, supervised.labels, reduction="none")
    return (losses * supervised.weights).sum() / supervised.normaliser


class _HeadLoss(torch.autograd.Function):
    """Softmax minus one-hot, times the head's weight, chunk by chunk while the logits are there: no ``[S, V]`` is kept or recomputed.

    A row's factors multiply after the matmul, where a row has ``d`` numbers and not ``V``.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, supervised: Targets) -> Tensor:
        need_hidden, need_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        share = supervised.weights / supervised.normaliser
        total = torch.zeros((), dtype=_wide(hidden.dtype), device=hidden.device)
        rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            labels, factor = supervised.labels[part], share[part].unsqueeze(1).to(hidden.dtype)
            logits = product(hidden[part], weight, bias)
            loss, at_label = _softmax(logits, labels, supervised)
            grad_logits = logits  # in their place
            total += (loss * share[part]).sum()
            if grad_hidden is not None:
                picked = weight[labels] * at_label.to(weight.dtype)
                grad_hidden[part] = (grad_logits @ weight - picked) * factor
            if grad_weight is not None:
                scaled = hidden[part] * factor
                grad_weight.addmm_(grad_logits.t(), scaled)
                grad_weight.index_add_(0, labels, scaled * at_label.to(scaled.dtype), alpha=-1)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad.to(grad_hidden.dtype),
            None if grad_weight is None else grad_weight * grad.to(grad_weight.dtype),
            None,
            None,
        )


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _softmax(logits: Tensor, labels: Tensor, supervised: Targets) -> tuple[Tensor, Tensor]:
    """``-log p`` ``[n]`` and the gradient's term at the label ``[n, 1]``; the rest of the gradient is left in `logits` ``[n, V]``."""
    wide = _wide(logits.dtype)
    rows = max(1, CACHE_BYTES // (4 * logits.shape[1]))
    found = []
    for few, chosen in zip(torch.split(logits, rows), torch.split(labels, rows), strict=True):
        work = few.to(wide)  # the same memory where it is wide already
        found.append(_softmax_rows(work, chosen, supervised))
        if work is not few:
            few.copy_(work)
    losses, at_labels = zip(*found, strict=True)
    return torch.cat(losses), torch.cat(at_labels)


def _softmax_rows(logits: Tensor, labels: Tensor, supervised: Targets) -> tuple[Tensor, Tensor]:
    """`_softmax` of a few rows in a wide dtype, in place.

    ``log sum exp`` is had from the softmax's largest value, which is at least 1/V and so has all its digits.
    """
    chosen = labels.unsqueeze(1)
    cap_grad = _scale_and_cap(logits, supervised)
    top, at_label = logits.amax(1), logits.gather(1, chosen).squeeze(1)
    soft = torch.softmax(logits, dim=1, out=logits)
    loss = top - soft.amax(1).log() - at_label
    if cap_grad is not None:
        soft *= cap_grad
        return loss, cap_grad.gather(1, chosen)
    if supervised.scale != 1.0:
        soft *= supervised.scale
    return loss, torch.full_like(chosen, supervised.scale, dtype=soft.dtype)


def _scale_and_cap(logits: Tensor, supervised: Targets) -> Tensor | None:
    """Scales and caps the logits in place. Returns the derivative of that, where it is not one number."""
    if supervised.scale != 1.0:
        logits *= supervised.scale
    if not supervised.cap:
        return None
    logits.div_(supervised.cap).tanh_()
    derivative = (1 - logits * logits).mul_(supervised.scale)
    logits *= supervised.cap
    return derivative
