"""A run on the screen: every event is written once, as it comes."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from agenttune.agent.events import AgentEvent, RunFinished, StepMade, Stop, Text, ToolAnswered, ToolCalled
from agenttune.protocols.base import Protocol
from agenttune.screens.blocks import Block, block, note
from agenttune.screens.chat.speech import Speech
from agenttune.screens.tail import Tail
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, Step

LINES, LETTERS = 12, 1200  # of an observation that are shown while the run goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What may end a run, for the sentence that says so."""

    protocol: Protocol
    sampling: SamplingParams
    max_steps: int
    context: int

    def sentence(self, stop: Stop) -> str:
        """Why there is no answer; empty where there is one."""
        return {
            "answer": "",
            "interrupted": "stopped",
            "max_steps": f"no answer after {self.max_steps} step{'' if self.max_steps == 1 else 's'} (--max-steps)",
            "malformed": f"no answer: three replies in a row could not be read as {self.protocol.name}",
            "loop": "no answer: the same call three times in a row; the third was not run",
            "length": f"no whole answer within {self.sampling.max_new_tokens} new tokens (--max-new-tokens)",
            "context": f"no answer: the conversation fills the model's context of {self.context:,} tokens",
        }[stop]


class Trace:
    """Thought, call, result and answer as labelled blocks. With ``answers=False`` a good answer is left to somebody else to print."""

    def __init__(self, console: Console, bounds: Bounds, *, answers: bool = True) -> None:
        self._console, self._bounds = console, bounds
        self._speech = Speech(console, bounds.protocol, answers=answers)
        self._more = " (/show)" if answers else ""
        self._several = False
        self._tail = Tail(console)

    def start(self) -> None:
        """The question has been sent."""
        self._tail.show("thinking ...")

    def on(self, event: AgentEvent) -> None:
        """Writes what an event says."""
        self._tail.clear()
        if isinstance(event, Text):
            self._speech.push(event.delta, event.kind)
        elif isinstance(event, StepMade):
            self._step(event.step)
        elif isinstance(event, ToolCalled):
            self._tail.show(f"running {event.call.name[:60]} ...")
        elif isinstance(event, ToolAnswered):
            self._observation(event.call.name, event.observation)
            self._tail.show("thinking ...")
        else:
            self._finished(event)

    def close(self) -> None:
        """Ends whatever is half written."""
        self._tail.clear()
        self._speech.close()

    def _step(self, step: Step) -> None:
        self._speech.finish(step)
        self._several = len(step.calls) > 1
        for call in step.calls:
            if isinstance(call, Malformed) and step.outcome == "malformed":
                block(self._console, "unread", call.reason)
        if step.outcome == "length" and step.answer is None:
            note(self._console, f"cut off after {self._bounds.sampling.max_new_tokens} tokens; nothing of it was run", style="yellow")
        if step.outcome != "ok":
            self._tail.show("thinking ...")

    def _observation(self, name: str, seen: Observation) -> None:
        made = Block(self._console, "error" if seen.error else "result")
        if self._several:
            made.push(f"{name}: ", style="bold")
        if not seen.trusted:
            made.push("(untrusted) ", style="dim")
        made.push(shortened(seen.text, self._more) or "(empty)")
        made.close()

    def _finished(self, event: RunFinished) -> None:
        self._speech.close()
        sentence = self._bounds.sentence(event.stop)
        if sentence:
            note(self._console, sentence, style="yellow")


def shortened(text: str, more: str) -> str:
    """The beginning of a long observation, and how much of it is left out."""
    text = text.replace("\r\n", "\n").strip()
    kept = "\n".join(text.split("\n")[:LINES])[:LETTERS].rstrip()
    return text if len(kept) == len(text) else f"{kept}\n[… {len(text) - len(kept):,} more characters{more}]"
