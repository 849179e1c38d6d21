"""Consoles that are read back, a small toolbox, and conversations with a model that says what it is told."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from rich.console import Console

from agenttune import protocols, templates
from agenttune.agent.agent import Agent
from agenttune.agent.step import STRICT
from agenttune.agent.toolbox import Toolbox, tool
from agenttune.models.scripted import ScriptedModel
from agenttune.values.tokens import SamplingParams

SGR = re.compile(r"\x1b\[[0-9;]*m")  # the only escapes of ours: colours and weights


def add(left: int, right: int) -> int:
    """Adds two numbers.

    Args:
        left: a number
        right: a number
    """
    return left + right


def page(text: str) -> str:
    """Gives back what it is given, as a stranger's page would.

    Args:
        text: anything
    """
    return text


class Screen:
    """A console of a given width and what was written to it."""

    def __init__(self, *, width: int = 80, colour: Literal["standard", "truecolor"] | None = None, terminal: bool = False) -> None:
        self.file = io.StringIO()
        plain: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False, "_environ": {}}
        self.console = Console(file=self.file, width=width, color_system=colour, force_terminal=terminal, **plain)

    @property
    def raw(self) -> str:
        """Every character."""
        return self.file.getvalue()

    @property
    def text(self) -> str:
        """Without our own colours."""
        return SGR.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        """The text as lines."""
        return self.text.split("\n")


@pytest.fixture
def screen() -> Callable[..., Screen]:
    """``screen(width=…, colour=…, terminal=…)``."""
    return Screen


@pytest.fixture(scope="session")
def toolbox() -> Toolbox:
    """`add` and `page`, in this process."""
    return Toolbox([tool(add), tool(page)], inline=True)


@pytest.fixture
def setup(toolbox: Toolbox) -> Callable[..., Agent]:
    """``setup(replies, protocol=…, …)``: a scripted model behind everything a conversation needs."""

    def make(replies: Sequence[str] | Callable[[str], str] | Any, *, protocol: str = "react", **more: Any) -> Agent:
        model = ScriptedModel(replies) if isinstance(replies, list) or not hasattr(replies, "start") else replies
        fields: dict[str, Any] = {
            "model": model,
            "template": templates.load("auto", model.tokenizer),
            "protocol": protocols.get(protocol),
            "toolbox": toolbox,
            "sampling": SamplingParams(),
            "options": STRICT,
            "guards": None,
        }
        return Agent(**{**fields, **more})

    return make
