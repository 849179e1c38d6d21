"""A run on the screen: every event is written once, as it comes."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console

from agenttune.agent.agent import Agent
from agenttune.agent.events import (
    AgentEvent,
    GuardActed,
    RunFinished,
    StepMade,
    StopReason,
    TextDelta,
    ToolAnswered,
    ToolCalled,
    ToolPrinted,
    TrajectoryGrown,
)
from agenttune.screens.blocks import Block, block, note
from agenttune.screens.chat.step_printer import StepPrinter
from agenttune.screens.status_line import StatusLine
from agenttune.values.trajectory import Malformed, Observation, Step

LINES, LETTERS = 3, 240  # of an observation that are shown while the run goes on


class LiveView(Protocol):
    """Where a run is watched on a terminal: see `live.screen.LiveScreen`."""

    def show(self, text: str) -> None:
        """What is going on now."""

    def clear(self) -> None:
        """Nothing is."""

    def draft(self, text: str) -> None:
        """Text that is not final yet."""

    def shortened(self, name: str, seen: Observation) -> None:
        """An observation of a tool was shown in part."""

    def told(self, event: AgentEvent) -> None:
        """Something happened that the status bar may count."""


def stop_sentence(stop: StopReason, agent: Agent) -> str:
    """Why there is no answer; empty where there is one."""
    return {
        "answer": "",
        "interrupted": "stopped",
        "steered": "steered: your words come next",
        "max_steps": f"no answer after {agent.max_steps} step{'' if agent.max_steps == 1 else 's'} (--max-steps)",
        "malformed": f"no answer: three replies in a row could not be read as {agent.protocol.name}",
        "loop": "no answer: the same call three times in a row; the third was not run",
        "length": f"no whole answer within {agent.sampling.max_new_tokens} new tokens (--max-new-tokens)",
        "run_tokens": f"no answer within {agent.guards.run_tokens if agent.guards else 0:,} tokens (--max-tokens)",
        "context": f"no answer: the conversation fills the model's context of {agent.model.context:,} tokens",
    }[stop]


def forced_sentence(stop: StopReason, agent: Agent) -> str:
    """Why the answer was asked for before the model gave one by itself."""
    limits = {
        "max_steps": f"after {agent.max_steps} step{'' if agent.max_steps == 1 else 's'} (--max-steps)",
        "loop": "after the same call again",
        "context": f"because the conversation fills the model's context of {agent.model.context:,} tokens",
        "length": f"after three replies that were cut at {agent.sampling.max_new_tokens} new tokens (--max-new-tokens)",
        "run_tokens": f"after {agent.guards.run_tokens if agent.guards else 0:,} tokens (--max-tokens)",
    }
    return f"this answer was forced {limits.get(stop, 'after three replies that could not be used')}"


class Trace:
    """Thought, call, result and answer as labelled blocks. With ``answers=False`` a good answer is left to somebody else to print.

    On a `live` view calls take one line, results say how long they took, and answers are Markdown.
    """

    def __init__(self, console: Console, agent: Agent, *, answers: bool = True, live: LiveView | None = None) -> None:
        self._console, self._agent, self._live = console, agent, live
        self._printer = StepPrinter(console, agent.protocol, answers=answers, draft=live.draft if live is not None else None)
        self._more = "" if not answers else " (/show)" if live is None else " (Ctrl-O shows all)"
        self._several = False
        self._called = 0.0
        self._status: StatusLine | LiveView = StatusLine(console) if live is None else live

    def start(self) -> None:
        """The question has been sent."""
        self._status.show("thinking ...")

    def on(self, event: AgentEvent) -> None:
        """Writes what an event says."""
        if isinstance(event, TrajectoryGrown):
            return
        self._status.clear()
        if self._live is not None:
            self._live.told(event)
        if isinstance(event, TextDelta):
            self._printer.push(event.delta, event.kind)
        elif isinstance(event, StepMade):
            self._step(event.step)
        elif isinstance(event, ToolCalled):
            self._called = time.monotonic()
            self._status.show(f"running {event.call.name[:60]} ...")
        elif isinstance(event, ToolPrinted):
            block(self._console, "prints", shortened(event.text, ""))
        elif isinstance(event, ToolAnswered):
            self._observation(event.call.name, event.observation)
            self._status.show("thinking ...")
        elif isinstance(event, GuardActed):
            self._printer.close()
            note(self._console, event.sentence, style="yellow")
            self._status.show("thinking ...")
        else:
            self._finished(event)

    def close(self) -> None:
        """Ends whatever is half written."""
        self._status.clear()
        self._printer.close()

    def _step(self, step: Step) -> None:
        self._printer.finish(step)
        self._several = len(step.calls) > 1
        for call in step.calls:
            if isinstance(call, Malformed) and step.outcome == "malformed":
                block(self._console, "unread", call.reason)
        if step.outcome == "truncated" and step.answer is None:
            note(self._console, f"cut off after {self._agent.sampling.max_new_tokens} tokens; nothing of it was run", style="yellow")
        if not step.usable:
            self._status.show("thinking ...")

    def _observation(self, name: str, seen: Observation) -> None:
        made = Block(self._console, "error" if seen.error else "result")
        if self._several:
            made.push(f"{name}: ", style="bold")
        if not seen.trusted:
            made.push("(untrusted) ", style="dim")
        if self._live is not None:
            made.push(f"({time.monotonic() - self._called:.1f} s) ", style="dim")
        text = shortened(seen.text, self._more)
        if self._live is not None and text != seen.text.replace("\r\n", "\n").strip():
            self._live.shortened(name, seen)
        made.push(text or "(empty)")
        made.close()

    def _finished(self, event: RunFinished) -> None:
        self._printer.close()
        steps = event.trajectory.rounds[-1].steps
        forced = bool(steps) and steps[-1].outcome == "forced"
        sentence = forced_sentence(event.stop, self._agent) if forced else stop_sentence(event.stop, self._agent)
        if sentence:
            note(self._console, sentence, style="yellow")


def shortened(text: str, more: str) -> str:
    """The beginning of a long observation, and how much of it is left out."""
    text = text.replace("\r\n", "\n").strip()
    kept = "\n".join(text.split("\n")[:LINES])[:LETTERS].rstrip()
    return text if len(kept) == len(text) else f"{kept}\n[… {len(text) - len(kept):,} more characters{more}]"
