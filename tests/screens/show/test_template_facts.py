"""``show --tokens MODEL`` says what the template decides; a folder with a tokenizer alone is enough for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.models.token_length import context_of, token_length
from agenttune.values.sample import Sample, Turn, sample_to_json
from tests.conftest import TEMPLATES

SAMPLE = Sample(id="7", turns=(Turn(input="Hi", output="Final Answer: Yes"),))
FACTS = {
    "chatml": "observations as system; BOS none; stop <|im_end|>; lead none; earlier reasoning kept: all",
    "strict": "observations as user; BOS none; stop <|end|>; lead ·; earlier reasoning kept: all",
    "thinking": "observations as system; BOS none; stop <|im_end|>; lead none; earlier reasoning kept: none",
}


@pytest.mark.parametrize("kind", FACTS)
def test_the_facts_of_a_tokenizer_alone(
    kind: str, made_tokenizer: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokenizer"
    hf = copy.copy(made_tokenizer(kind))
    hf.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": TEMPLATES[kind][0]}), encoding="utf-8")
    for other in folder.iterdir():
        if other.name not in ("tokenizer.json", "tokenizer_config.json"):
            other.unlink()
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps(sample_to_json(SAMPLE)) + "\n", encoding="utf-8")
    assert main(["show", str(file), "--tokens", str(folder)]) == 0
    assert FACTS[kind].replace("lead ·", "lead  ") in capsys.readouterr().out.replace("\n", " ")
    assert token_length(str(folder), "auto").tokens(SAMPLE) > 10
    assert context_of(str(folder)) == 0
