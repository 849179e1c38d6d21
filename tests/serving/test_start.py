"""How a server starts and ends: what a person must change is one sentence, before a model is loaded where that is possible."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agenttune import models
from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.models.card import write_card
from agenttune.serving.server import apart
from agenttune.values.adapter import Card
from tests.conftest import CHATML
from tests.serving.started import started

TASKS = Path("/proc/self/task")


def adapter_of(checkpoint: Path, folder: Path, **card: str) -> Path:
    """A random adapter of a checkpoint, with a card that says so, except for what `card` says otherwise."""
    from peft import LoraConfig, get_peft_model

    from agenttune.models.card import fingerprint
    from agenttune.models.hf import load_pretrained
    from agenttune.models.library_messages import no_library_messages

    hf, _ = load_pretrained(str(checkpoint), device="cpu", dtype="float32")
    mark = fingerprint(hf)
    with no_library_messages():
        get_peft_model(hf, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(folder)
    fields = {"base": str(checkpoint), "base_fingerprint": mark, "protocol": "hermes", "template": "auto", "method": "lora", **card}
    write_card(folder, Card(**fields))
    return folder


@pytest.mark.skipif(not TASKS.exists(), reason="processes are looked up on Linux only")
def test_what_loads_a_model_leaves_no_helper_threads_behind() -> None:
    import torch

    def count() -> int:
        return len(list(TASKS.iterdir()))

    def work() -> tuple[int, int]:
        torch.set_num_threads(3)  # of this thread alone
        before = count()
        torch.ones(1500, 1500).exp()
        return before, count()

    for _ in range(3):
        before, computed = apart(work)
        assert computed == before + 2
        until = time.monotonic() + 10
        while count() > computed - 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert count() <= computed - 3  # the two helpers and the thread itself have ended


def test_what_a_load_raises_is_raised() -> None:
    with pytest.raises(UserError, match="there is no model"):
        apart(lambda: models.load("./nowhere/at/all"))


@pytest.mark.slow
def test_another_protocol_than_the_cards_is_told(tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoint = tiny_checkpoint(CHATML)
    adapter = adapter_of(checkpoint, tmp_path_factory.mktemp("adapter"))
    with started(str(checkpoint), "--adapter", f"desk={adapter}", "--protocol", "react") as server:
        assert "--protocol react in place of the card's hermes\n" in server.lines
        assert any(line.startswith("desk: react, template auto") for line in server.lines)


@pytest.mark.slow
def test_a_model_without_a_card_is_told_what_is_assumed(tiny_checkpoint: Callable[[str], Path]) -> None:
    with started(str(tiny_checkpoint(CHATML))) as server:
        assert any(line.startswith("no card of ours: assumed the protocol react (--protocol:") for line in server.lines)


def test_an_adapter_of_another_base_is_refused(
    tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tiny_checkpoint(CHATML)
    adapter = adapter_of(checkpoint, tmp_path_factory.mktemp("adapter"), base="other/model", base_fingerprint="0" * 16)
    assert main(["serve", str(checkpoint), "--adapter", f"desk={adapter}", "--port", "0"]) == 2
    assert f"the adapter {adapter} was trained on other/model, and {checkpoint} is another model" in capsys.readouterr().err


def test_a_protocol_that_the_template_does_not_write_is_refused(
    tiny_checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tiny_checkpoint(CHATML)), "--protocol", "native", "--port", "0"]) == 2
    assert "writes no tool calls in the words of a family that is known here" in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_drains_and_ends_in_the_time_given(tiny_checkpoint: Callable[..., Path]) -> None:
    """One request that ends by itself is answered whole; one that would go on for minutes is cut when the time is over."""
    with started(str(tiny_checkpoint(CHATML)), "--protocol", "hermes", "--drain", "2", "--max-new-tokens", "1000000") as server:
        lines = []
        for tokens in (40, 7000):
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            body = {"messages": [{"role": "user", "content": "Hi."}], "stream": True, "max_tokens": tokens, "temperature": 1.5}
            line.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            lines.append((line, line.getresponse()))
            assert lines[-1][1].readline()
        took = server.end()
        whole = lines[0][1].read()
        for line, answer in lines:
            answer.close()
            line.close()
    assert b"[DONE]" in whole
    assert took < 2 + 6, "the time to drain, and some to leave"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached by others: give --api-key, or listen on 127.0.0.1"),
        (["--adapter", "=x"], "--adapter takes NAME=DIR, not '=x'"),
        (["--adapter", "a=x", "--adapter", "a=y"], 'two adapters are named "a"'),
        (["--batch", "0"], "--batch and --max-new-tokens must be 1 or more"),
        (["--host", "203.0.113.1", "--api-key", "k"], "cannot listen on 203.0.113.1:8000"),
    ],
)
def test_what_a_person_must_change_is_one_sentence(options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_said_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "nowhere", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util

    find: Callable[[str], object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert main(["serve", "nowhere"]) == 2
    assert "serving needs uvicorn: pip install agenttune[serve]" in capsys.readouterr().err
