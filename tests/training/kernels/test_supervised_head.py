"""The supervised head gives the loss and the gradient of full logits, weighted, for every kind of head it handles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from agenttune.config import config_from
from agenttune.errors import UserError
from agenttune.training.kernels import supervised_head
from agenttune.training.kernels.supervised_head import Targets, _HeadLoss, use_supervised_head
from agenttune.training.peft_model import make_trainable

Tensor = torch.Tensor


def reference(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias) * targets.scale
    if targets.cap:
        logits = targets.cap * torch.tanh(logits / targets.cap)
    losses = torch.nn.functional.cross_entropy(logits, targets.labels, reduction="none")
    return (losses * targets.weights).sum() / targets.normaliser


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize(("scale", "cap"), [(1.0, 0.0), (0.25, 0.0), (1.0, 5.0), (2.0, 3.0)])
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradient_equal_autograd_over_full_logits(
    trained: bool, scale: float, cap: float, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised_head, "CHUNK_BYTES", 4 * 37 * 5)  # five rows at a time
    monkeypatch.setattr(supervised_head, "CACHE_BYTES", 4 * 37 * 2)  # of which two at a time go through the softmax
    torch.manual_seed(0)
    hidden = torch.randn(23, 8, requires_grad=True)
    weight = torch.randn(37, 8, requires_grad=trained)
    bias = torch.randn(37) if biased else None
    targets = Targets(torch.randint(0, 37, (23,)), torch.rand(23) * 2, 7.0, scale, cap)
    loss = _HeadLoss.apply(hidden, weight, bias, targets)
    (loss * 3).backward()
    mine = [hidden.grad, weight.grad]
    hidden.grad = weight.grad = None
    expected = reference(hidden, weight, bias, targets)
    (expected * 3).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(mine[0], hidden.grad, rtol=1e-5, atol=1e-6)
    if trained:
        assert torch.allclose(mine[1], weight.grad, rtol=1e-5, atol=1e-6)
    else:
        assert mine[1] is None


def test_a_certain_wrong_answer_has_a_large_finite_loss() -> None:
    hidden, weight = torch.tensor([[200.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = _HeadLoss.apply(hidden, weight, None, Targets(torch.tensor([1]), torch.ones(1), 1.0))
    loss.backward()
    assert loss.item() == 400.0
    assert float(hidden.grad) == pytest.approx(2.0)


def test_no_row_of_the_vocabulary_is_kept_for_the_backward_pass() -> None:
    hidden = torch.randn(50, 8, requires_grad=True)
    loss = _HeadLoss.apply(hidden, torch.randn(1000, 8), None, Targets(torch.zeros(50, dtype=torch.long), torch.ones(50), 1.0))
    assert max(one.numel() for one in loss.grad_fn.saved_tensors if one is not None) == 50 * 8


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Gemma2", {"final_logit_softcapping": 2.0, "attn_logit_softcapping": None}),
        ("Cohere", {"logit_scale": 0.3}),
        ("Granite", {"logits_scaling": 4.0}),
        ("Phi", {}),
    ],
)
def test_what_a_family_does_to_its_logits_is_done(family: str, changes: dict[str, Any], tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(family, **changes).eval()
    ids = torch.arange(10)[None]
    logits = model(input_ids=ids).logits[0, [3, 5]]
    wanted = (torch.nn.functional.cross_entropy(logits, torch.tensor([4, 6]), reduction="none") * torch.tensor([1.0, 0.5])).sum() / 1.5
    use_supervised_head(model)
    places = {"predictors": torch.tensor([3, 5]), "targets": torch.tensor([4, 6]), "weights": torch.tensor([1.0, 0.5])}
    found = model(input_ids=ids, position_ids=torch.arange(10)[None], **places, normaliser=1.5)["loss"]
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert torch.allclose(model(input_ids=ids).logits[0, [3, 5]], logits)  # a plain call is as before


def test_a_lora_head_goes_by_autograd(tiny_model: Callable[..., Any]) -> None:
    config = config_from({"model": "-", "data": "-", "output": "-", "lora": {"r": 2, "targets": ["lm_head"]}}, "test")
    model = make_trainable(tiny_model("Llama"), config)
    base = model.get_base_model()
    ids = torch.arange(6)[None]
    wanted = torch.nn.functional.cross_entropy(base(input_ids=ids).logits[0, [2]], torch.tensor([3]))
    use_supervised_head(base)
    places = {"predictors": torch.tensor([2]), "targets": torch.tensor([3]), "weights": torch.ones(1)}
    loss = model(input_ids=ids, position_ids=torch.arange(6)[None], **places)["loss"]
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    loss.backward()
    assert any(one.grad is not None for name, one in model.named_parameters() if "lora_B" in name)


def test_a_model_without_a_head_is_refused() -> None:
    class Headless(torch.nn.Module):
        def get_output_embeddings(self) -> None:
            return None

    with pytest.raises(UserError, match="no output head"):
        use_supervised_head(Headless())
