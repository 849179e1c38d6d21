"""Cases by hand, and predictors that always say the same."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols
from agenttune.evaluation.bfcl import wheel
from agenttune.evaluation.evaluate import evaluate, judged_by
from agenttune.protocols.base import write
from agenttune.values.case import Case, Report, exactly
from agenttune.values.trajectory import Round, Step, ToolCall, ToolSpec, Trajectory

RIGHT = 'Action: add\nAction Input: {"n": 1}'
WRONG = "Final Answer: no"


def make_cases(count: int = 6) -> list[Case]:
    """Cases c0, c1, … that offer `add` and `sub` and expect ``add {"n": 1}``; every third expects no call."""
    found = []
    for number in range(count):
        trajectory = Trajectory(id=f"c{number}", tools=(ToolSpec(name="add"), ToolSpec(name="sub")), rounds=(Round(user=f"add {number}"),))
        answers = () if number % 3 == 2 else (exactly([ToolCall(name="add", arguments={"n": 1})]),)
        tags = {"half": "known" if number % 2 else "unseen", "lang": "en", "difficulty": "near", "kind": "call" if answers else "no_tool"}
        sample = write(trajectory, protocols.get("react"))
        found.append(Case(id=f"c{number}", sample=sample, answers=answers, clusters=("add", f"p{number}"), tags=tags))
    return found


def says(text: str) -> Callable[[Sequence[Case]], list[Step]]:
    """A predictor that always says `text`."""
    step = protocols.get("react").parse(text)
    return lambda batch: [step for _ in batch]


def make_run(out: Path, text: str = RIGHT, cases: Sequence[Case] | None = None, **options: Any) -> Report:
    """An evaluation of `make_cases()` by `says(text)`."""
    meta = {"model": "m", "text": text}
    return evaluate(make_cases() if cases is None else cases, judged_by(says(text)), suite="s", meta=meta, out=out, **options)


@pytest.fixture
def cases() -> Callable[..., list[Case]]:
    """`make_cases`."""
    return make_cases


@pytest.fixture
def run() -> Callable[..., Report]:
    """`make_run`; `run(out)` is right wherever a call is expected, ``run(out, WRONG)`` wherever none is."""
    return make_run


@pytest.fixture(scope="session")
def bfcl_wheel() -> Path:
    """The unpacked wheel, fetched once into the cache; skipped where no package index can be reached."""
    named = os.environ.get(wheel.VARIABLE)
    folder = Path(named) if named else Path(os.environ.get("AGENTTUNE_CACHE") or Path.home() / ".cache" / "agenttune") / "bfcl"
    if not (folder / "bfcl_eval").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "bfcl-eval", "-d", str(folder)]
        try:
            subprocess.run(fetch, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError):
            pytest.skip("no package index can be reached")
        (found,) = folder.glob("bfcl_eval-*.whl")
        zipfile.ZipFile(found).extractall(folder)
    return folder


@pytest.fixture
def located(bfcl_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(wheel.VARIABLE, str(bfcl_wheel))
    return bfcl_wheel


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, made_tokenizer: Callable[[str], Any]) -> Path:
    """A folder of a small random Llama that writes text of its own."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder, tokenizer = tmp_path_factory.mktemp("tiny"), made_tokenizer("chatml")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=8192, initializer_range=0.3)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make_lora(tiny_model: Path) -> Callable[[Path, int], Path]:
    """``make_lora(folder, seed)`` writes a random adapter of `tiny_model` into a folder."""

    def make(folder: Path, seed: int) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        from agenttune.models.card import fingerprint, write_card
        from agenttune.models.hf import load_pretrained
        from agenttune.models.library_messages import no_library_messages
        from agenttune.values.adapter import Card

        hf, _ = load_pretrained(str(tiny_model), device="cpu", dtype="float32")
        mark = fingerprint(hf)
        torch.manual_seed(seed)
        with no_library_messages():
            get_peft_model(hf, LoraConfig(r=8, target_modules=["q_proj", "up_proj"], init_lora_weights=False)).save_pretrained(folder)
        write_card(folder, Card(base=str(tiny_model), base_fingerprint=mark, protocol="react", template="auto", method="lora"))
        return folder

    return make
