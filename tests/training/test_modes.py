"""Ways to run: packing modes, methods, accumulation, ranks; and what of config and data is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig, config_to_json
from agenttune.errors import UserError
from agenttune.training.corpus import read_samples, resolve_protocol
from agenttune.training.events import Notice, TrainingEvent, TrainingStarted
from agenttune.training.train import train

Make = Callable[..., TrainConfig]


def run(config: TrainConfig) -> tuple[list[TrainingEvent], dict[str, Any]]:
    events: list[TrainingEvent] = []
    train(config, events=events.append)
    return events, json.loads((Path(config.output) / "summary.json").read_text())


def adapter(folder: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(Path(folder) / "adapter_model.safetensors")
    return found


SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "learning_rate": 1.0}


def test_packing_accumulation_and_checkpointing_change_no_gradient(run_config: Make, tmp_path: Path) -> None:
    """One SGD step over the same sixteen samples, however they are packed, moves the weights alike."""
    ways: dict[str, dict[str, Any]] = {
        "none": {"pack": "none", "trainer": {**SGD, "max_steps": 1, "gradient_accumulation_steps": 16}},
        "pack": {"pack": "pack", "pack_samples": 6, "trainer": {**SGD, "max_steps": 1, "gradient_accumulation_steps": 3}},
        "share": {"pack": "share", "pack_samples": 2, "trainer": {**SGD, "max_steps": 1, "gradient_accumulation_steps": 8}},
        "checkpointing": {
            "pack": "share",
            "pack_samples": 16,
            "trainer": {**SGD, "max_steps": 1, "gradient_accumulation_steps": 1, "gradient_checkpointing": True},
        },
    }
    moved, told = {}, {}
    for name, changes in ways.items():
        weights = {"thought": 0.5, "arguments": 3.0}
        events, told[name] = run(run_config(output=str(tmp_path / name), weights=weights, pack_tokens=4096, **changes))
        assert not [one for one in events if isinstance(one, Notice)]
        moved[name] = adapter(str(tmp_path / name))
    for name in ("pack", "share", "checkpointing"):
        assert told[name]["samples"] == told["none"]["samples"] == 16
        assert told[name]["tokens_supervised"] == told["none"]["tokens_supervised"]
        assert told[name]["loss_first"] == pytest.approx(told["none"]["loss_first"], rel=1e-5)
        for key, one in moved["none"].items():
            if "lora_B" in key:  # A does not move while B is zero
                assert float(one.norm()) > 1e-4
                assert float((moved[name][key] - one).norm() / one.norm()) < 1e-5, (name, key)
    assert told["pack"]["tokens_computed"] == told["none"]["tokens_computed"] == told["none"]["tokens_total"] - 16
    assert told["checkpointing"]["tokens_computed"] < told["share"]["tokens_computed"] < 0.85 * told["none"]["tokens_computed"]


def test_dropout_and_other_reasons_are_told(run_config: Make) -> None:
    events, summary = run(run_config(lora={"r": 4, "alpha": 8, "dropout": 0.1}, trainer={"max_steps": 1}))
    assert [one.text for one in events if isinstance(one, Notice)] == [
        "prefixes are not shared: lora.dropout is 0.1: a shared prefix would be dropped alike in all its samples"
    ]
    assert summary["pack"] == "pack"
    assert summary["tokens_computed"] == summary["tokens_total"] - summary["samples"]


def test_qlora_trains_over_a_quantised_base(run_config: Make, tmp_path: Path) -> None:
    events, summary = run(run_config(method="qlora", trainer={"max_steps": 4}))
    assert summary["loss_last"] < summary["loss_first"]
    assert next(one for one in events if isinstance(one, TrainingStarted)).method == "qlora"
    assert all(one.dtype == torch.float32 for one in adapter(str(tmp_path / "out")).values())


def test_bfloat16_base_keeps_float32_adapter_weights(run_config: Make, tmp_path: Path) -> None:
    _, summary = run(run_config(dtype="bfloat16", trainer={"max_steps": 3}))
    assert summary["dtype"] == "bfloat16"
    assert all(one.dtype == torch.float32 for one in adapter(str(tmp_path / "out")).values())


def test_autocast_runs(run_config: Make, tmp_path: Path) -> None:
    _, summary = run(run_config(trainer={"max_steps": 3, "bf16": True}))
    assert summary["loss_last"] < summary["loss_first"]
    assert all(one.dtype == torch.float32 for one in adapter(str(tmp_path / "out")).values())


def test_full_tuning_leaves_a_model_folder_with_a_card(run_config: Make, tmp_path: Path) -> None:
    from agenttune import models

    run(run_config(method="full", trainer={"max_steps": 2}))
    loaded = models.load(str(tmp_path / "out"), device="cpu", dtype="float32")
    assert loaded.card is not None
    assert (loaded.card.method, loaded.card.protocol) == ("full", "react")
    assert loaded.tokenizer.chat_template


def test_training_goes_on_from_an_adapter(run_config: Make, tmp_path: Path) -> None:
    run(run_config(output=str(tmp_path / "first"), trainer={"max_steps": 2}))
    run(run_config(output=str(tmp_path / "second"), adapter=str(tmp_path / "first"), trainer={"max_steps": 1, "learning_rate": 0.0}))
    first, second = adapter(str(tmp_path / "first")), adapter(str(tmp_path / "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    card = tmp_path / "first" / "agenttune.json"
    card.write_text(card.read_text().replace('"base_fingerprint": "', '"base_fingerprint": "x'))
    with pytest.raises(UserError, match="another base"):
        run(run_config(output=str(tmp_path / "third"), adapter=str(tmp_path / "first")))


def test_too_long_samples_are_counted_and_never_cut(run_config: Make, tmp_path: Path, samples_file: Path) -> None:
    rows = [json.loads(line) for line in samples_file.read_text().splitlines()]
    rows[0]["conversation"][0]["input"] = "far " * 400  # nothing in it may be shortened
    rows[1]["conversation"][1]["system"] = "Observation: " + "wide " * 400  # an observation may be elided
    samples_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events, summary = run(run_config(trainer={"max_steps": 1}))
    assert summary["rejected_too_long"] == 1
    assert summary["extra"] == {"elided": 1}
    assert next(one for one in events if isinstance(one, TrainingStarted)).samples == 15
    assert any(isinstance(one, Notice) and one.text.startswith("1 sample is longer than 256 tokens") for one in events)


def test_bad_lines_are_counted_among_good_ones(run_config: Make, samples_file: Path) -> None:
    samples_file.write_text(samples_file.read_text() + '{"id": 3}\nnot json\n')
    events, summary = run(run_config(trainer={"max_steps": 1}))
    assert summary["rejected"] == {"sample": 1, "json": 1}
    assert "2 lines of the data cannot be read" in next(one.text for one in events if isinstance(one, Notice))


def test_a_file_drawn_in_part_and_one_drawn_twice(run_config: Make, samples_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(samples_file.read_text().splitlines(keepends=True)[:4]))
    data = [{"path": str(samples_file), "weight": 0.25}, {"path": str(other), "weight": 2}]
    events, _ = run(run_config(data=data, trainer={"max_steps": 1}))
    assert next(one for one in events if isinstance(one, TrainingStarted)).samples == 4 + 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no usable sample: it is empty"),
        ("{}\n", "holds no usable sample"),
        (None, "there is no data file"),
        ('{"messages": [{"role": "user", "content": "q"}]}\n', "it is a log in the format openai: agenttune convert openai "),
        ('{"conversation": [{"role": "user", "content": "q"}]}\n', "it is a log in the format openai: agenttune convert openai "),
    ],
)
def test_a_file_with_nothing_usable_is_a_sentence(text: str | None, said: str, run_config: Make, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        train(run_config(data=str(path)), events=lambda _: None)


def test_nothing_trained_is_a_sentence(run_config: Make, samples_file: Path) -> None:
    with pytest.raises(UserError, match=r"no token is trained: of 16 samples nothing is left \(16 untrained"):
        train(run_config(weights={"thought": 0, "action": 0, "arguments": 0, "answer": 0, "stop": 0}), events=lambda _: None)


def test_samples_of_another_protocol_are_refused(samples_file: Path) -> None:
    from agenttune.config import DataFile

    samples = read_samples([DataFile(path=str(samples_file))]).samples
    assert resolve_protocol("auto", samples) == "react"
    with pytest.raises(UserError, match="config says protocol react_zh and the data holds samples of react"):
        resolve_protocol("react_zh", samples)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": {"learning_rat": 1e-3}}, 'unknown key "trainer.learning_rat" .did you mean "learning_rate"'),
        ({"trainer": {"per_device_train_batch_size": 4}}, "a batch is one Pack"),
        ({"trainer": {"eval_steps": 10}}, "trainer.eval_steps cannot be set: say check.every"),
        ({"trainer": {"learning_rate": "fast"}}, "trainer.learning_rate must be a number"),
        ({"trainer": {"bf16": "yes"}}, "trainer.bf16 must be true or false"),
        ({"trainer": {"lr_scheduler_type": "cosin"}}, "trainer: .*cosin"),
        ({"lora": {"targets": ["q_prj"]}}, 'no linear layer "q_prj" .did you mean "q_proj"'),
        ({"length": 100000}, "512 positions"),
        ({"method": "full", "adapter": "somewhere"}, "merge the adapter first"),
        ({"model": "no-such-model"}, "there is no model no-such-model"),
    ],
)
def test_what_is_wrong_in_a_config_is_one_sentence(changes: dict[str, Any], said: str, run_config: Make) -> None:
    with pytest.raises(UserError, match=said):
        train(run_config(**changes), events=lambda _: None)


def test_a_refused_run_can_be_started_again_after_the_fix(run_config: Make) -> None:
    with pytest.raises(UserError):
        train(run_config(trainer={"learning_rat": 1}), events=lambda _: None)
    run(run_config(trainer={"max_steps": 1}))


RANKS = """
import json, sys
from agenttune.config import config_from
from agenttune.training.train import train
train(config_from(json.loads(open(sys.argv[1]).read()), "ranks"), events=lambda event: None)
"""


@pytest.mark.slow
def test_two_ranks_make_the_step_that_one_makes(run_config: Make, tmp_path: Path) -> None:
    """The same loss and weights as one process with the same global batch, weights of samples unlike."""
    trainer = {**SGD, "max_steps": 4, "learning_rate": 0.1}
    one = run_config(output=str(tmp_path / "one"), pack="none", trainer={**trainer, "gradient_accumulation_steps": 4})
    two = run_config(output=str(tmp_path / "two"), pack="none", trainer={**trainer, "gradient_accumulation_steps": 2})
    _, alone = run(one)
    (tmp_path / "ranks.py").write_text(RANKS)
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(two)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([*command, str(tmp_path / "ranks.py"), str(tmp_path / "config.json")], check=True, env=environment, timeout=300)
    together = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert together["samples"] == alone["samples"]
    assert together["loss_first"] == pytest.approx(alone["loss_first"], rel=1e-5)
    first, second = adapter(str(tmp_path / "one")), adapter(str(tmp_path / "two"))
    assert all(torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-7) for name in first)


def test_dora_trains_the_size_of_each_row_and_loads(run_config: Make, tmp_path: Path) -> None:
    from agenttune import models

    config = run_config(method="dora", trainer={"max_steps": 3})
    _, summary = run(config)
    assert summary["loss_last"] < summary["loss_first"]
    assert summary["pack"] == "share"
    saved = adapter(config.output)
    assert sum("magnitude" in name for name in saved) == 2 * 7
    tuned = models.load(config.model, adapter=config.output, device="cpu", dtype="float32")
    assert tuned.card is not None
    assert tuned.card.method == "dora"


def test_what_carries_up_learns_as_much_faster_as_is_asked(run_config: Make, tmp_path: Path) -> None:
    """Plain SGD moves a weight by its gradient times its rate: in one step B goes `lr_ratio` times as far, and A as far as before."""
    run(run_config(output=str(tmp_path / "first"), trainer={"max_steps": 2}))
    before = adapter(str(tmp_path / "first"))
    moved = {}
    for ratio in (1, 4):
        lora = {"lr_ratio": ratio}
        step = {**SGD, "max_steps": 1, "learning_rate": 100.0}
        run(run_config(output=str(tmp_path / str(ratio)), adapter=str(tmp_path / "first"), lora=lora, trainer=step))
        moved[ratio] = {name: one - before[name] for name, one in adapter(str(tmp_path / str(ratio))).items()}
    for name, plain in moved[1].items():
        assert float(plain.norm()) > 1e-4
        wanted = 4 * plain if "lora_B" in name else plain
        assert float((moved[4][name] - wanted).norm() / wanted.norm()) < 1e-3, name


def test_going_on_from_an_adapter_keeps_its_rank_and_says_so(run_config: Make, tmp_path: Path) -> None:
    lora = {"r": 8, "alpha": 4, "dropout": 0.1}
    run(run_config(output=str(tmp_path / "first"), lora=lora, trainer={"max_steps": 1}))
    events, _ = run(run_config(output=str(tmp_path / "second"), adapter=str(tmp_path / "first"), trainer={"max_steps": 1}))
    said = [one.text for one in events if isinstance(one, Notice)]
    assert said[0] == f"goes on from the adapter {tmp_path}/first: r 8, alpha 4; of the config's lora only lr_ratio is used"
    assert said[1].startswith("prefixes are not shared: lora.dropout is 0.1")  # the adapter's own dropout counts
    with pytest.raises(UserError, match=r"nowhere holds no adapter .adapter_config.json is missing"):
        run(run_config(output=str(tmp_path / "third"), adapter=str(tmp_path / "nowhere")))


def test_a_paged_optimizer_is_for_cuda_alone(run_config: Make) -> None:
    events, _ = run(run_config(trainer={"max_steps": 1, "optim": "paged_adamw_32bit"}))
    said = [one.text for one in events if isinstance(one, Notice)]
    assert said == [
        "the optimizer is adamw_torch: the paging of paged_adamw_32bit needs a CUDA device and a bitsandbytes that was built for it"
    ]
    shutil.rmtree(run_config().output)
    with pytest.raises(UserError, match=r"trainer.optim is paged_lion_8bit, whose paging needs a CUDA device"):
        run(run_config(trainer={"optim": "paged_lion_8bit"}))


def test_reports_go_through_transformers(run_config: Make, monkeypatch: pytest.MonkeyPatch, samples_file: Path) -> None:
    """A reporter of transformers' own kind hears the loss, the held-out loss and the learning rate of every step."""
    from transformers import TrainerCallback, integrations
    from transformers.integrations import integration_utils

    heard: list[dict[str, float]] = []

    class Listener(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            heard.append(dict(logs))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Listener)
    monkeypatch.setattr(integrations, "get_available_reporting_integrations", lambda: ["trackio"])
    run(run_config(check={"data": str(samples_file), "every": 2}, trainer={"max_steps": 2, "report_to": "trackio"}))
    assert [sorted({"loss", "eval_loss", "learning_rate"} & one.keys()) for one in heard if "train_runtime" not in one] == [
        ["learning_rate", "loss"],
        ["eval_loss"],
        ["learning_rate", "loss"],
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tensorbord", 'report_to is "tensorbord" .did you mean "tensorboard"'),
        ("dvclive", "dvclive, which is not installed: pip install dvclive"),
    ],
)
def test_a_reporter_that_is_not_there_is_one_sentence(name: str, said: str, run_config: Make) -> None:
    with pytest.raises(UserError, match=said):
        run(run_config(trainer={"report_to": name}))


def test_an_adapter_without_a_card_that_does_not_fit_is_one_sentence(run_config: Make, model_folder: Path, tmp_path: Path) -> None:
    import transformers

    run(run_config(output=str(tmp_path / "first"), trainer={"max_steps": 1}))
    (tmp_path / "first" / "agenttune.json").unlink()
    narrow = shutil.copytree(model_folder, tmp_path / "narrow")
    config = transformers.AutoConfig.from_pretrained(narrow, hidden_size=16)
    transformers.LlamaForCausalLM(config).save_pretrained(narrow)
    with pytest.raises(UserError, match=r"the adapter in .*first does not fit the model: .*size mismatch"):
        run(run_config(model=str(narrow), adapter=str(tmp_path / "first")))
