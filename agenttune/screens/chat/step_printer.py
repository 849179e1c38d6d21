"""A model's words on the screen while they come, told apart by kind."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from agenttune.protocols.base import Kind, Protocol
from agenttune.screens.blocks import Block, block
from agenttune.screens.chat.live.line import LineBlock
from agenttune.screens.chat.live.markdown import MarkdownBlock
from agenttune.screens.chat.markers import ProtocolMarkers
from agenttune.values.trajectory import Step


class StepPrinter:
    """Thoughts, calls and answers as labelled blocks; the protocol's markers are left away, since the labels say what they say.

    With ``answers=False`` a good answer is left to somebody else to print. Where an answer has no marker of its own (hermes),
    a text is known to be an answer only at its end, so it is labelled "says". Where there is a place for a `draft`, calls take one
    line, and answers are laid out as Markdown.
    """

    def __init__(self, console: Console, protocol: Protocol, *, answers: bool = True, draft: Callable[[str], None] | None = None) -> None:
        self._console = console
        self._draft = draft
        self._answers = answers
        self._markers = ProtocolMarkers.of(protocol)
        self._kind: Kind | None = None
        self._thinks = False  # whether the block is a thought, whatever its kind was taken for
        self._block: Block | LineBlock | MarkdownBlock | None = None
        self._opening: str | None = None  # text that may still be a marker
        self._action = ""  # kept until the tool's name is whole
        self._held = ""  # an answer that is not printed yet

    def push(self, text: str, kind: Kind) -> None:
        """The next words."""
        if kind == "action":
            if self._kind != "arguments":
                self._end()
            self._action += text
            return
        if kind != self._kind or self._action:
            self._begin(kind)
        if self._opening is None:
            self._write(text)
        else:
            self._opening += text
            self._open()

    def finish(self, step: Step) -> None:
        """The words are over, and this is what they were."""
        if self._kind == "arguments":
            self._action = self._markers.after(self._action)
        self._end()
        if step.usable and step.answer is not None:
            self._held = ""
        self.close()

    def close(self) -> None:
        """Writes whatever is half written: no word of the model is lost on the screen."""
        self._end()
        self._show_held()
        action, self._action = self._action.strip(), ""
        if action:
            block(self._console, "call", action)

    def _begin(self, kind: Kind) -> None:
        action, self._action = self._action, ""
        self._end()
        self._show_held()
        self._kind, self._thinks, self._opening = kind, kind == "thought", ""
        if kind == "arguments":
            self._block = Block(self._console, "call") if self._draft is None else LineBlock(self._console, "call", self._draft)
            self._block.push(self._markers.call_name(action) + " ", style="bold")
        elif self._thinks or self._draft is None:
            self._block = Block(self._console, "thought" if self._thinks else self._answer_label())
        else:
            self._block = MarkdownBlock(self._console, self._answer_label(), self._draft)

    def _end(self) -> None:
        if self._opening is not None:
            self._release()
        if self._block is not None:
            self._block.close()
        self._block, self._kind = None, None

    def _open(self) -> None:
        """Drops the marker that a text begins with, once it is certain to be one or not."""
        text = (self._opening or "").lstrip()
        if text and not any(len(text) < len(mark) and mark.startswith(text) for mark in self._openers()):
            self._release()

    def _release(self) -> None:
        text, self._opening = (self._opening or "").lstrip(), None
        mark = next((one for one in self._openers() if one and text.startswith(one)), "")
        if self._kind == "answer" and mark and mark != self._markers.answer:
            self._block, self._thinks = Block(self._console, "thought"), True
        self._write(text[len(mark) :])

    def _openers(self) -> tuple[str, ...]:
        markers = self._markers
        if self._kind == "thought":
            return markers.thought, markers.pad, markers.pad_end
        return (markers.answer or markers.pad,) if self._kind == "answer" else ()

    def _write(self, text: str) -> None:
        if self._kind == "answer" and not self._answers and not self._thinks:
            self._held += text
        elif self._block is not None:
            self._block.push(text)

    def _show_held(self) -> None:
        """Words that were held as an answer and are none."""
        held, self._held = self._held, ""
        if held.strip():
            block(self._console, self._answer_label(), held)

    def _answer_label(self) -> str:
        return "answer" if self._markers.answer else "says"
