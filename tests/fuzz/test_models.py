"""Model folders and GGUF files: a model that answers, or a sentence before anything of the file's size was made."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import models, templates
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated, mutated_json, mutated_text
from tests.models.test_gguf import write
from tests.models.test_hf import made

NAMES = (
    "config.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "chat_template.jinja",
)


def answers(name: str) -> None:
    """Loads a model and asks it something, through the template that it came with."""
    model = models.load(name, device="cpu", dtype="float32")
    model.start([[1, 2, 3]], [None]).logits()
    templates.load("auto", model.tokenizer)


@pytest.mark.slow
def test_model_folders(tmp_path: Path, made_tokenizer: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    base = made(tmp_path / "base", made_tokenizer("chatml"))
    files = {name: (base / name).read_bytes() for name in set(NAMES)}

    def make(chance: random.Random) -> tuple[str, bytes]:
        name = chance.choice(NAMES)
        if name.endswith(".json") and chance.random() < 0.7:
            return name, mutated_json(json.loads(files[name]), chance)
        if name.endswith(".safetensors"):
            length = 8 + int.from_bytes(files[name][:8], "little")
            return name, mutated(files[name][:length], chance) + files[name][length:]
        if name.endswith(".jinja"):
            return name, mutated_text(files[name].decode(), chance).encode("utf-8", "surrogatepass")
        return name, mutated(files[name], chance)

    def enter(given: tuple[str, bytes]) -> None:
        (base / given[0]).write_bytes(given[1])
        try:
            answers(str(base))
        finally:
            (base / given[0]).write_bytes(files[given[0]])

    fuzz("model folders", make, enter)


@pytest.mark.slow
def test_gguf_headers(tmp_path: Path, made_tokenizer: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    file = write(tmp_path / "a.gguf", made_tokenizer("chatml"))
    whole = file.read_bytes()

    def enter(given: bytes) -> None:
        file.write_bytes(given)
        try:
            answers(str(file))
        finally:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    def make(chance: random.Random) -> bytes:
        length = chance.choice((24, 700, 40_000))  # the counts, the model's shape, the vocabulary
        return mutated(whole[:length], chance) + whole[length:]

    fuzz("GGUF headers", make, enter)
