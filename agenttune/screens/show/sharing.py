"""What samples have in common, and so is computed once: tokens before and after, by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields

from agenttune.values.tokens import Rendered

CAUSES = {
    "system": "tool lists and requests",
    "history": "history of the same sample",
    "branches": "branches of other samples",
    "tail": "behind the last trained token",
}


def shared_line(total: int, computed: int, saved: Mapping[str, int]) -> str:
    """``100 tokens, 40 computed (60 % saved): 50 tool lists and requests, 10 …``; causes that saved nothing are left out."""
    causes = ", ".join(f"{saved[name]:,} {said}" for name, said in CAUSES.items() if saved.get(name))
    return (
        f"{total:,} tokens, {computed:,} computed ({100 * (total - computed) / max(total, 1):.0f} % saved{': ' if causes else ''}{causes})"
    )


def line_of_packs(renderings: Sequence[Rendered]) -> str:
    """`shared_line` of an epoch over the renderings in Packs of the default size."""
    from agenttune.config import TrainConfig  # the other line is told by commands that need neither numpy nor YAML
    from agenttune.data.pack import build, trained_length
    from agenttune.data.packing import PackLimits, make_packing

    default = {one.name: one.default for one in fields(TrainConfig)}
    limits = PackLimits(tokens=int(str(default["pack_tokens"])), samples=int(str(default["pack_samples"])))
    trained = [one for one in renderings if trained_length(one)]
    packs = make_packing([one.token_ids[: trained_length(one)] for one in trained], limits, seed=0).packs if trained else ()
    total = computed = 0
    saved: Counter[str] = Counter()
    for pack in packs:
        shared = build([trained[index] for index in pack]).shared
        total, computed = total + shared.total, computed + shared.computed
        saved.update(shared.saved)
    return f"in {len(packs):,} Packs of up to {limits.samples} samples: {shared_line(total, computed, saved)}"
