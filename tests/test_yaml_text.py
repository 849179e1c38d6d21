"""YAML of settings: what a person writes is read; what only looks small, and what is no YAML, is a sentence."""

from __future__ import annotations

import pytest

from agenttune.config import load_config
from agenttune.errors import UserError
from agenttune.yaml_text import yaml_value
from tests.work import cpu_seconds

MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 26))
ALIASES = 'a0: &a0 ["xxxxxxxxx", "xxxxxxxxx"]\n' + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 26))


def test_aliases_and_merge_keys_are_read() -> None:
    assert yaml_value("base: &b {x: 1}\none: {<<: *b, y: 2}\nagain: [*b, *b]", "it") == {
        "base": {"x": 1},
        "one": {"x": 1, "y": 2},
        "again": [{"x": 1}, {"x": 1}],
    }
    assert yaml_value("", "it") is None


def test_a_date_is_the_text_it_is_written_as() -> None:
    assert yaml_value("output: 2026-11-31", "it") == {"output": "2026-11-31"}
    assert yaml_value("2026-11-30", "it") == "2026-11-30"


@pytest.mark.parametrize("text", [MERGES, ALIASES])
def test_what_repeats_itself_is_counted_before_it_is_built(text: str) -> None:
    def read() -> None:
        with pytest.raises(UserError, match=r"it stands for more than 100,000 values: its aliases \(\*name, <<\) repeat each other"):
            yaml_value(text, "it")

    assert cpu_seconds(read) < 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "it is not YAML"),
        ("seed: !!int x", "it is not YAML"),
        ("a: !!python/object/apply:os.system [x]", "it is not YAML"),
        ("{[1]: 2}", "it is not YAML"),
        ("{" * 5000, "nested too deeply"),
        ("&a [*a]", "an alias of itself"),
        ("a: 0x" + "f" * 10 + "\nb: " + "9" * 5000, "it is not YAML"),
        ("x" * (1 << 21), "longer than a YAML file"),
        ("a: 1\n---\nb: 2", "it is not YAML"),
        ("\x00", "it is not YAML"),
    ],
)
def test_what_is_no_yaml_is_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        yaml_value(text, "it")
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed=2024-13-45", "seed in .* must be a whole number, not '2024-13-45'"),
        ("seed=!!int x", 'the value of "seed=!!int x" is not YAML'),
        ("data=[{path: a.jsonl, weight: 1.0e+300}]", "how many times the samples are seen in an epoch, at most 1,000"),
        ("shape={num_hidden_layers: 1000000000}", "shape.num_hidden_layers in .* must be at most 10,000,000, not 1,000,000,000"),
    ],
)
def test_settings_beyond_all_measure_are_a_sentence(override: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_config("smollm2_135m_lora_desk", [override])


def test_a_folder_may_have_a_date_for_its_name() -> None:
    assert load_config("smollm2_135m_lora_desk", ["output=2026-11-31"]).output == "2026-11-31"
