"""Lengths in a model's own tokens, in a conversion and alone."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import templates
from agenttune.cli import main
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.data.render import render
from agenttune.errors import UserError
from agenttune.models import load_tokenizer
from agenttune.models.token_length import TokenLength, context_of, token_length
from agenttune.values.sample import sample_from_json


@pytest.fixture(scope="module")
def model(made_tokenizer: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tokenizer and a config, and no weights."""
    folder = tmp_path_factory.mktemp("model")
    made_tokenizer("chatml").save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 120}', encoding="utf-8")
    return str(folder)


def corpus(folder: Path) -> Path:
    """Ten conversations, each longer than the one before; the last has a long answer in Chinese."""
    rows = [{"id": str(number), "messages": [{"role": "user", "content": "word " * 10 * number or "go"}]} for number in range(10)]
    for row in rows:
        row["messages"] = [*row["messages"], {"role": "assistant", "content": "好" * (90 if row["id"] == "9" else 1)}]
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lengths_are_those_of_the_renderings_and_too_long_ones_are_found(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    report = convert("openai", [str(corpus(tmp_path))], str(out), options=ConvertOptions(measure=token_length(model, "auto"), length=150))
    tokenizer = load_tokenizer(model)
    form = templates.load("auto", tokenizer)
    samples = [sample_from_json(json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()]
    wanted = [sum(len(one.token_ids) for one in render(sample, form, tokenizer)) for sample in samples]
    assert (report.unit, report.lengths.count, report.lengths.sum, report.lengths.most) == ("tokens", 10, sum(wanted), max(wanted))
    assert report.notes == (f"tokens are those of {model} under the template auto; more than 150 are too long",)
    long = [number for number, length in enumerate(wanted) if length > 150]
    assert 1 <= len(long) <= 9
    found = [json.loads(line) for line in (tmp_path / "out.findings.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["code"], one["line"], one["id"]) for one in found] == [("too_long", number + 1, str(number)) for number in long]
    assert found[-1]["sentence"] == f"{wanted[-1]:,} tokens, and the model is given 150"
    assert found[-1]["excerpt"].endswith("好" * 90)
    tokens = token_length(model, "auto")
    strict = convert(
        "openai", [str(tmp_path / "in.jsonl")], None, options=ConvertOptions(measure=tokens, length=150, strict=True, check=True)
    )
    assert strict.reasons == {"too_long": len(long)}
    assert strict.samples == 10 - len(long)


def test_a_measure_crosses_processes_as_names_and_is_part_of_the_job(model: str, tmp_path: Path) -> None:
    made = token_length(model, "qwen_chat")
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert again == made == TokenLength(model=model, template="qwen_chat")
    source, out = str(corpus(tmp_path)), str(tmp_path / "out.jsonl")
    convert("openai", [source], out, options=ConvertOptions(measure=made))
    convert("openai", [source], out, options=ConvertOptions(measure=made))
    with pytest.raises(UserError, match="not this same job's own"):
        convert("openai", [source], out, options=ConvertOptions(measure=token_length(model, "auto")))


def test_from_the_command_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(corpus(tmp_path))
    assert context_of(model) == 120
    base = ["convert", "openai", source, "--check", "--workers", "1"]
    assert main([*base, "--model", model]) == 0
    assert "finding: too_long" in capsys.readouterr().out
    assert main([*base, "--model", model, "--length", "100000"]) == 0
    assert "too_long" not in capsys.readouterr().out
    for wrong, sentence in (
        (["--length", "5"], "--length needs --model: tokens are a model's"),
        (["--model", model, "--to", "openai"], "--model counts the tokens of samples; leave out --to and --compat, or --model"),
        (["--model", model, "--length", "0"], "--length must be 1 or more, not 0"),
        (["--model", model, "--template", "qwen_chatt"], 'did you mean "qwen_chat"'),
        (["--model", "smollm9"], "there is no model smollm9"),
    ):
        assert main([*base, *wrong]) == 2
        assert sentence in capsys.readouterr().err
