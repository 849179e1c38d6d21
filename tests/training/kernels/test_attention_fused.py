"""The compiled attention computes what a dense mask says, touches nothing it should not, and steps aside where it cannot run."""

from __future__ import annotations

import pytest
import torch

from agenttune.training.kernels import attention, attention_fused, compiled
from agenttune.training.kernels.attention_fused import fused_tree_attention
from agenttune.training.kernels.attention_matmul import matmul_tree_attention
from agenttune.training.kernels.tree import Tree, cut_long, tree_of_segments
from agenttune.values.pack import Segment
from tests.training.kernels.test_attention import random_segments, visible
from tests.training.kernels.test_compiled import both, tiles

Tensor = torch.Tensor


def tensors(size: int, heads: int, groups: int, width: int, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    """Query, key, value and a gradient from above, rows of a token together as a model's are."""
    draw = torch.Generator().manual_seed(size + heads)
    shapes = (heads, groups, groups, heads)
    return [torch.randn(1, size, count, width, generator=draw).to(dtype).transpose(1, 2).requires_grad_() for count in shapes]


def passes(function: attention.TreeFunction, given: list[Tensor], tree: Tree, scale: float) -> list[Tensor]:
    """What comes out, and the gradients of query, key and value."""
    *inputs, grad = given
    out = function(inputs[0], inputs[1], inputs[2], tree, scale)
    return [out.detach(), *torch.autograd.grad(out, inputs, grad.detach())]


def dense(given: list[Tensor], segments: list[Segment], scale: float) -> list[Tensor]:
    """The same in float64 under a mask of the whole."""
    query, key, value, grad = (one.detach().double().requires_grad_() for one in given)
    wide = [one.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for one in (key, value)]
    out = torch.nn.functional.scaled_dot_product_attention(query, *wide, attn_mask=visible(segments), scale=scale)
    return [out.detach(), *torch.autograd.grad(out, (query, key, value), grad.detach())]


@both
@pytest.mark.parametrize(("heads", "groups", "width"), [(9, 3, 64), (4, 4, 32), (8, 1, 128), (2, 1, 256)])
@pytest.mark.parametrize(("seed", "longest", "cut"), [(0, 12, 5), (1, 40, 128), (2, 300, 128), (3, 300, 64)])
def test_it_equals_a_dense_mask(dtype: torch.dtype, heads: int, groups: int, width: int, seed: int, longest: int, cut: int) -> None:
    segments = random_segments(seed, longest=longest)[:40]
    tree = tree_of_segments(cut_long(segments, cut))
    given = tensors(tree.size, heads, groups, width, dtype)
    most = {torch.bfloat16: 0.005, torch.float32: 2e-6}[dtype]  # numbers of 8 and of 24 bits, rounded once and summed in float32
    for mine, theirs in zip(passes(fused_tree_attention, given, tree, 0.125), dense(given, segments, 0.125), strict=True):
        assert mine.dtype == dtype
        assert float((mine - theirs).norm() / theirs.norm()) < most


@tiles
def test_it_is_nearer_than_plain_products() -> None:
    segments = random_segments(5, longest=200)[:30]
    tree = tree_of_segments(cut_long(segments, 128))
    given = tensors(tree.size, 6, 2, 64)
    exact = dense(given, segments, 0.125)
    for mine, theirs, wanted in zip(
        passes(fused_tree_attention, given, tree, 0.125), passes(matmul_tree_attention, given, tree, 0.125), exact, strict=True
    ):
        assert (mine - wanted).norm() <= (theirs - wanted).norm()


@both
def test_what_a_row_does_not_see_does_not_reach_it(dtype: torch.dtype) -> None:
    """Two branches of one prefix: the other branch, and what comes later, may be anything, and not a bit changes."""
    segments = [Segment(start=0, end=70, parent=-1), Segment(start=70, end=110, parent=0), Segment(start=110, end=190, parent=0)]
    tree = tree_of_segments(cut_long(segments, 128))
    query, key, value, _ = (one.detach() for one in tensors(190, 6, 2, 64, dtype))
    before = fused_tree_attention(query, key, value, tree, 0.125)
    for one in (key, value):
        one[:, :, 70:110] = 1e4
        one[:, :, 150:] = -1e4
    after = fused_tree_attention(query, key, value, tree, 0.125)
    assert torch.equal(before[:, :, :70], after[:, :, :70])
    assert torch.equal(before[:, :, 110:150], after[:, :, 110:150])
    assert not torch.equal(before[:, :, 70:110], after[:, :, 70:110])


@both
def test_a_pass_is_the_same_twice_and_with_any_number_of_threads(dtype: torch.dtype) -> None:
    segments = random_segments(7, longest=100)[:40]
    tree = tree_of_segments(cut_long(segments, 128))
    given = tensors(tree.size, 9, 3, 64, dtype)
    first, second = (passes(fused_tree_attention, given, tree, 0.125) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 if threads < 3 else 1)
        other = passes(fused_tree_attention, given, tree, 0.125)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])
    for one, two in zip(first[2:], other[2:], strict=True):  # sums of key gradients are joined in another order
        assert float((one.float() - two.float()).norm() / one.float().norm()) < 0.001


@tiles
def test_products_of_others_use_the_tiles_as_before() -> None:
    tree = tree_of_segments(cut_long(random_segments(2, longest=50)[:20], 128))
    given = tensors(tree.size, 4, 2, 64)
    left, right = torch.randn(65, 96).bfloat16(), torch.randn(96, 130).bfloat16()
    before = left @ right
    for _ in range(3):
        passes(fused_tree_attention, given, tree, 0.125)
        assert torch.equal(left @ right, before)


@both
def test_what_is_no_number_stays_one(dtype: torch.dtype) -> None:
    tree = tree_of_segments([Segment(start=0, end=50, parent=-1)])
    query, key, value, _ = (one.detach() for one in tensors(50, 2, 1, 32, dtype))
    query[0, 1, 20, 3] = float("nan")
    out = fused_tree_attention(query, key, value, tree, 0.125)
    assert out[0, 1, 20].isnan().all()
    assert not out[0, 0].isnan().any()
    assert not out[0, 1, :20].isnan().any()


def test_where_it_cannot_run_products_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of_segments([Segment(start=0, end=5, parent=-1)])
    query = tensors(5, 2, 1, 32)[0]
    monkeypatch.setattr(compiled, "why_not", lambda *_: "there is no C compiler (cc)")
    assert attention.choose(query, tree, matmul=True) is attention.attention_matmul.matmul_tree_attention
    assert attention.choose(query.detach().float(), tree) is attention.attention_cpu.flash_tree_attention
    assert "by matrix products" in attention.describe("cpu", torch.bfloat16, matmul=True)
    assert "flash kernel" in attention.describe("cpu")
    assert attention.describe("cpu").endswith("(not compiled: there is no C compiler (cc))")
    monkeypatch.setattr(compiled, "why_not", lambda *_: None)
    assert attention.choose(query, tree, matmul=True) is attention_fused.fused_tree_attention
    assert "bfloat16 tiles" in attention.describe("cpu", torch.bfloat16, matmul=True)
    assert attention.choose(query.detach()[..., :24], tree, matmul=True) is attention.attention_matmul.matmul_tree_attention
    assert attention.choose(query, tree, matmul=False) is attention.attention_cpu.flash_tree_attention
    assert attention.choose(query.detach().float(), tree) is attention_fused.fused_tree_attention
    assert attention.choose(query.detach().double(), tree) is attention.attention_cpu.flash_tree_attention
    assert "this CPU's vectors" in attention.describe("cpu")
    assert "by matrix products" in attention.describe("cpu", torch.bfloat16, matmul=True, width=24)
    assert "does not take heads of 24 numbers" in attention.describe("cpu", torch.bfloat16, matmul=True, width=24)
