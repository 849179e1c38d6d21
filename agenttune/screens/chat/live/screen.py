"""The terminal while a conversation goes on: one thread draws and reads keys, the main thread works.

Ctrl-C is a key to the drawing thread, which signals the main thread where it has something to stop; so a token, a forward pass and a
tool end as they do for a signal from outside.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prompt_toolkit.completion import Completer
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from rich.console import Console

from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, GuardActed, StepMade
from agenttune.agent.toolbox.permissions import Permission, PermissionRequest
from agenttune.screens.blocks import Block, block, note
from agenttune.screens.chat.commands.base import INTERRUPTED, ExitRequested
from agenttune.screens.chat.keyboard import PROMPT
from agenttune.screens.chat.live.bar import BarState, bar
from agenttune.screens.chat.live.ctrl_c import HINT, CtrlC
from agenttune.screens.chat.live.drawing import Drawing
from agenttune.screens.chat.live.editor import edited_text
from agenttune.screens.chat.live.keys import bindings
from agenttune.screens.chat.live.output import LiveOutput
from agenttune.screens.chat.live.typed import Typed
from agenttune.screens.chat.permission import permission_said, show_request
from agenttune.screens.console import console
from agenttune.screens.inert import inert
from agenttune.screens.status_line import cut
from agenttune.values.trajectory import Observation

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveScreen:
    """A `Keyboard` whose input line is always there, and a `console` that writes above it. Entered, it has the terminal; left, it gives
    it back with everything written."""

    echo = True  # a question is shown when its turn comes

    def __init__(
        self, completer: Completer | None = None, *, history: Path | None = None, input: Input | None = None, output: Output | None = None
    ) -> None:
        self.output = LiveOutput()
        self.console: Console = console(self.output)
        self.state = BarState()
        self.completer = completer
        self.drawing = Drawing(self.output, self._message, self._changing, self._failed, history=history, input=input, terminal=output)
        self._typed, self._ctrl_c = Typed(), CtrlC()
        self._conversation: Conversation | None = None
        self._asking = ""
        self._draft = Document()
        self._activity = ""
        self._since = 0.0
        self._shortened: tuple[str, Observation] | None = None
        self._main = threading.get_ident()

    def attend(self, conversation: Conversation) -> None:
        """From now on the bar is about this conversation."""
        self._conversation = conversation

    def __enter__(self) -> LiveScreen:
        self._main = threading.get_ident()
        self.drawing.start(bindings(self), self.completer)
        return self

    def __exit__(self, *_: object) -> None:
        self.drawing.stop()

    # What is drawn

    def _message(self) -> StyleAndTextTuples:
        parts: StyleAndTextTuples = []
        width = self.console.width
        if tail := self.output.tail:
            parts += [*to_formatted_text(ANSI(tail)), ("", "\n")]
        if activity := self._activity:
            seconds = time.monotonic() - self._since
            activity = cut(activity, max(width - 12, 8))
            parts.append(("class:busy", f"{SPINNER[int(seconds * 10) % len(SPINNER)]} {activity} {seconds:.1f} s\n"))
        for one in self._typed.waiting():
            parts.append(("class:queued", f"next: {cut(inert(' '.join(one.split())), max(width - 8, 8))}\n"))
        if self._conversation is not None:
            parts += [*bar(self._conversation, self.state, width), ("", "\n")]
        return [*parts, ("bold", self._asking or PROMPT)]

    def _changing(self) -> object:
        """What of the message changes by itself; the clock ten times a second."""
        clock = self._activity and int(time.monotonic() * 10)
        return clock, self.state.steps, self.state.notice, len(self._typed.waiting())

    def _failed(self, error: BaseException) -> None:
        self._typed.end(error)

    # What the main thread asks of it

    def ask(self) -> str:
        """See `Keyboard.ask`."""
        self._ctrl_c.works(False)
        one = self._typed.next()
        self._ctrl_c.works(True)
        return one

    def steered(self) -> bool:
        """Whether a person wants the run to end after its tools, and their words to come next."""
        return self._typed.steered

    def show(self, text: str) -> None:
        """What is going on, with a clock; see `StatusLine.show`."""
        self._since = time.monotonic()
        self._activity = inert(text).removesuffix(" ...").replace("\n", " ")

    def clear(self) -> None:
        """Nothing is going on; see `StatusLine.clear`."""
        self._activity = ""

    def permission(self, request: PermissionRequest) -> Permission:
        """Asks a person; see `Ask`."""
        activity, self._activity = self._activity, ""
        show_request(self.console, request)
        self._typed.forget_answers()
        self.drawing.call(lambda: self._begin_asking("allow? "))
        try:
            said = self._typed.next_answer()
        finally:
            self.drawing.call(self._end_asking)
        block(self.console, "you", said or "no")
        self.show(activity)
        return permission_said(said)

    def draft(self, text: str) -> None:
        """See `LiveOutput.draft`."""
        self.output.draft(text)

    def told(self, event: AgentEvent) -> None:
        """Counts for the bar."""
        if isinstance(event, StepMade):
            self.state.steps += 1
        elif isinstance(event, GuardActed):
            self.state.notice = event.sentence

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While a question is answered, the bar's clock runs."""
        self.state.started, self.state.steps, self.state.notice = time.monotonic(), 0, ""
        try:
            yield
        finally:
            self.state.took, self.state.started = self.state.seconds, None

    def shortened(self, name: str, seen: Observation) -> None:
        """An observation was shown in part; Ctrl-O shows the whole."""
        self._shortened = name, seen

    def edit_text(self, text: str) -> str:
        """See `edited_text`."""
        return edited_text(text, self.drawing.away)

    # What the keys do; all in the drawing thread

    def enter(self, text: str, *, steer: bool = False) -> None:
        """A text was sent: an answer where one is asked for, else a question; with `steer` one that the running question makes way for."""
        if self._asking:
            self._typed.answer(text)
        elif text.strip():
            self._typed.question(text, steer=steer and self._ctrl_c.busy)

    @property
    def asking(self) -> bool:
        """Whether a call waits for a yes."""
        return bool(self._asking)

    def interrupt(self, typed: bool) -> bool:
        """Ctrl-C: see `CtrlC`. Returns whether the line is to be cleared."""
        meaning = self._ctrl_c.press(typed)
        if meaning in ("leave", "stop and leave"):
            self._typed.end(ExitRequested(INTERRUPTED), first=True)
        if meaning in ("stop", "stop and leave"):
            signal.pthread_kill(self._main, signal.SIGINT)
        if meaning == "hint":
            self._note(HINT)
        return meaning == "clear"

    def leave(self) -> None:
        """Ctrl-D on an empty line: ends, after what was asked before."""
        self._typed.end(EOFError())

    def open_shortened(self) -> None:
        """Ctrl-O: the last observation that was shown in part, in full."""
        if self._shortened is None:
            self._note("nothing was shortened")
            return
        name, seen = self._shortened
        made = Block(self._aside, "error" if seen.error else "result")
        made.push(f"{name}: ", style="bold")
        made.push(seen.text.replace("\r\n", "\n"))
        made.close()

    @property
    def _aside(self) -> Console:
        """A console whose lines stand before the tail."""
        return console(_Inserting(self.output))

    def _note(self, text: str) -> None:
        note(self._aside, text)

    def _begin_asking(self, prompt: str) -> None:
        buffer = self.drawing.buffer
        self._draft, self._asking = buffer.document, prompt
        buffer.reset()
        self.drawing.again()

    def _end_asking(self) -> None:
        self._asking = ""
        self.drawing.buffer.set_document(self._draft)
        self._draft = Document()
        self.drawing.again()


class _Inserting(LiveOutput):
    """A file whose whole lines go before another's tail."""

    def __init__(self, target: LiveOutput) -> None:
        super().__init__()
        self._target = target

    def write(self, text: str) -> int:
        """See `LiveOutput.write`."""
        size = super().write(text)
        if self.waiting:
            self._target.insert(self.take())
        return size
