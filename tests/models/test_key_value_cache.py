"""The layer that appends in place holds what transformers' own layer holds, whatever is done to it."""

from __future__ import annotations

import random

import pytest


@pytest.mark.parametrize("seed", range(12))
def test_it_holds_what_a_concatenating_layer_holds(seed: int) -> None:
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    from agenttune.models.key_value_cache import PreallocatedLayer, crop

    made = random.Random(seed)
    torch.manual_seed(seed)
    ours, theirs = PreallocatedLayer(), DynamicLayer()
    rows, copies, grown = 3, 0, 0
    for _ in range(40):
        action = made.choice(["update"] * 4 + ["crop", "select"])
        if action == "update" or not ours.is_initialized:
            columns = made.choice([1, 1, 1, 5, 70])
            new = torch.randn(rows, 2, columns, 4), torch.randn(rows, 2, columns, 6)
            before = ours.keys.data_ptr() if ours.is_initialized else 0
            for layer in (ours, theirs):
                keys, values = layer.update(*new)
                assert keys is layer.keys and values is layer.values
            copies += ours.keys.data_ptr() != before
            grown += 1
        elif action == "crop":
            length = made.randint(0, ours.get_seq_length())
            cache = DynamicCache()
            cache.layers = [ours]
            assert crop(cache, length)
            theirs.crop(length - theirs.get_seq_length())
        else:
            chosen = torch.tensor([made.randrange(rows) for _ in range(made.randint(1, rows))])
            rows = len(chosen)
            for layer in (ours, theirs):
                layer.reorder_cache(chosen)
        assert ours.get_seq_length() == theirs.get_seq_length()
        if ours.get_seq_length():
            assert torch.equal(ours.keys, theirs.keys)
            assert torch.equal(ours.values, theirs.values)
    assert copies < grown


def test_a_copy_is_not_written_over() -> None:
    import torch

    from agenttune.models.key_value_cache import PreallocatedLayer

    first, second = PreallocatedLayer(), PreallocatedLayer()
    first.update(torch.ones(1, 1, 4, 2), torch.ones(1, 1, 4, 2))
    second.update(first.keys[:, :, :3], first.values[:, :, :3])
    first.keys, first.values = first.keys[:, :, :2], first.values[:, :, :2]
    first.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert second.keys.sum() == 6
    assert first.keys[0, 0, :, 0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("seed", range(12))
def test_rows_that_leave_leave_the_others_as_they_were(seed: int) -> None:
    import torch

    from agenttune.models.key_value_cache import PreallocatedLayer, empty, keep

    made = random.Random(seed)
    torch.manual_seed(seed)
    cache = empty(None)
    cache.layers = [PreallocatedLayer()]
    (layer,) = cache.layers
    expected, rows, stayed = torch.empty(9, 1, 0, 2), 9, 0
    while rows:
        with torch.inference_mode():
            new = torch.randn(rows, 1, made.choice([1, 1, 3, 70]), 2)
            layer.update(new, new + 1)
        expected = torch.cat([expected, new], dim=2)
        kept = made.sample(range(rows), made.randint(0, rows))
        if made.random() < 0.7:  # as decoding does: some of the last take the places of those that go
            kept = list(range(len(kept)))
            going = made.sample(kept, min(len(kept), made.randint(0, rows - len(kept))))
            for row, source in zip(going, range(len(kept), rows), strict=False):
                kept[row] = source
        before = layer.keys.data_ptr()
        keep(cache, kept, "cpu")
        stayed += layer.keys.data_ptr() == before
        expected, rows = expected[kept], len(kept)
        assert torch.equal(layer.keys, expected)
        assert torch.equal(layer.values, expected + 1)
    assert stayed
