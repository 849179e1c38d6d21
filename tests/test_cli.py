"""The command line says what is wrong in one sentence, with exit code 2 and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttune.cli import main

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "agenttune", *arguments], capture_output=True, text=True, cwd=cwd, timeout=120)


def test_help_is_fast() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert run("--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert sorted(times)[2] < 0.3


@pytest.mark.parametrize(
    ("line", "said", "waits"),
    [
        (["tools", "list"], {}, "4000"),
        (["eval", "nothing:at-all", "-o", "run"], {}, "4000"),
        (["train", "no-such-config"], {}, None),  # its threads spin, which is a little faster where nothing else computes
        (["tools", "list"], {"OMP_WAIT_POLICY": "ACTIVE"}, None),
        (["tools", "list"], {"GOMP_SPINCOUNT": "7"}, "7"),
    ],
)
def test_threads_that_wait_leave_the_cores_to_a_training(
    line: list[str], said: dict[str, str], waits: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beside a training on the same two cores, spinning threads made an answer take ten times as long."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what main sets is taken back
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    main(line)
    assert os.environ.get("GOMP_SPINCOUNT") == waits


def bad(tmp_path: Path) -> dict[str, list[str]]:
    """Command lines a person may well type, each with something wrong."""
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    useless = tmp_path / "useless.jsonl"
    useless.write_text('{"a": 1}\n{"b": 2}\n')
    typo = tmp_path / "typo.yaml"
    typo.write_text("model: smollm2-135m\ndata: x.jsonl\noutput: out\nlora: {rnak: 4}\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: [unclosed\n")
    out = str(tmp_path / "out.jsonl")
    return {
        "missing file": ["convert", "msagent", str(tmp_path / "no.jsonl"), "-o", out],
        "empty file": ["convert", "msagent", str(empty), "-o", out],
        "nothing usable": ["convert", "msagent", str(useless), "-o", out],
        "unknown source": ["convert", "msagant", str(useless), "-o", out],
        "unknown protocol": ["convert", "msagent", str(useless), "-o", out, "--protocol", "raect"],
        "no output": ["convert", "msagent", str(useless)],
        "no shard": ["convert", "msagent", str(useless), "-o", out, "--shard", "3/2"],
        "no model": ["convert", "msagent", str(useless), "-o", out, "--length", "9"],
        "compat of another": ["convert", "openai", str(useless), "-o", out, "--compat", "xtuner"],
        "no report": ["report", str(useless)],
        "unknown config": ["train", "smollm2_135m_lora_dsk"],
        "unknown key": ["train", str(typo)],
        "broken yaml": ["train", str(broken)],
        "unknown override": ["train", "smollm2_135m_lora_desk", "lora.rnak=3"],
        "missing data": ["train", "smollm2_135m_lora_desk", f"data={tmp_path}/no.jsonl", f"output={tmp_path}/run"],
        "unknown suite": ["eval", "desc", "--model", "smollm2-135m", "-o", str(tmp_path / "run")],
        "unknown model": ["eval", "desk", "--model", str(tmp_path / "no-model"), "-o", str(tmp_path / "run")],
        "no such run": ["compare", str(tmp_path / "a"), str(tmp_path / "b")],
        "unknown tool": ["tools", "call", "calculater", "{}"],
        "bad tool json": ["tools", "call", "calculator", "{"],
        "show missing": ["show", str(tmp_path / "no.jsonl")],
        "show index": ["show", str(useless), "--index", "99"],
        "config copy unknown": ["configs", "copy", "nothing"],
    }


NAMES = (
    "missing file",
    "empty file",
    "nothing usable",
    "unknown source",
    "unknown protocol",
    "no output",
    "no shard",
    "no model",
    "compat of another",
    "no report",
    "unknown config",
    "unknown key",
    "broken yaml",
    "unknown override",
    "missing data",
    "unknown suite",
    "unknown model",
    "no such run",
    "unknown tool",
    "bad tool json",
    "show missing",
    "show index",
    "config copy unknown",
)


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    arguments = bad(tmp_path)[name]
    assert main(arguments) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert lines and lines[-1].startswith("agenttune: ")
    assert "Traceback" not in said.err + said.out
    left = {path.name for path in tmp_path.iterdir()} - before - {"empty.jsonl", "useless.jsonl", "typo.yaml", "broken.yaml"}
    assert not {one for one in left if one.endswith(".part") or one == "out.jsonl"}


def test_the_nearest_name_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "smollm2_135m_lora_dsk"]) == 2
    assert "smollm2_135m_lora_desk" in capsys.readouterr().err


def test_configs_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "list"]) == 0
    listed = capsys.readouterr().out
    for name in ("smollm2_135m_lora_desk", "smollm2_135m_qlora_desk", "smollm2_135m_lora_react", "internlm2_5_7b_qlora_msagent"):
        assert name in listed
    assert main(["configs", "show", "qwen2_5_7b_qlora_msagent"]) == 0
    assert "Qwen/Qwen2.5-7B-Instruct" in capsys.readouterr().out


def test_a_config_is_copied_but_never_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["configs", "copy", "smollm2_135m_lora_desk"]) == 0
    assert (tmp_path / "smollm2_135m_lora_desk.yaml").read_text() == (ROOT / "configs" / "smollm2_135m_lora_desk.yaml").read_text()
    assert main(["configs", "copy", "smollm2_135m_lora_desk"]) == 2


def test_a_comparison_is_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("chance", "overlap"):
        assert main(["eval", "desk:dev", "--model", model, "-o", str(tmp_path / model), "--max-cases", "20"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "chance"), str(tmp_path / "overlap"), "-o", str(tmp_path / "both")]) == 0
    assert "McNemar" in capsys.readouterr().out
    assert "McNemar" in (tmp_path / "both" / "comparison.md").read_text()
    assert (tmp_path / "both" / "comparison.png").read_bytes().startswith(b"\x89PNG")
