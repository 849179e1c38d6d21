"""Configs: shipped ones load, a wrong one is refused with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttune.config import config_from, config_to_json, load_config
from agenttune.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
BASE = {"model": "m", "data": "d.jsonl", "output": "o"}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_and_survives_the_card(name: str) -> None:
    config = load_config(name)
    assert config_from(config_to_json(config), "card") == config
    assert config.lora.dropout == 0


def test_overrides_are_typed() -> None:
    config = load_config("smollm2_135m_lora_desk", ["lora.r=4", "trainer.learning_rate=2e-4", "data=[{path: a, weight: 0.5}, b]"])
    assert config.lora.r == 4
    assert config.trainer["learning_rate"] == pytest.approx(2e-4)
    assert [(one.path, one.weight) for one in config.data] == [("a", 0.5), ("b", 1.0)]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"modle": "x"}, 'did you mean "model"'),
        ({"lora": {"rnak": 4}}, 'unknown key "lora.rnak"'),
        ({"lora": {"r": "many"}}, "lora.r"),
        ({"lora": {"dropout": 1.5}}, "below 1"),
        ({"lora": {"lr_ratio": 0}}, "lora.lr_ratio in test.yaml must be above 0, not 0"),
        ({"lora": {"lr_ratio": "8"}}, "lora.lr_ratio in test.yaml must be a number"),
        ({"method": "qlore"}, 'did you mean "qlora"'),
        ({"length": 0}, "length"),
        ({"length": True}, "length"),
        ({"data": [{"pth": "x"}]}, "data"),
        ({"weights": {"thougth": 1}}, 'did you mean "thought"'),
        ({"weights": {"thought": -1}}, "0 or more"),
        ({"trainer": 3}, "trainer"),
        ({"trust_remote_code": "yes"}, "trust_remote_code in test.yaml must be true or false"),
        ({"shape": {"hidden": 4}}, 'unknown key "shape.hidden"'),
        ({"shape": {"hidden_size": 64}}, "shape in test.yaml lacks num_hidden_layers"),
        ({"shape": {"hidden_size": 0}}, "shape.hidden_size in test.yaml must be 1 or more"),
        ({"shape": {"attention_bias": 1}}, "shape.attention_bias in test.yaml must be true or false"),
        ({"shape": [1]}, "shape in test.yaml must be a table"),
        ({"output": ""}, "lacks output"),
    ],
)
def test_a_wrong_config_names_what_is_wrong(raw: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        config_from({**BASE, **raw}, "test.yaml")
