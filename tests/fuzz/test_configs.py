"""Training configs and overrides: read, or refused; where a model's shape stands in them, planned."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from agenttune.config import config_to_json, load_config
from agenttune.training.arguments import training_arguments
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated_json, mutated_text

TEXT = """
model: smollm2-135m
data: [{path: a.jsonl, weight: 2.0}, b.jsonl]
output: runs/a
protocol: react
method: qlora
lora: {r: 16, alpha: 32, dropout: 0.05, targets: [q_proj, v_proj], lr_ratio: 4}
check: {data: dev.jsonl, suite: desk:dev, cases: 8, every: 10, keep_best: true, patience: 2}
weights: {thought: 0.5, answer: 1}
template_options: {enable_thinking: false, date: 2026-11-30}
shape: &shape {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128, vocab_size: 100}
length: 2048
seed: 7
trainer: {learning_rate: 2e-4, max_steps: 10, gradient_accumulation_steps: 4, warmup_ratio: 0.03}
"""
OVERRIDES = ("lora.r=8", "seed=1", "trainer.learning_rate=1e-3", "output=runs/b", "data=c.jsonl", "weights.answer=2", "check.every=5")


@pytest.mark.slow
def test_configs(tmp_path: Path) -> None:
    plain = yaml.safe_load(TEXT)
    plain["template_options"]["date"] = "2026-11-30"

    def make(chance: random.Random) -> tuple[bytes, list[str]]:
        text = mutated_json(plain, chance) if chance.random() < 0.6 else mutated_text(TEXT, chance).encode("utf-8", "surrogatepass")
        return text, [mutated_text(chance.choice(OVERRIDES), chance) for _ in range(chance.choice((0, 0, 1)))]

    def enter(given: tuple[bytes, list[str]]) -> None:
        (tmp_path / "a.yaml").write_bytes(given[0])
        config = load_config(str(tmp_path / "a.yaml"), given[1])
        training_arguments(config, "cpu")
        config_to_json(config)

    fuzz("configs", make, enter)
