"""One evaluation as a person names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune.errors import UserError
from agenttune.evaluation.compare import compare
from agenttune.evaluation.local_run import WEIGHTS, begun_dtype, files_hash
from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.run import run_eval


def test_baselines_need_no_model(tmp_path: Path) -> None:
    chance = run_eval(EvalOptions(suite="desk:dev", model="chance", out=tmp_path / "chance", limit=40))
    run_eval(EvalOptions(suite="desk:dev", model="overlap", out=tmp_path / "overlap", limit=40))
    assert chance.estimates["all"][0].n == 40
    assert chance.meta["chance"]["all"]["abstained"] == 0.5
    assert 1 / 8 <= chance.meta["chance"]["all"]["tool"] <= 1 / 4
    assert compare(tmp_path / "chance", tmp_path / "overlap").pairs
    with pytest.raises(UserError, match="model differs"):
        run_eval(EvalOptions(suite="desk:dev", model="overlap", out=tmp_path / "chance", limit=40))


@pytest.mark.parametrize("option", ["limit", "max_new_tokens", "batch_size"])
def test_counts_are_one_or_more(option: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')} must be 1 or more, not 0"):
        run_eval(EvalOptions(suite="desk:dev", model="overlap", out=tmp_path / "run", **{option: 0}))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_wrong_name_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no suite or file "desc"'):
        run_eval(EvalOptions(suite="desc", model="no-such-model", out=tmp_path / "run"))
    with pytest.raises(UserError, match='no protocol "raect"'):
        run_eval(EvalOptions(suite="desk:dev", model="no-such-model", protocol="raect", out=tmp_path / "run"))


def test_left_out_lines_are_in_the_report(tmp_path: Path) -> None:
    good = {"id": "a", "conversation": [{"system": "", "input": "u", "output": "Final Answer: a"}]}
    (tmp_path / "f.jsonl").write_text(f"{json.dumps(good)}\n{{broken\n")
    assert run_eval(EvalOptions(suite=str(tmp_path / "f.jsonl"), model="overlap", out=tmp_path / "run")).meta["left_out"] == {"json": 1}


def test_weights_tell_runs_apart(tmp_path: Path) -> None:
    assert files_hash(Path("smollm2-135m"), WEIGHTS) == ""
    (tmp_path / "adapter_model.safetensors").write_bytes(b"1")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 16}')
    seen = {files_hash(tmp_path, WEIGHTS)}
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 32}')
    seen.add(files_hash(tmp_path, WEIGHTS))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"2")
    seen.add(files_hash(tmp_path, WEIGHTS))
    assert len(seen) == 3
    assert "" not in seen


def test_a_run_goes_on_in_the_number_format_it_was_begun_in(tmp_path: Path) -> None:
    assert begun_dtype(tmp_path / "new", "auto") == "auto"
    (tmp_path / "meta.json").write_text('{"dtype": "bfloat16"}')
    assert begun_dtype(tmp_path, "auto") == "bfloat16"
    assert begun_dtype(tmp_path, "float32") == "float32"
    (tmp_path / "meta.json").write_text("{broken")
    assert begun_dtype(tmp_path, "auto") == "auto"


@pytest.mark.slow
def test_the_embedded_model_is_evaluated_and_the_run_goes_on(smollm2: str, tmp_path: Path) -> None:
    made = run_eval(EvalOptions(suite="desk:dev", model=smollm2, out=tmp_path / "run", limit=4, max_new_tokens=8, dtype="float32"))
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    assert (meta["protocol"], meta["template"], meta["dtype"], meta["max_new_tokens"]) == ("react", "auto", "float32", 8)
    assert made.estimates["all"][0].n == 4
    before = (tmp_path / "run" / "cases.jsonl").read_bytes()
    lines = before.split(b"\n")
    (tmp_path / "run" / "cases.jsonl").write_bytes(b"\n".join(lines[:2]) + b"\n" + lines[2][:20])
    again = run_eval(EvalOptions(suite="desk:dev", model=smollm2, out=tmp_path / "run", limit=4, max_new_tokens=8, dtype="float32"))
    assert again.estimates == made.estimates
    with pytest.raises(UserError, match="max_new_tokens differs"):
        run_eval(EvalOptions(suite="desk:dev", model=smollm2, out=tmp_path / "run", limit=4, max_new_tokens=9, dtype="float32"))
