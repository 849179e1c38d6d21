"""Every attention function computes what a dense mask says, forward and backward, over random trees."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import pytest
import torch

from agenttune.training.kernels.attention import block_tree_attention, tree_attention_forward
from agenttune.training.kernels.attention_cpu import flash_tree_attention
from agenttune.training.kernels.attention_gpu import flex_tree_attention, sequence_bounds
from agenttune.training.kernels.attention_matmul import matmul_tree_attention
from agenttune.training.kernels.tree import Tree, cut_long, tree_of_segments
from agenttune.values.pack import Segment

Tensor = torch.Tensor
Function = Callable[[Tensor, Tensor, Tensor, Tree, float], Tensor]


def random_segments(seed: int, roots: int = 2, longest: int = 12) -> list[Segment]:
    draw = random.Random(seed)
    found: list[Segment] = []

    def grow(parent: int, depth: int) -> None:
        start = found[-1].end if found else 0
        found.append(Segment(start=start, end=start + draw.randint(1, longest), parent=parent))
        index = len(found) - 1
        for _ in range(0 if depth > 3 or draw.random() < 0.3 else draw.randint(2, 3)):
            grow(index, depth + 1)

    for _ in range(roots):
        grow(-1, 0)
    return found


def visible(segments: list[Segment]) -> Tensor:
    """``[T, T]``: who sees whom, by walking parents; independent of the code under test."""
    size = segments[-1].end
    sees = torch.zeros(size, size, dtype=torch.bool)
    for segment in segments:
        for row in range(segment.start, segment.end):
            sees[row, segment.start : row + 1] = True
            parent = segment.parent
            while parent >= 0:
                sees[row, segments[parent].start : segments[parent].end] = True
                parent = segments[parent].parent
    return sees


def flex(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """FlexAttention run unfused on CPU: its contract, not its kernel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flex_tree_attention(query, key, value, tree, scale, compiled=False)


def tensors(size: int, heads: int, groups: int, width: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(size)
    shapes = (heads, heads // groups, heads // groups)
    return [torch.randn(1, size, count, width).to(dtype).transpose(1, 2).requires_grad_() for count in shapes]


FUNCTIONS = {"flash": flash_tree_attention, "blocks": block_tree_attention, "matmul": matmul_tree_attention}


@pytest.mark.parametrize("small", [0, 16, 64])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_tree_equals_a_dense_mask(name: str, seed: int, small: int) -> None:
    segments = random_segments(seed)
    tree = tree_of_segments(cut_long(segments, 5), small)
    assert sorted((block.start, block.end) for block in tree.diagonal_blocks) == [
        (block.start, block.end) for block in tree.diagonal_blocks
    ]
    assert sum(block.end - block.start for block in tree.diagonal_blocks) == tree.size == segments[-1].end
    assert [(block.start, block.end) for block in tree.query_blocks] == [(block.start, block.end) for block in tree.diagonal_blocks]
    given = tensors(tree.size, heads=6, groups=3, width=16)
    upstream = torch.randn(1, 6, tree.size, 16)
    out = FUNCTIONS[name](*given, tree, 0.3)
    ours = torch.autograd.grad(out, given, upstream)
    query, key, value = given
    wide = [one.repeat_interleave(3, dim=1) for one in (key, value)]
    dense = torch.nn.functional.scaled_dot_product_attention(query, *wide, attn_mask=visible(segments), scale=0.3)
    reference = torch.autograd.grad(dense, given, upstream)
    assert torch.allclose(out, dense, atol=1e-5)
    for mine, theirs in zip(ours, reference, strict=True):
        assert torch.allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_flex_mask_says_the_same_forward(seed: int) -> None:
    """FlexAttention has no backward pass on CPU; its own autograd is its business."""
    segments = random_segments(seed)
    tree = tree_of_segments(segments)
    given = [one.detach() for one in tensors(tree.size, heads=6, groups=3, width=16)]
    assert torch.allclose(flex(*given, tree, 0.3), block_tree_attention(*given, tree, 0.3), atol=1e-5)


def test_the_rule_by_subtree_ends_says_the_same() -> None:
    segments = random_segments(11, roots=3)
    tree = tree_of_segments(segments)
    row, ends = torch.arange(tree.size), torch.tensor(tree.ends)
    assert torch.equal((row[None, :] <= row[:, None]) & (row[:, None] < ends[None, :]), visible(segments))


def test_no_block_is_as_large_as_the_whole() -> None:
    segments = [Segment(start=0, end=3000, parent=-1), Segment(start=3000, end=3500, parent=0), Segment(start=3500, end=4000, parent=0)]
    tree = tree_of_segments(cut_long(segments, 192))
    masks = [block.mask for block in tree.diagonal_blocks if block.mask is not None]
    assert not masks
    many = tree_of_segments([Segment(start=0, end=10, parent=-1), *(Segment(start=at, end=at + 4, parent=0) for at in range(10, 410, 4))])
    sizes = [block.mask.numel() for block in many.diagonal_blocks if block.mask is not None]
    assert max(sizes) <= 64 * 64
    assert len(many.diagonal_blocks) < 12  # a hundred siblings of four tokens are a few blocks
    assert len(many.prefix_blocks) == 1  # and look at their prefix in one call


@pytest.mark.parametrize("function", [flash_tree_attention, matmul_tree_attention])
def test_bfloat16_stays_near_float32(function: Function) -> None:
    segments = random_segments(3)
    tree = tree_of_segments(segments)
    exact = [one.detach().requires_grad_() for one in tensors(tree.size, 6, 3, 16)]
    half = [one.detach().bfloat16().requires_grad_() for one in exact]
    out = function(half[0], half[1], half[2], tree, 0.25)
    assert out.dtype == torch.bfloat16
    reference = flash_tree_attention(exact[0], exact[1], exact[2], tree, 0.25)
    assert (out.float() - reference).abs().max().item() < 0.05
    upstream = torch.randn(out.shape)
    for mine, theirs in zip(
        torch.autograd.grad(out, half, upstream.bfloat16()), torch.autograd.grad(reference, exact, upstream), strict=True
    ):
        assert mine.dtype == torch.bfloat16
        assert float((mine.float() - theirs).norm() / theirs.norm()) < 0.02


def test_unshared_trees_are_sequences_for_varlen() -> None:
    tree = tree_of_segments(cut_long([Segment(start=0, end=5, parent=-1), Segment(start=5, end=12, parent=-1)], 3))
    assert not tree.shared
    assert sequence_bounds(tree) == ([0, 5, 12], 7)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"softcap": 30.0}, "softcap"),
        ({"s_aux": torch.zeros(4)}, "s_aux"),
        ({"dropout": 0.1}, "no dropout"),
        ({"sliding_window": 3}, "sliding window of 3"),
        ({"tree": None}, "takes a tree"),
    ],
)
def test_what_it_does_not_do_it_refuses(asked: dict[str, object], said: str) -> None:
    tree = tree_of_segments([Segment(start=0, end=5, parent=-1)])
    query, key, value = tensors(5, 4, 2, 8)
    with pytest.raises(NotImplementedError, match=said):
        tree_attention_forward(torch.nn.Module(), query, key, value, None, **{"tree": tree, **asked})
