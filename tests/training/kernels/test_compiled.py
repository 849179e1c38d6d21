"""What is compiled is made once, and where it cannot be made PyTorch's functions do the work and the reason is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from agenttune.training.kernels import compiled


def needs(dtype: torch.dtype) -> pytest.MarkDecorator:
    reason = compiled.why_not("attention_fused", dtype)
    return pytest.mark.skipif(reason is not None, reason=f"the compiled attention cannot run: {reason}")


tiles, vectors = needs(torch.bfloat16), needs(torch.float32)
both = pytest.mark.parametrize("dtype", [pytest.param(torch.bfloat16, marks=tiles), pytest.param(torch.float32, marks=vectors)], ids=str)


@both
@pytest.mark.parametrize("name", ["attention_fused", "gated_mlp", "rms_norm"])
def test_it_is_compiled_once(name: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path))
    asked: list[str] = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda given, **more: (asked.append(given[1]), real(given, **more))[1])
    assert compiled.load("cc", name, dtype) is None
    assert compiled.load("cc", name, dtype) is None
    assert asked == ["--version", "-O3", "--version"]
    assert [one.suffix for one in (tmp_path / "compiled").iterdir()] == [".so"]


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    why = compiled.why_not.__wrapped__
    assert why("gated_mlp", torch.float64) == "it is not for float64"
    monkeypatch.setenv("AGENTTUNE_NO_COMPILER", "1")
    assert why("gated_mlp", torch.bfloat16) == "AGENTTUNE_NO_COMPILER is set"
    monkeypatch.delenv("AGENTTUNE_NO_COMPILER")
    monkeypatch.setattr(compiled.platform, "system", lambda: "Darwin")
    assert why("gated_mlp", torch.bfloat16) == "it is for Linux on x86-64"
    monkeypatch.setattr(compiled.platform, "system", lambda: "Linux")
    monkeypatch.setattr(compiled.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(compiled, "_flags", lambda: frozenset({"avx2"}))
    assert why("gated_mlp", torch.bfloat16) == "this CPU has no amx_bf16"
    assert why("gated_mlp", torch.float32) == "this CPU has no fma"
    monkeypatch.setattr(compiled, "_flags", lambda: frozenset(compiled.NEEDS[torch.bfloat16]))
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    assert why("gated_mlp", torch.bfloat16) == "there is no C compiler (cc)"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'f.c:3: fatal error: immintrin.h: No such file' >&2; exit 1", "f.c:3: fatal error: immintrin.h: No such file"),
        ("[ $1 = --version ] && exit 0; while [ $1 != -o ]; do shift; done; echo nonsense > $2", "invalid ELF header|file too short"),
    ],
)
def test_a_compiler_that_fails_is_no_end(script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    compiler.chmod(0o755)
    reason = compiled.load(str(compiler), "gated_mlp", torch.float32)
    assert reason is not None
    assert reason.startswith("cc could not make it: ")
    assert any(one in reason for one in said.split("|"))
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cc" / "below-a-file"))
    assert "cc could not make it" in (compiled.load(str(compiler), "gated_mlp", torch.float32) or "")
