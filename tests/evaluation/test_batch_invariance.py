"""The size of a batch moves nothing: in float64 every reply is the same, whoever is beside it; in bfloat16 the flips are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.run import run_eval
from agenttune.evaluation.stats import wilson


def outputs(model: str, out: Path, **options: Any) -> dict[str, str]:
    """What a model said to cases of the desk, by case."""
    asked = {"suite": "desk:dev", "limit": 16, "max_new_tokens": 16, "device": "cpu", "no_cache": True}
    run_eval(EvalOptions(model=model, out=out, **{**asked, **options}))
    rows = [json.loads(line) for line in (out / "cases.jsonl").read_text().splitlines()]
    return {row["case"]: row["output"] for row in rows}


def test_the_batch_size_moves_nothing_in_float64(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from agenttune.models import device, hf

    for module in (device, hf):
        monkeypatch.setattr(module, "pick_dtype", lambda name, where: torch.float64)
    alone = outputs(str(tiny_model), tmp_path / "1", batch_size=1)
    assert len(set(alone.values())) > 8  # the model says different things to different cases
    for size in (5, 16):
        assert outputs(str(tiny_model), tmp_path / str(size), batch_size=size) == alone


def test_a_run_repeated_is_the_same_run(tiny_model: Path, tmp_path: Path) -> None:
    first, again = (outputs(str(tiny_model), tmp_path / name, dtype="float32") for name in ("first", "again"))
    assert first == again
    assert (tmp_path / "first" / "cases.jsonl").read_bytes() == (tmp_path / "again" / "cases.jsonl").read_bytes()


@pytest.mark.slow
def test_flips_in_bfloat16_are_reported(smollm2: str, tmp_path: Path) -> None:
    alone = outputs(smollm2, tmp_path / "alone", dtype="bfloat16", batch_size=1)
    beside = outputs(smollm2, tmp_path / "beside", dtype="bfloat16", batch_size=16)
    flips = sum(alone[case] != beside[case] for case in alone)
    low, high = wilson(flips, len(alone))
    print(f"{flips} of {len(alone)} replies differ between batches of 1 and of 16 in bfloat16 ({100 * low:.0f} to {100 * high:.0f} %)")
    assert alone.keys() == beside.keys()
