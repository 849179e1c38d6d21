"""What is trained, what is evaluated and what is sent from the chat are the same ids: whole runs over real tokenizers and templates."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttune.agent import decode, step
from agenttune.cli import main
from agenttune.training import trainer
from agenttune.values.tokens import Completion
from tests.real_tokenizers import FAMILIES, PAIRS, pair

PROVE = bool(os.environ.get("AGENTTUNE_PROVE"))
KINDS = tuple(PAIRS) if PROVE else ("mistral_v3", "qwen2_5", "mistral_v1")
TOOL = '''
from agenttune.agent.toolbox import effect


@effect("read")
def weather(city: str) -> str:
    """Tells the weather."""
    return "rain"
'''
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
LOG = {
    "id": "a1",
    "tools": [{"type": "function", "function": WEATHER}],
    "messages": [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "Is it raining in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call00001", "content": "rain"},
        {"role": "assistant", "content": "Yes, it is raining."},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "content": "Gladly."},
    ],
}
Ids = tuple[int, ...]


def save_model(folder: Path, hf: Any) -> None:
    """A random Llama of one layer with this tokenizer's vocabulary."""
    import torch
    import transformers

    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=len(hf),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=hf.eos_token_id,
        bos_token_id=hf.bos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    hf.save_pretrained(folder)


class Watched:
    """The prompts that each of the three was given; short-lived."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.trained: dict[Ids, Ids] = {}
        self.asked: list[Ids] = []
        self.replies: list[Ids] = []  # what is said in place of the model, as long as there are some
        collate, stream = trainer.collate, decode.stream

        def trains(*given: Any, **more: Any) -> Any:
            batch = collate(*given, **more)
            self.trained |= dict(trained_outputs(batch))
            return batch

        def speaks(model: Any, prompts: Sequence[Sequence[int]], *given: Any, **more: Any) -> Iterator[Any]:
            self.asked += [tuple(one) for one in prompts]
            if not self.replies:
                return (yield from stream(model, prompts, *given, **more))
            said = self.replies.pop(0)
            return [Completion(token_ids=said, text=model.tokenizer.decode(said), stop="stop")]

        patch.setattr(trainer, "collate", trains)
        patch.setattr(decode, "stream", speaks)
        patch.setattr(step, "stream", speaks)


def trained_outputs(batch: Any) -> Iterator[tuple[Ids, Ids]]:
    """(prompt, what is trained behind it, the stop included) of each run of predictors of a pack with one sample."""
    ids, places, labels = (batch[name].flatten().tolist() for name in ("input_ids", "predictors", "targets"))
    starts = [at for at, place in enumerate(places) if at == 0 or places[at - 1] != place - 1]
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        yield tuple(ids[: places[start] + 1]), tuple(labels[start:end])


@pytest.fixture(name="run")
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run("convert", …)``: one command of agenttune, with homes of its own."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return lambda *words: main([str(word) for word in words])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_trainer_evaluation_and_chat_have_the_same_prompts(
    kind: str, run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = pair(kind)
    if tokenizer is None:
        pytest.skip("no package index can be reached")
    model, samples, adapter = (tmp_path / name for name in ("model", "samples.jsonl", "adapter"))
    save_model(model, tokenizer.hf)
    (tmp_path / "log.json").write_text(json.dumps([LOG]), encoding="utf-8")
    (tmp_path / "weather_tool.py").write_text(TOOL, encoding="utf-8")
    protocol = "native" if kind in FAMILIES else "react"
    chosen = ["--protocol", protocol, "--model", model, "--workers", 1]
    assert run("convert", "openai", tmp_path / "log.json", "-o", samples, *chosen) == 0

    watched = Watched(monkeypatch)
    dated = {"template_options": {"date": "2026-01-31"}} if "strftime_now" in (tokenizer.chat_template or "") else {}
    small = {"device": "cpu", "dtype": "float32", "length": 2048, "pack": "none", "pack_samples": 1, "lora": {"r": 2, "alpha": 2}}
    steps = {"max_steps": 2, "gradient_accumulation_steps": 4, "learning_rate": 1e-3}
    config = {"model": str(model), "data": str(samples), "output": str(adapter), "trainer": steps, **small, **dated}
    (tmp_path / "run.yaml").write_text(json.dumps(config), encoding="utf-8")
    assert run("train", tmp_path / "run.yaml") == 0
    assert len(watched.trained) == 3

    loading = ["--adapter", adapter, "--device", "cpu", "--dtype", "float32", "--max-new-tokens", 3]
    run("eval", samples, "--model", model, "-o", tmp_path / "judged", "--no-cache", *loading)
    evaluated, watched.asked = watched.asked, []
    assert set(evaluated) == set(watched.trained)
    assert len(evaluated) == 3

    first = min(evaluated, key=len)
    watched.replies = [watched.trained[first][:-1]]  # the call that was trained, without its stop
    talk = ["--tools", tmp_path / "weather_tool.py", "--trust", "--system", "You help.", "--no-guards", "--no-trace", "--max-steps", 2]
    run("chat", model, "-p", "Is it raining in Oslo?", *talk, *loading)
    spoken = json.loads((adapter / "agenttune.json").read_text(encoding="utf-8"))["protocol"]
    print(f"{kind}, {spoken}: {len(evaluated)} prompts, {len(watched.asked)} of them in chat")
    assert watched.asked == sorted(evaluated, key=len)[:2]
