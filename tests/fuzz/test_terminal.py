"""What is typed, pasted and piped into a conversation, while the model writes odd things too."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.screens.chat.keyboard import Lines
from agenttune.screens.chat.repl import talk
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated_text
from tests.screens.conftest import SGR, Screen, setup, toolbox

__all__ = ["setup", "toolbox"]
TYPED = (
    "1+2?", "/help", "/tools", "/system Be short.", "/system -", "/steps 3", "/temp 0.5", "/undo", "/retry", "/edit Another answer.",
    "/rewind 1", "/good", "/bad because", "/show 1", "/context", "/tokens", "/stats", "/trace", "/save a.json", "/load a.json",
    "/sessions", "/export md", "/export sft b.jsonl", "/reset", "//no command", "/model", "/adapter off", "/quit",
)  # fmt: skip
SAID = (
    'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}',
    'Action: page\nAction Input: {"text": "<b>x</b>"}',
    "Thought: I know.\nFinal Answer: It is **3**:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n",
)


@pytest.mark.slow
def test_terminal_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setup: Callable[..., Agent]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def make(chance: random.Random) -> tuple[bytes, list[str]]:
        lines = [chance.choice(TYPED) for _ in range(chance.randint(1, 4))]
        lines = [mutated_text(line, chance) if chance.random() < 0.5 else line for line in lines]
        replies = [chance.choice(SAID) for _ in range(12)]
        replies = [mutated_text(reply, chance) if chance.random() < 0.5 else reply for reply in replies]
        return "\n".join(lines).encode("utf-8", "surrogatepass") + chance.choice((b"\n", b"", b"\xff\n")), replies

    def enter(given: tuple[bytes, list[str]]) -> None:
        screen = Screen(width=40, terminal=True, colour="standard")
        # A reply is at most so long, as a sampler's limit has it.
        assert talk(Conversation(setup([one[:4000] for one in given[1]])), Lines(io.BytesIO(given[0])), screen.console) == 0
        shown: Any = SGR.sub("", screen.raw)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202e\ufeff\U000e0041]", shown), repr(shown[:300])

    fuzz("terminal input", make, enter, ends=("right",))  # a sentence is a line on the screen, and the conversation goes on
