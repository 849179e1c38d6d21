"""QLoRA over an InternLM2 checkpoint as published: two steps, an adapter, and the same base again."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agenttune import models
from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.training.train import train

_spec = importlib.util.spec_from_file_location("internlm_checkpoints", Path(__file__).parents[1] / "models" / "internlm_checkpoints.py")
assert _spec and _spec.loader
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


@pytest.mark.parametrize(("method", "kind", "template"), [("qlora", "internlm2", "internlm2_chat"), ("lora", "internlm", "internlm_chat")])
def test_an_adapter_of_two_steps_goes_back_onto_its_base(
    method: str, kind: str, template: str, run_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    base, other = tmp_path / "base", tmp_path / "other"
    made.write(base, kind, pickled=kind == "internlm")
    made.write(other, kind, seed=1)
    config = run_config(model=str(base), method=method, template=template, length=512, trainer={"max_steps": 2})
    train(config, events=lambda _: None)
    out = tmp_path / "out"
    card = json.loads((out / "agenttune.json").read_text())
    assert (card["base"], card["template"], card["config"]["trust_remote_code"]) == (str(base), template, False)
    bits = 4 if method == "qlora" else None
    prompt = [[5, 6, 7, 8]]

    def logits(**options: str) -> torch.Tensor:
        return torch.tensor(models.load(**options, device="cpu", dtype="float32", bits=bits).start(prompt, [None]).logits())

    plain, tuned = logits(name=str(base)), logits(name=str(base), adapter=str(out))
    assert float((plain - tuned).abs().max()) > 1e-3
    assert torch.equal(logits(name=str(out)), tuned)  # the adapter's folder alone brings its base
    with pytest.raises(UserError, match="is another model"):
        models.load(str(other), adapter=str(out), device="cpu", dtype="float32", bits=bits)
