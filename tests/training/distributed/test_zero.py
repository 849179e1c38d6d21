"""DeepSpeed by name, and two ranks: the settings, what is refused, and the run of one process step for step."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.files import shipped
from agenttune.training import checkpoint, prepare, train_log
from agenttune.training.arguments import training_arguments
from agenttune.training.distributed import zero, zero3_weights
from agenttune.training.train import train

Make = Callable[..., TrainConfig]
NAMES = ("zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")


def named(run_config: Make, name: Any) -> dict[str, Any] | None:
    return zero.deepspeed_settings(run_config(trainer={"deepspeed": name}))


@pytest.mark.parametrize("name", NAMES)
def test_each_shipped_stage_leaves_every_size_to_the_config(name: str, run_config: Make) -> None:
    settings = named(run_config, name)
    assert settings is not None
    assert settings == named(run_config, f"deepspeed_{name}") == named(run_config, str(shipped("configs") / "deepspeed" / f"{name}.json"))
    parts = settings["zero_optimization"]
    assert zero.zero_stage(settings) == parts["stage"] == int(name[4])
    sizes = [
        settings[key] for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    ]
    sizes += [value for key, value in parts.items() if key.endswith(("_size", "_threshold"))]
    assert set(sizes) == {"auto"}
    assert settings["bf16"]["enabled"] == settings["fp16"]["enabled"] == "auto"
    assert parts.get("offload_optimizer", {}).get("device") == ("cpu" if "offload" in name else None)
    assert parts.get("offload_param", {}).get("device") == ("cpu" if name == "zero3_offload" else None)


def test_the_folder_ships_these_and_no_other() -> None:
    assert sorted(one.stem for one in (shipped("configs") / "deepspeed").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", ["zero2_offload", "zero3_offload"])
def test_offload_is_what_the_library_reads_as_offload(name: str, run_config: Make) -> None:
    """The contract where the extension for an optimizer on the CPU may not be buildable: accelerate's own reading of the settings."""
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    read = HfDeepSpeedConfig(named(run_config, name))
    assert read.is_offload()
    assert read.is_zero3() == (name == "zero3_offload")


def test_what_is_wrong_with_a_name_is_one_sentence(run_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(run_config, None) is None
    assert zero.zero_stage(None) == 0
    with pytest.raises(
        UserError, match=r'there are no DeepSpeed settings "zero4" .did you mean "zero.".*shipped: zero1, zero2, .*or name a JSON file'
    ):
        named(run_config, "zero4")
    with pytest.raises(UserError, match="must be a name such as zero2"):
        named(run_config, 2)
    for text, said in (("{", "are not JSON"), ("[]", "must be a JSON object"), ('{"zero_optimization": 3}', "must be an object")):
        (tmp_path / "own.json").write_text(text)
        with pytest.raises(UserError, match=said):
            named(run_config, str(tmp_path / "own.json"))
    (tmp_path / "own.json").write_text('{"optimizer": {"type": "AdamW"}}')
    two = run_config(lora={"lr_ratio": 8}, trainer={"deepspeed": str(tmp_path / "own.json")})
    with pytest.raises(UserError, match=r'lora.lr_ratio needs two learning rates, and the "optimizer" of the DeepSpeed settings has one'):
        training_arguments(two, "cpu")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "deepspeed" else found(name))
    with pytest.raises(UserError, match=r"DeepSpeed, which is not installed: pip install 'agenttune\[deepspeed\]'"):
        named(run_config, "zero2")


def test_the_command_line_takes_a_name(run_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agenttune.cli import main
    from agenttune.config import config_to_json

    (tmp_path / "run.yaml").write_text(json.dumps(config_to_json(run_config(data="nowhere.jsonl"))))
    path = str(tmp_path / "run.yaml")
    assert main(["train", path, "--deepspeed", "zero_2"]) == 2
    assert capsys.readouterr().err.startswith('agenttune: there are no DeepSpeed settings "zero_2" (did you mean "zero2"?)')
    assert main(["train", path, "seed=1", "--deepspeed", "zero2", "lora.rank=3"]) == 2  # keys stand before and behind options
    assert 'unknown key "lora.rank"' in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["train", path, "--deepspee", "zero2", "--zero"])
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("agenttune: error: unrecognized arguments: --zero\n")


def test_dora_over_shared_out_weights_is_refused_before_anything_is_read(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "is_zero3", lambda: True)
    with pytest.raises(UserError, match=r"method=dora reads the base's weights outside their own layers.*use zero2, or lora"):
        prepare.prepare(run_config(method="dora", data="nowhere.jsonl"), "cpu", "float32", 1, lambda _: None)


def test_weights_that_are_whole_are_left_to_the_model(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("Llama")
    assert zero3_weights.full_state_dict(model, trained_only=False, keep=True) is None
    with zero3_weights.gathered(model.parameters()), zero3_weights.gathering_forward(model):
        assert not [one for one in model.modules() if one._forward_pre_hooks]
    assert zero3_weights.parameter_count(model.get_input_embeddings().weight) == 61 * 32


# Weight decay and clipping are on, so that every part of a step is compared.
STEPS = {"max_steps": 6, "learning_rate": 3e-3, "weight_decay": 0.1, "max_grad_norm": 0.5, "save_steps": 3, "warmup_steps": 2}


def losses(folder: str | Path) -> list[float]:
    return [one["loss"] for one in train_log.read_log(Path(folder), 10**9)]


def same_curve(one: str | Path, other: str | Path) -> None:
    first, second = losses(one), losses(other)
    assert len(first) == len(second) == 6
    assert first[-1] < first[0] - 0.01
    assert second == pytest.approx(first, rel=1e-4)


def logits(model: str, adapter: str | None) -> torch.Tensor:
    from agenttune import models

    loaded = models.load(model, adapter=adapter, device="cpu", dtype="float32")
    with torch.no_grad():
        found: torch.Tensor = loaded.hf(input_ids=torch.arange(40)[None]).logits
    return found


@pytest.mark.slow
def test_two_ranks_train_as_one_process_under_every_stage(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """Plain DDP, ZeRO-1, 2 and 3, with offload too, and shared Packs; 2 and 3 also interrupted and resumed; each adapter is whole."""

    def make(name: str, accumulation: int, **more: Any) -> TrainConfig:
        trainer = {**STEPS, "gradient_accumulation_steps": accumulation, **more}
        lora = {"r": 4, "alpha": 8, "lr_ratio": 2}  # two groups of weights, each with its own rate
        return run_config(output=str(tmp_path / name), pack_samples=2, weights={"thought": 0.3}, lora=lora, trainer=trainer)

    one = make("one", 4)
    train(one, events=lambda _: None)
    kinds = {"ddp": None, "zero1": "zero1", "zero2": "zero2", "zero3": "zero3", "again2": "zero2", "again3": "deepspeed_zero3"}
    if shutil.which("g++"):  # DeepSpeed builds its optimizer for the CPU on the spot
        kinds |= {"zero2_offload": "zero2_offload", "zero3_offload": "zero3_offload"}
    runs = {name: make(name, 2, **({"deepspeed": kind} if kind else {})) for name, kind in kinds.items()}
    said = ranks.series(*((config, 4) if name.startswith("again") else config for name, config in runs.items()))
    assert said[1] == ("", "")  # the second rank is silent
    alone = logits(one.model, one.output)
    assert not torch.allclose(alone, logits(one.model, None), atol=1e-2)
    for name, config in runs.items():
        same_curve(one.output, config.output)
        size = (Path(config.output) / "adapter_model.safetensors").stat().st_size
        assert size == (Path(one.output) / "adapter_model.safetensors").stat().st_size > 10_000
        assert torch.allclose(logits(one.model, config.output), alone, atol=5e-3), name
        kept = checkpoint.newest_complete(Path(config.output))
        assert kept is not None
        assert kept.name == "checkpoint-6"
        assert torch.allclose(logits(one.model, str(kept)), alone, atol=5e-3), name
    for name in ("zero2", "zero3"):
        assert losses(runs[f"again{name[-1]}"].output) == losses(runs[name].output)


# What each rank is told of its own measurement, what both then do, and what they do where a run began with an answer or has no 16 bits.
AGREE = """
import os, sys, torch
from agenttune.config import load_config
from agenttune.training.kernels import attention_matmul
from agenttune.training.prepare import attention_uses_matmul
torch.distributed.init_process_group("gloo")
attention_matmul.pays = lambda dtype: os.environ["RANK"] in sys.argv[2]
config = load_config(sys.argv[1])
asked = [("bfloat16", None), ("bfloat16", True), ("float32", None)]
print([attention_uses_matmul(config, "cpu", dtype, 2, begun) for dtype, begun in asked])
torch.distributed.barrier()
torch.distributed.destroy_process_group()  # a process that ends with its group alive can abort
"""


@pytest.mark.slow
@pytest.mark.parametrize(("yes", "agreed"), [("01", True), ("0", False), ("1", False)])
def test_ranks_agree_on_the_attention_that_each_measures(yes: str, agreed: bool, run_config: Make, ranks: Any) -> None:
    for code, out, err in ranks.ends(ranks.start("-c", AGREE, ranks.config(run_config()), yes)):
        assert (code, out) == (0, f"[{agreed}, True, None]\n"), err[-3000:]


@pytest.mark.slow
def test_accumulation_is_told_to_all_libraries_alike(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """DeepSpeed steps after as many Packs as the config says, accelerate says of no other number, and the curve is that without it."""
    trainer = {**STEPS, "gradient_accumulation_steps": 2}
    one, two = (run_config(output=str(tmp_path / name), trainer=trainer) for name in ("one", "two"))
    train(one, events=lambda _: None)
    ((_, err),) = ranks.series(replace(two, trainer={**trainer, "deepspeed": "zero2"}), world=1)
    assert "mismatch" not in err
    same_curve(one.output, two.output)


@pytest.mark.slow
def test_full_tuning_under_stage_three_leaves_a_whole_model(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    trainer = {**STEPS, "learning_rate": 1e-3}
    one = run_config(output=str(tmp_path / "one"), method="full", trainer={**trainer, "gradient_accumulation_steps": 2})
    two = run_config(output=str(tmp_path / "two"), method="full", trainer={**trainer, "deepspeed": "zero3"})
    train(one, events=lambda _: None)
    ranks.series(two)
    same_curve(one.output, two.output)
    names = {path.name for path in Path(one.output).iterdir() if not path.name.startswith("checkpoint")}
    assert names == {path.name for path in Path(two.output).iterdir() if not path.name.startswith("checkpoint")}
    assert torch.allclose(logits(two.output, None), logits(one.output, None), atol=5e-3)


# What a rank holds of the quantised base when the run is over.
HELD = """
import json, sys
from agenttune.config import config_from
from agenttune.training import result, train
ready = []
save = result.save_result
result.save_result = lambda config, prepared, *rest, **named: (ready.append(prepared), save(config, prepared, *rest, **named))
train.train(config_from(json.loads(open(sys.argv[1]).read()), "held"), events=lambda event: None)
packed = [one for one in ready[0].model.parameters() if type(one).__name__ == "Params4bit"]
held = [[one.ds_tensor.numel(), one.ds_numel, str(one.dtype), one.numel()] for one in packed if hasattr(one, "ds_id")]
print(json.dumps([*held, len(packed)]))
"""


@pytest.mark.slow
def test_stage_three_shares_out_a_quantised_base(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """Each of two ranks holds half of every 4-bit weight, and the curve is that of one process over the same base."""
    one = run_config(output=str(tmp_path / "one"), method="qlora", trainer={**STEPS, "gradient_accumulation_steps": 2})
    threshold = json.loads((shipped("configs") / "deepspeed" / "zero3.json").read_text())
    threshold["zero_optimization"]["stage3_param_persistence_threshold"] = 0  # else weights as small as these stay whole by design
    (tmp_path / "all.json").write_text(json.dumps(threshold))
    two = run_config(output=str(tmp_path / "two"), method="qlora", trainer={**STEPS, "deepspeed": str(tmp_path / "all.json")})
    train(one, events=lambda _: None)
    for code, out, err in ranks.ends(ranks.start("-c", HELD, ranks.config(two))):
        assert code == 0, err[-3000:]
        *held, count = json.loads(out.splitlines()[-1])
        assert len(held) == count == 2 * 7  # two layers of seven projections
        for part, whole, dtype, now in held:
            assert (part, dtype, now) == (math.ceil(whole / 2), "torch.float32", 0)
    same_curve(one.output, two.output)
    assert torch.allclose(logits(one.model, two.output), logits(one.model, one.output), atol=5e-3)


# Under ZeRO-3 every weight crosses between the ranks three times a step, which takes minutes on a small machine: `make prove` does.
REAL = ("zero2", "zero3") if os.environ.get("AGENTTUNE_PROVE") else ("zero2",)


@pytest.mark.slow
@pytest.mark.parametrize("stage", REAL)
def test_the_embedded_model_trains_sharded_by_its_shipped_config(
    stage: str, smollm2: str, samples_file: Path, tmp_path: Path, ranks: Any
) -> None:
    """Three steps on two ranks, by the command line: the adapter holds every layer, has moved, and changes what the model says."""
    from safetensors.torch import load_file

    out = tmp_path / "out"
    keys = [f"data={samples_file}", f"output={out}", "dtype=float32", "length=256", "pack_tokens=512", "trainer.max_steps=3"]
    line = ["-m", "agenttune", "train", "smollm2_135m_lora_desk", *keys, "--deepspeed", stage]
    (code, said, err), (other, silent, _) = ranks.ends(ranks.start(*line))
    assert (code, other, silent) == (0, 0, ""), err[-3000:]
    print(said)
    assert said.startswith("3 steps in")
    assert f"adapter: {out}" in said.splitlines()
    weights = load_file(out / "adapter_model.safetensors")
    assert sum(one.numel() for one in weights.values()) == 4_884_480  # 30 layers of 16 × (2 × 1152 + 2 × 768 + 3 × 2112)
    assert len(weights) == 30 * 7 * 2
    assert all(float(one.abs().max()) > 0 for one in weights.values())  # B begins at zero
    assert not torch.allclose(logits(smollm2, str(out)), logits(smollm2, None), atol=1e-3)


@pytest.mark.slow
def test_two_nodes_meet_under_torchrun(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """Two launchers on two loopback addresses, by the command line that a person types."""
    one = run_config(output=str(tmp_path / "one"), trainer={**STEPS, "gradient_accumulation_steps": 2})
    two = run_config(output=str(tmp_path / "two"), trainer=STEPS)
    train(one, events=lambda _: None)
    port = str(ranks.free_port())
    path = ranks.config(two)
    for node in (0, 1):
        launcher = ["--nnodes", "2", "--node_rank", str(node), "--nproc_per_node", "1", "--local_addr", f"127.0.0.{node + 1}"]
        command = ["-m", "torch.distributed.run", *launcher, "--master_addr", "127.0.0.1", "--master_port", port]
        environment = ranks.environment()
        line = [sys.executable, *command, "-m", "agenttune", "train", path, "--deepspeed", "zero3"]
        ranks.started.append(subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    first, second = ranks.ends(ranks.started)
    assert first[0] == second[0] == 0, first[2][-3000:] + second[2][-3000:]
    assert "6 steps in" in first[1]
    assert second[1] == ""
    same_curve(one.output, two.output)
