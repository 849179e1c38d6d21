"""Every shipped config runs: two steps on a tiny checkpoint of its architecture, in the layout that the architecture is published in."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.config import load_config
from agenttune.training.train import train

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
_spec = importlib.util.spec_from_file_location("internlm_checkpoints", ROOT / "tests" / "models" / "internlm_checkpoints.py")
assert _spec and _spec.loader
internlm = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(internlm)
# How each family's published models differ from each other, and the tokenizer that stands for theirs.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "internlm_7b": ("internlm", {"bias": True, "rotary": {"base": 10000, "type": "dynamic"}}),
    "internlm_20b": ("internlm", {"bias": False}),
    "internlm2_5_7b": ("internlm2", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "internlm2_5_20b": ("internlm2", {"rope_theta": 50000000}),
    "qwen2_5_7b": ("Qwen2", {"tie_word_embeddings": False}),
    "qwen3_4b": ("Qwen3", {"tie_word_embeddings": True}),
    "qwen3_8b": ("Qwen3", {"tie_word_embeddings": False}),
    "llama3_1_8b": ("Llama", {"tie_word_embeddings": False}),
    "smollm2_135m": ("Llama", {"tie_word_embeddings": True}),
}


def checkpoint(name: str, folder: Path, made_tokenizer: Callable[[str], Any]) -> str:
    """A tiny checkpoint of the family that the config `name` is for."""
    import torch
    import transformers

    family, changes = next(FAMILIES[one] for one in FAMILIES if name.startswith(one + "_"))
    if family.startswith("internlm"):
        internlm.write(folder, family, **{**changes, "max_position_embeddings": 8192})
        return family
    tokenizer = made_tokenizer("llama3" if name.startswith("llama3") else "chatml")
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    settings = getattr(transformers, f"{family}Config")(**shape, vocab_size=len(tokenizer), max_position_embeddings=8192, **changes)
    transformers.AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return family


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_trains_two_steps(
    name: str, made_tokenizer: Callable[[str], Any], samples_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    checkpoint(name, tmp_path / "model", made_tokenizer)
    overrides = [f"model={tmp_path / 'model'}", f"data={samples_file}", f"output={tmp_path / 'out'}", "trainer.max_steps=2", "device=cpu"]
    summary = train(load_config(name, [*overrides, "trainer.gradient_accumulation_steps=1"]), events=lambda _: None)
    assert (summary.steps, summary.pack) == (2, "share")
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    card = json.loads((tmp_path / "out" / "agenttune.json").read_text())
    assert (card["method"], card["config"]["trust_remote_code"]) == (load_config(name).method, False)


def test_the_models_that_are_promised_have_a_config() -> None:
    models = {name.split("_qlora_")[0].split("_lora_")[0] for name in SHIPPED}
    assert models == set(FAMILIES)
    for model in ("internlm_7b", "internlm_20b"):
        assert {f"{model}_qlora_{data}" for data in ("alpaca", "oasst", "msagent")} <= set(SHIPPED)
    assert load_config("internlm_20b_qlora_alpaca").model == "internlm/internlm-20b"
