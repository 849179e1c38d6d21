"""agenttune: turn logs of tool use into a tuned agent, talk to it with live tools, and measure whether it got better.

The names below are the Python API. A name's module is imported when the name is first used, so that ``import agenttune`` costs nothing;
docs/python.md shows each in use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttune.agent.agent import Agent
    from agenttune.agent.conversation import Conversation
    from agenttune.agent.toolbox import tool
    from agenttune.config import load_config
    from agenttune.data.convert.run import convert
    from agenttune.errors import UserError
    from agenttune.evaluation.compare import compare
    from agenttune.evaluation.options import EvalOptions
    from agenttune.evaluation.run import run_eval as evaluate
    from agenttune.models import load as load_model
    from agenttune.screens.chat.options import ChatOptions
    from agenttune.screens.chat.start import chat
    from agenttune.training.train import train
    from agenttune.values.sample import Sample
    from agenttune.values.trajectory import Trajectory

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "ChatOptions",
    "Conversation",
    "EvalOptions",
    "Sample",
    "Trajectory",
    "UserError",
    "chat",
    "compare",
    "convert",
    "evaluate",
    "load_config",
    "load_model",
    "tool",
    "train",
]

# Where each name lives: module, and its name there.
_HOMES = {
    "Agent": ("agenttune.agent.agent", "Agent"),
    "ChatOptions": ("agenttune.screens.chat.options", "ChatOptions"),
    "Conversation": ("agenttune.agent.conversation", "Conversation"),
    "EvalOptions": ("agenttune.evaluation.options", "EvalOptions"),
    "Sample": ("agenttune.values.sample", "Sample"),
    "Trajectory": ("agenttune.values.trajectory", "Trajectory"),
    "UserError": ("agenttune.errors", "UserError"),
    "chat": ("agenttune.screens.chat.start", "chat"),
    "compare": ("agenttune.evaluation.compare", "compare"),
    "convert": ("agenttune.data.convert.run", "convert"),
    "evaluate": ("agenttune.evaluation.run", "run_eval"),
    "load_config": ("agenttune.config", "load_config"),
    "load_model": ("agenttune.models", "load"),
    "tool": ("agenttune.agent.toolbox", "tool"),
    "train": ("agenttune.training.train", "train"),
}


def __getattr__(name: str) -> object:
    """A name of the API, imported now (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'agenttune' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found: object = getattr(importlib.import_module(module), attribute)
    globals()[name] = found  # the next use needs no call
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
