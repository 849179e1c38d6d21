"""The status bar: what answers, how far it is, how full the context is."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agenttune.agent.conversation import Conversation
from agenttune.models.remote.by_messages import RemoteMessages
from agenttune.screens.inert import inert
from agenttune.screens.status_line import cut
from agenttune.screens.word_wrap import cells

Part = tuple[str, str]  # a style and a text
PLAIN = "class:bar"
FULL, FULLER = 0.70, 0.90  # of the context: yellow, red
SEPARATOR = 3  # columns between two parts
BESIDE = 28  # columns that a long notice leaves to steps and time
LEAST = 12  # columns of a notice that says anything


@dataclass(slots=True, kw_only=True)
class BarState:
    """What the conversation does not know: since when it works, how many steps it took, and why something was shortened."""

    started: float | None = None
    steps: int = 0
    took: float = 0.0
    notice: str = ""

    @property
    def seconds(self) -> float:
        """Of the running question, or of the last."""
        return self.took if self.started is None else time.monotonic() - self.started


def bar(conversation: Conversation, state: BarState, width: int) -> list[Part]:
    """The parts that fit, the most wanted first: tokens, the notice, steps, time, cache, the names. Tokens and notice give way in part."""
    agent, spent = conversation.agent, conversation.spent
    share = conversation.filled / agent.model.context
    colour = "class:full" if share >= FULLER else "class:fuller" if share >= FULL else PLAIN
    unit = "bytes" if isinstance(agent.model, RemoteMessages) else "tokens"
    parts = {
        "name": (PLAIN, _name(agent.model.name)),
        "adapter": (PLAIN, _name(agent.adapter) if agent.adapter else "no adapter"),
        "protocol": (PLAIN, agent.protocol.name),
        "steps": (PLAIN, f"step {state.steps}/{agent.max_steps}"),
        "tokens": (colour, f"{conversation.filled:,}/{agent.model.context:,} {unit} ({share:.0%})"),
        "cache": (PLAIN, f"cache {(spent.prompt - spent.read) / spent.prompt:.0%}" if spent.prompt else ""),
        "time": (PLAIN, f"{state.seconds:.1f} s"),
        "notice": ("class:notice", state.notice),
    }
    kept: set[str] = set()
    room = width - 1
    if cells(parts["tokens"][1]) + SEPARATOR > room:
        parts["tokens"] = colour, f"{share:.0%} full"
    most = room - cells(parts["tokens"][1]) - BESIDE
    if cells(inert(state.notice)) > most:
        parts["notice"] = "class:notice", f"{cut(inert(state.notice), most - 1)}…" if most > LEAST else ""
    for name in ("tokens", "notice", "steps", "time", "name", "adapter", "cache", "protocol"):
        size = cells(inert(parts[name][1])) + SEPARATOR
        if parts[name][1] and size <= room:
            kept.add(name)
            room -= size
    return _joined([part for name, part in parts.items() if name in kept])


def _name(text: str) -> str:
    """The end of a path, which says more than its beginning."""
    return text.rstrip("/").rpartition("/")[2] or text


def _joined(parts: list[Part]) -> list[Part]:
    found: list[Part] = []
    for number, (style, text) in enumerate(parts):
        if number:
            found.append((PLAIN, " · "))
        found.append((style, inert(text).replace("\n", " ")))
    return found
