"""The middle of a gated MLP, compiled or not, equals autograd's in float64."""

from __future__ import annotations

import pytest
import torch

from agenttune.training.kernels import compiled, gated_mlp
from tests.training.kernels.test_compiled import both

Tensor = torch.Tensor


def drawn(rows: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    draw = torch.Generator().manual_seed(rows)
    gate, up, grad = (torch.randn(rows, width, generator=draw) for _ in range(3))
    return [(6 * gate).to(dtype), up.to(dtype), grad.to(dtype)]


def exact(kind: str, gate: Tensor, up: Tensor, grad: Tensor) -> list[Tensor]:
    gate, up = (one.to(torch.float64, copy=True).requires_grad_() for one in (gate, up))
    act = torch.nn.functional.silu(gate) if kind == gated_mlp.SILU else torch.nn.functional.gelu(gate, approximate="tanh")
    inner = act * up
    return [inner.detach(), *torch.autograd.grad(inner, (gate, up), grad.double())]


def check(kind: str, given: list[Tensor], most: float) -> None:
    gate, up, grad = given
    wanted = exact(kind, *given)
    before = gate.clone(), up.clone()
    first = gated_mlp.forward(kind, gate, up)
    again, *gradients = gated_mlp.backward(kind, gate, up, grad.clone())
    assert torch.equal(first, again)
    for mine, theirs in zip((first, *gradients), wanted, strict=True):
        assert float((mine.double() - theirs).norm() / theirs.norm()) < most
    assert torch.equal(gate, before[0]) and torch.equal(up, before[1])
    third = gated_mlp.backward(kind, gate.clone(), up.clone(), grad.clone(), overwrite=True)
    assert all(torch.equal(one, two) for one, two in zip(third, (again, *gradients), strict=True))


@both
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 16), (40, 257), (300, 1536)])
def test_the_compiled_pass(shape: tuple[int, int], dtype: torch.dtype) -> None:
    assert compiled.why_not("gated_mlp", dtype) is None
    check(gated_mlp.SILU, drawn(*shape, dtype), {torch.bfloat16: 0.004, torch.float32: 1e-6}[dtype])


@pytest.mark.parametrize("kind", [gated_mlp.SILU, gated_mlp.GELU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pytorch_does_the_work_where_it_cannot_run(kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "why_not", lambda *_: "there is no C compiler (cc)")
    check(kind, drawn(40, 257, dtype), 1e-6)


@both
def test_large_numbers_and_what_is_none(dtype: torch.dtype) -> None:
    inf, nan = float("inf"), float("nan")
    gate = torch.tensor([[90.0, -90.0, 300.0, -300.0, 1e30, -1e30, 0.0, -0.0, inf, -inf, nan]], dtype=dtype)
    one = torch.ones_like(gate)
    wanted = torch.nn.functional.silu(gate.double())
    inner, gate_grad, up_grad = gated_mlp.backward(gated_mlp.SILU, gate, one, one.clone())
    assert torch.equal(gated_mlp.forward(gated_mlp.SILU, gate, one).isnan(), wanted.isnan())
    torch.testing.assert_close(inner.double()[:, :8], wanted[:, :8], rtol=0.004, atol=1e-25)
    torch.testing.assert_close(up_grad, inner, rtol=0, atol=0, equal_nan=True)
    slopes = gate_grad.double()[0]
    assert slopes[:8].tolist() == pytest.approx([1, 0, 1, 0, 1, 0, 0.5, 0.5], abs=1e-6)
    assert slopes[10].isnan()
