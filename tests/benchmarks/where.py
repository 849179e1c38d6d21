"""Where one training step's time goes, by kind of work: the profiler's own time of each operator, put into a few drawers."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

MATMUL = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::linear", "mkldnn::", "aten::matmul", "aten::baddbmm")
COMPILED = ("_LoraMLP", "_RMSNorm")  # of these the compiled passes are nearly all that is not a product
ATTENTION = ("aten::_scaled_dot_product", "aten::_flash", "_FusedAttention")
COPIES = ("aten::copy_", "aten::_to_copy", "aten::cat", "aten::contiguous", "aten::clone", "aten::empty", "aten::zeros", "aten::fill_")
HEAD = ("aten::_softmax", "aten::amax", "aten::gather", "aten::_log_softmax", "aten::nll")
ROWS = ("aten::embedding", "aten::index", "aten::index_select")


def drawer(name: str) -> str:
    """The kind of work of an operator."""
    for kind, starts in (("matrix products", MATMUL), ("attention", ATTENTION), ("copies", COPIES), ("loss", HEAD), ("rows", ROWS)):
        if name.startswith(starts):
            return kind
    return "elementwise" if name.startswith(("aten::", *COMPILED)) else "python and autograd"


def profile_step(model: Any, pack: Any) -> dict[str, Any]:
    """Seconds of a forward and backward pass of `pack` by drawer, and the ten costliest operators."""
    from torch.profiler import ProfilerActivity, profile

    def step() -> None:
        from agenttune.training.trainer import collate

        batch = collate([pack])
        batch.pop("pack")
        model(**batch, normaliser=float(sum(pack.weights)))["loss"].backward()
        for parameter in model.parameters():
            parameter.grad = None

    model.train()
    step()
    start = time.perf_counter()
    step()
    plain = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        start = time.perf_counter()
        step()
        whole = time.perf_counter() - start
    kinds: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for one in seen.key_averages():
        seconds = one.self_cpu_time_total / 1e6
        kinds[drawer(one.key)] += seconds
        names[one.key] += seconds
    kinds["python and autograd"] += max(0.0, whole - sum(kinds.values()))
    return {"seconds": plain, "kinds": dict(kinds.most_common()), "names": names.most_common(10)}
