"""Tiny random models, a tokenizer's folder and samples for training tests."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.config import TrainConfig, config_from
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
