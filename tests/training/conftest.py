"""Tiny random models, a tokenizer's folder and samples for training tests."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agenttune.config import TrainConfig, config_from, config_to_json
from agenttune.values.tokens import Rendered

SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def make_model(family: str, **changes: Any) -> Any:
    """A random causal LM of a family, in training mode, float32, with weights large enough that attention matters."""
    import torch
    import transformers

    torch.manual_seed(5)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model.train()


def make_renderings(seed: int = 0, groups: int = 2, each: int = 3, vocabulary: int = 61) -> list[Rendered]:
    """Samples with a shared prompt in each group, a shared history in some, weights 0, 0.5, 1 and 2."""
    draw = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(count)]

    found = []
    for group in range(groups):
        prompt, history = ids(9), ids(6)
        for member in range(each):
            middle = history if member else []
            own = ids(draw.randint(4, 9))
            token_ids = prompt + middle + own
            weights = [0.0] * len(prompt) + [draw.choice([0.0, 1.0, 2.0, 0.5]) for _ in middle + own]
            weights[-1] = 1.5
            found.append(
                Rendered(
                    token_ids=tuple(token_ids), weights=tuple(weights), kinds=(), prompt_ends=(9,), id=f"{group}-{member}", group=str(group)
                )
            )
    return found


@pytest.fixture
def tiny_model() -> Callable[..., Any]:
    return make_model


@pytest.fixture
def renderings() -> Callable[..., list[Rendered]]:
    return make_renderings


@pytest.fixture(scope="session")
def model_folder(made_tokenizer: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with the chatml tokenizer, saved."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = made_tokenizer("chatml")
    torch.manual_seed(1)
    shape = {**SHAPE, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    transformers.logging.disable_progress_bar()
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, tie_word_embeddings=True)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_samples(path: Path, count: int = 16, long: int = 0) -> Path:
    """`count` samples in groups of four that share a system text; `long` more that are far too long."""
    rows = []
    for index in range(count + long):
        word = f"city{index}" if index < count else "far " * 600
        rows.append(
            {
                "id": f"s{index}",
                "protocol": "react",
                "tools": [],
                "conversation": [
                    {
                        "system": f"Tools: weather{index // 4}, the weather of a city of region {index // 4}.",
                        "input": f"How is it in {word}?",
                        "output": f'Thought: look\nAction: weather{index // 4}\nAction Input: {{"city": "{word}"}}',
                    },
                    {"system": f"Observation: {index} degrees", "input": "", "output": f"Thought: done\nFinal Answer: {index} degrees."},
                ],
                "meta": {"group": str(index // 4)},
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def samples_file(tmp_path: Path) -> Path:
    return write_samples(tmp_path / "samples.jsonl")


@pytest.fixture
def run_config(model_folder: Path, samples_file: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """``run_config(key=value, trainer={…})`` is a small run's config; output ``tmp_path / "out"`` unless given."""

    def make(**changes: Any) -> TrainConfig:
        trainer = {"max_steps": 6, "learning_rate": 1e-2, "save_steps": 2, **changes.pop("trainer", {})}
        raw = {
            "model": str(model_folder), "data": str(samples_file), "output": str(tmp_path / "out"), "device": "cpu", "dtype": "float32",
            "length": 256, "pack_samples": 4, "pack_tokens": 1024, "lora": {"r": 4, "alpha": 8}, "trainer": trainer,
        }  # fmt: skip
        return config_from({**raw, **changes}, "test config")

    return make


# Several runs one after the other in each rank: imports are the most of a short run. What a run leaves in the process is part of the test.
SERIES = """
import atexit, json, os, signal, sys
from agenttune.config import config_from
from agenttune.training.events import StepLogged
from agenttune.training.train import train
def leaving():
    from torch import distributed
    print("still together" if distributed.is_initialized() else "parted", file=sys.stderr)
atexit.register(leaving)
for one in json.loads(open(sys.argv[1]).read()):
    def hear(event, at=one["interrupt"]):
        if isinstance(event, StepLogged) and event.step == at:
            os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    train(config_from(one["config"], "series"), resume=one["resume"], events=hear)
"""


@dataclass
class Ranks:
    """Starts runs of several processes, as a launcher does, with files in `folder`."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def free_port(self) -> int:
        """A port that nobody listens on."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        return port

    def environment(self, **more: str) -> dict[str, str]:
        root = str(Path(__file__).resolve().parents[2])
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "HF_HUB_OFFLINE": "1", **more}

    def start(self, *arguments: str, world: int = 2, port: int = 0) -> list[subprocess.Popen[str]]:
        """``python ARGUMENTS…`` as `world` ranks."""
        port = port or self.free_port()
        for rank in range(world):
            where = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
            environment = self.environment(**where, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            command = [sys.executable, *arguments]
            self.started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.started[-world:]

    def config(self, config: TrainConfig, name: str = "config") -> str:
        """The path of a file with this config."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(config_to_json(config)), encoding="utf-8")
        return str(path)

    def series(self, *runs: TrainConfig | tuple[TrainConfig, int], world: int = 2) -> list[tuple[str, str]]:
        """Runs one after the other, each in all ranks; (config, n) is one that is interrupted at step n and resumed. (out, err) a rank."""
        plain: list[dict[str, Any]] = []
        for one in runs:
            config, at = one if isinstance(one, tuple) else (one, 0)
            parts = [{"interrupt": at, "resume": False}, {"interrupt": 0, "resume": True}] if at else [{"interrupt": 0, "resume": False}]
            plain += [{"config": config_to_json(config), **part} for part in parts]
        (self.folder / "series.json").write_text(json.dumps(plain), encoding="utf-8")
        found = self.ends(self.start("-c", SERIES, str(self.folder / "series.json"), world=world))
        for rank, (code, _, err) in enumerate(found):
            assert code == 0, f"rank {rank}: {err[-3000:]}"
            assert "parted" in err and "still together" not in err
        return [(out, err.replace("parted\n", "")) for _, out, err in found]

    def ends(self, started: Sequence[subprocess.Popen[str]], timeout: float = 600) -> list[tuple[int, str, str]]:
        """(exit code, output, errors) of each."""
        outputs = [one.communicate(timeout=timeout) for one in started]
        return [(one.returncode, out, err) for one, (out, err) in zip(started, outputs, strict=True)]


@pytest.fixture
def ranks(tmp_path: Path) -> Any:
    """A `Ranks`; whatever still runs at the end of the test is killed."""
    made = Ranks(tmp_path)
    yield made
    for one in made.started:
        one.kill()
        one.communicate()
