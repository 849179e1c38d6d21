"""A run on the screen: every event is written once, as it comes."""

from __future__ import annotations

from rich.console import Console

from agenttune.agent.events import Event, Finished, StepMade, Text, ToolAnswered, ToolCalled
from agenttune.protocols.base import Kind, Protocol
from agenttune.screens.blocks import Block, block, note
from agenttune.screens.console import live
from agenttune.screens.inert import inert
from agenttune.screens.marks import Marks
from agenttune.values.tokens import Limits
from agenttune.values.trajectory import Malformed, Observation, Step

LINES, LETTERS = 12, 1200  # of an observation that are shown while the run goes on


class Trace:
    """Thought, call, result and answer as labelled blocks. With ``answers=False`` a good answer is left to somebody else to print.

    Where an answer has no marker of its own (hermes), a text is known to be an answer only at its end: it is labelled "says".
    """

    def __init__(self, console: Console, protocol: Protocol, limits: Limits, max_steps: int, context: int, *, answers: bool = True) -> None:
        self._console, self._protocol = console, protocol
        self._limits, self._max_steps, self._context = limits, max_steps, context
        self._answers = answers
        self._marks = Marks.of(protocol)
        self._kind: Kind | None = None
        self._block: Block | None = None
        self._opening = ""  # text that may still be a marker
        self._opened = True
        self._action = ""
        self._held = ""
        self._several = False
        self._waiting = 0

    def start(self) -> None:
        """The question has been sent."""
        self._wait("thinking")

    def on(self, event: Event) -> None:
        """Writes what an event says."""
        self._wait("")
        if isinstance(event, Text):
            self._text(event)
        elif isinstance(event, StepMade):
            self._step(event.step)
        elif isinstance(event, ToolCalled):
            self._wait(f"running {event.call.name}")
        elif isinstance(event, ToolAnswered):
            self._observation(event.call.name, event.observation)
            self._wait("thinking")
        else:
            self._finished(event)

    def close(self) -> None:
        """Ends whatever is half written; nothing is lost on the screen."""
        self._wait("")
        self._opened = True
        self._release()
        if self._block is not None:
            self._block.close()
        self._block, self._kind, self._action = None, None, ""

    def _wait(self, what: str) -> None:
        """The tail: what is going on, taken back before anything else is written."""
        if not live(self._console):
            return
        if self._waiting:
            self._console.out(f"\r{' ' * self._waiting}\r", highlight=False, end="")
        text = inert(what)[: self._console.width - 6]
        self._waiting = len(text) + 4 if text.isascii() else 2 * len(text) + 4
        if not what:
            self._waiting = 0
        else:
            self._console.out(f"{text} ...", style="dim", highlight=False, end="")

    def _text(self, event: Text) -> None:
        if event.kind == "action":
            if self._kind != "arguments":
                self.close()
            self._action += event.delta
            return
        if event.kind != self._kind or self._action:
            self._turn(event.kind)
        if self._opened:
            self._push(event.delta)
        else:
            self._opening += event.delta
            self._open()

    def _turn(self, kind: Kind) -> None:
        """A block of another kind begins."""
        action = self._action
        self.close()
        self._show_held()
        self._kind = kind
        if kind == "arguments":
            self._block = Block(self._console, "call")
            self._block.push(self._marks.call_name(action) + " ", style="bold")
        else:
            label = "thought" if kind == "thought" else "answer" if self._marks.answer else "says"
            self._block = Block(self._console, label)
            self._opened = not self._mark()

    def _mark(self) -> str:
        return {"thought": self._marks.thought, "answer": self._marks.answer}.get(self._kind or "", "")

    def _open(self) -> None:
        """Drops the marker that a text begins with, once it is certain to be one."""
        text, mark = self._opening.lstrip(), self._mark()
        if len(text) < len(mark) and mark.startswith(text):
            return
        self._opened = True
        self._release()

    def _release(self) -> None:
        text, self._opening = self._opening.lstrip(), ""
        if text:
            self._push(text.removeprefix(self._mark()))

    def _push(self, text: str) -> None:
        if self._kind == "answer" and not self._answers:
            self._held += text
        elif self._block is not None:
            self._block.push(text)

    def _show_held(self) -> None:
        """Words that were held as an answer and are none."""
        held, self._held = self._held, ""
        if held.strip():
            block(self._console, "answer" if self._marks.answer else "says", held)

    def _step(self, step: Step) -> None:
        rest = self._marks.after(self._action) if self._kind == "arguments" else self._action.strip()
        self.close()
        if rest:
            self._show_held()
            block(self._console, "call", rest)
        if step.outcome == "ok" and step.answer is not None:
            self._held = ""
        self._show_held()
        self._several = len(step.calls) > 1
        for call in step.calls:
            if isinstance(call, Malformed) and step.outcome == "malformed":
                block(self._console, "unread", call.reason)
        if step.outcome == "length" and step.answer is None:
            note(self._console, f"cut off after {self._limits.max_new_tokens} tokens; nothing of it was run")

    def _observation(self, name: str, seen: Observation) -> None:
        text = shortened(seen.text)
        label = "error" if seen.error else "result"
        made = Block(self._console, label)
        if self._several:
            made.push(f"{name}: ", style="bold")
        if not seen.trusted:
            made.push("(untrusted) ", style="dim")
        made.push(text or "(empty)")
        made.close()

    def _finished(self, event: Finished) -> None:
        self.close()
        sentence = {
            "answer": "",
            "interrupted": "stopped",
            "max_steps": f"no answer after {self._max_steps} steps (--max-steps)",
            "malformed": f"no answer: three replies in a row could not be read as {self._protocol.name}",
            "loop": "no answer: the same call three times in a row; the third was not run",
            "length": f"no whole answer within {self._limits.max_new_tokens} new tokens (--max-new-tokens)",
            "context": f"no answer: the conversation fills the model's context of {self._context} tokens",
        }[event.stop]
        if sentence:
            note(self._console, sentence, style="yellow")


def shortened(text: str) -> str:
    """The beginning of a long observation, and how much more there is."""
    text = text.replace("\r\n", "\n").strip()
    lines = text.split("\n")
    kept = "\n".join(lines[:LINES])[:LETTERS].rstrip()
    if len(kept) >= len(text):
        return text
    return f"{kept}\n[… {len(text) - len(kept)} more characters: /show]"
