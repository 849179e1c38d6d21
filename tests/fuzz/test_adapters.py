"""Adapters and their cards: a model that answers with the adapter, or a sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import models
from agenttune.models.card import fingerprint, write_card
from agenttune.models.hf import load_pretrained
from agenttune.models.library_messages import no_library_messages
from agenttune.values.adapter import Card
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated, mutated_json
from tests.models.test_hf import made

NAMES = ("adapter_config.json", "adapter_config.json", "agenttune.json", "adapter_model.safetensors")


def make_adapter(folder: Path, base: Path) -> Path:
    """A LoRA adapter of `base` with a card."""
    from peft import LoraConfig, get_peft_model

    hf, _ = load_pretrained(str(base), device="cpu", dtype="float32")
    mark = fingerprint(hf)
    with no_library_messages():
        get_peft_model(hf, LoraConfig(r=4, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 2})).save_pretrained(folder)
    card = Card(
        base=str(base),
        base_fingerprint=mark,
        protocol="react",
        template="auto",
        method="lora",
        stops=("<|im_end|>",),
        length=64,
        argument_orders={"add": [["left", "right"]]},
    )
    write_card(folder, card)
    return folder


@pytest.mark.slow
def test_adapters(tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> None:
    base = made(tmp_path / "base", made_tokenizer("chatml"))
    adapter = make_adapter(tmp_path / "adapter", base)
    files = {name: (adapter / name).read_bytes() for name in set(NAMES)}

    def make(chance: random.Random) -> tuple[str, bytes]:
        name = chance.choice(NAMES)
        if name.endswith(".json"):
            return name, mutated_json(json.loads(files[name]), chance)
        length = 8 + int.from_bytes(files[name][:8], "little")
        return name, mutated(files[name][:length], chance) + files[name][length:]

    def enter(given: tuple[str, bytes]) -> None:
        (adapter / given[0]).write_bytes(given[1])
        try:
            model = models.load(str(base), adapter=str(adapter), device="cpu", dtype="float32")
            model.start([[1, 2, 3]], [None]).logits()
        finally:
            (adapter / given[0]).write_bytes(files[given[0]])

    fuzz("adapters", make, enter)
