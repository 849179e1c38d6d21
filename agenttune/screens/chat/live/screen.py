"""The terminal while a conversation goes on: one thread draws and reads keys, the main thread works.

Ctrl-C is a key to the drawing thread, which signals the main thread where it has something to stop; so a token, a forward pass and a
tool end as they do for a signal from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import Completer
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style
from rich.console import Console

from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, GuardActed, StepMade
from agenttune.agent.toolbox.permissions import Permission, PermissionRequest
from agenttune.errors import UserError
from agenttune.screens.blocks import Block, block, note
from agenttune.screens.chat.commands.base import INTERRUPTED, ExitRequested
from agenttune.screens.chat.keyboard import PROMPT, kept_history
from agenttune.screens.chat.live.bar import BarState, bar
from agenttune.screens.chat.live.keys import bindings
from agenttune.screens.chat.live.output import LiveOutput
from agenttune.screens.chat.permission import permission_said, show_request
from agenttune.screens.console import console
from agenttune.screens.inert import inert
from agenttune.values.trajectory import Observation

FRAME = 0.05  # seconds between two drawings
AGAIN = 2.0  # seconds in which a second Ctrl-C leaves
PART_OF_IT = 0.3  # seconds in which a Ctrl-C belongs to the one that stopped something
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STYLE = Style.from_dict(
    {
        "bar": "dim",
        "fuller": "ansiyellow",
        "full": "ansired bold",
        "notice": "ansiyellow",
        "queued": "dim",
        "busy": "dim",
    }
)
HINT = "(Ctrl-C again or Ctrl-D leaves; Ctrl-C stops a step)"
Result = TypeVar("Result")


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
        self.drawn = 0  # how often lines were written above the input line
        self.completer = completer
        self._history, self._input, self._terminal = history, input, output
        self._conversation: Conversation | None = None
        self._wake = threading.Condition()
        self._questions: deque[str | BaseException] = deque()
        self._steering: deque[str] = deque()
        self._answers: deque[str] = deque()
        self._asking = ""
        self._draft = Document()
        self._activity = ""
        self._since = 0.0
        self._busy = self._told = False  # whether the main thread works, and was told to stop
        self._pressed = self._stopped = float("-inf")
        self._shortened: tuple[str, Observation] | None = None
        self._main = threading.get_ident()
        self._thread: threading.Thread | None = None
        self._session: PromptSession[str]
        self._ready = threading.Event()

    # The life of the screen

    def attend(self, conversation: Conversation) -> None:
        """From now on the bar is about this conversation."""
        self._conversation = conversation

    def __enter__(self) -> LiveScreen:
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="agenttune-screen", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(lambda: self._session.app.exit(result="") if self._session.app.is_running else None)
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # whatever it was, the main thread must not wait for a key for ever
            self._put(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = PromptSession(
            self._message,
            history=kept_history(self._history) if self._history else None,
            completer=self.completer,
            complete_while_typing=False,
            key_bindings=bindings(self),
            multiline=True,  # so that a paste keeps its lines; Enter still sends
            prompt_continuation="  ",
            enable_suspend=True,
            style=STYLE,
            input=self._input,
            output=self._terminal,
        )
        self._session.app.min_redraw_interval = FRAME
        ticker = asyncio.ensure_future(self._tick())
        try:
            await self._session.prompt_async(handle_sigint=False, pre_run=self._ready.set)
        finally:
            ticker.cancel()
            self._write(self.output.take(all=True))

    async def _tick(self) -> None:
        """Writes what waits, and draws the tail and the clock: so many times a second at most, whatever is written."""
        last = None
        while True:
            await asyncio.sleep(FRAME)
            self._write_above()
            now = (
                self.output.tail,
                self._activity and int(time.monotonic() * 10),
                self.state.steps,
                self.state.notice,
                len(self._questions),
            )
            if now != last:
                last = now
                self._session.app.invalidate()

    def _write_above(self) -> None:
        """Whole lines go above the input line, which is drawn again below them. The terminal stays raw: what is typed is never echoed."""
        app = self._session.app
        away = getattr(app, "_running_in_terminal", False)  # an editor has the terminal, or the program sleeps
        if self.output.waiting and app.is_running and not away:
            app.renderer.erase()
            self._write(self.output.take())
            app.renderer.reset()
            app.invalidate()

    def _write(self, text: str) -> None:
        if not text:
            return
        self.drawn += 1
        terminal = self._session.app.output
        terminal.enable_autowrap()
        terminal.write_raw(text.replace("\n", "\r\n"))
        terminal.flush()

    def _call(self, work: Callable[[], Result]) -> None:
        """Does something in the drawing thread, where there is one."""
        if self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # its loop has ended meanwhile
                self._loop.call_soon_threadsafe(work)

    # What is drawn

    def _message(self) -> StyleAndTextTuples:
        parts: StyleAndTextTuples = []
        if tail := self.output.tail:
            parts += [*to_formatted_text(ANSI(tail)), ("", "\n")]
        if activity := self._activity:
            seconds = time.monotonic() - self._since
            parts.append(("class:busy", f"{SPINNER[int(seconds * 10) % len(SPINNER)]} {activity} {seconds:.1f} s\n"))
        for one in (*self._steering, *self._questions):
            if isinstance(one, str):
                parts.append(("class:queued", f"next: {inert(' '.join(one.split()))[: max(self.console.width - 8, 8)]}\n"))
        if self._conversation is not None:
            parts += [*bar(self._conversation, self.state, self.console.width), ("", "\n")]
        return [*parts, ("bold", self._asking or PROMPT)]

    # What the main thread asks of it

    def ask(self) -> str:
        """See `Keyboard.ask`."""
        self._busy = self._told = False
        with self._wake:
            while not (self._steering or self._questions):
                self._wake.wait()
            one = self._steering.popleft() if self._steering else self._questions.popleft()
        self._busy = True
        if isinstance(one, BaseException):
            raise one
        return one

    def steered(self) -> bool:
        """Whether a person wants the run to end after its tools, and their words to come next."""
        return bool(self._steering)

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
        self._answers.clear()
        self._call(lambda: self._begin_asking("allow? "))
        try:
            with self._wake:
                while not self._answers:
                    self._wake.wait()
                said = self._answers.popleft()
        finally:
            self._call(self._end_asking)
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
        """The text as a person leaves it in their editor (``$VISUAL``, ``$EDITOR``). Raises `UserError`."""
        command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        handle, name = tempfile.mkstemp(suffix=".md")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            future = asyncio.run_coroutine_threadsafe(self._away(lambda: subprocess.call([*command, name])), self._loop)
            if future.result():
                raise UserError(f"{command[0]} ended with an error; the answer stays as it was")
            return Path(name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise UserError(f"there is no editor {command[0]}; name one in $EDITOR, or give the text after /edit") from error
        finally:
            os.unlink(name)

    async def _away(self, work: Callable[[], Result]) -> Result:
        return await run_in_terminal(work, in_executor=True)

    # What the keys do; all in the drawing thread

    def enter(self, text: str, *, steer: bool = False) -> None:
        """A text was sent: an answer where one is asked for, else a question; with `steer` one that the running question makes way for."""
        with self._wake:
            if self._asking:
                self._answers.append(text)
            elif text.strip():
                (self._steering if steer and self._busy else self._questions).append(text)
            self._wake.notify()

    @property
    def asking(self) -> bool:
        """Whether a call waits for a yes."""
        return bool(self._asking)

    def interrupt(self, typed: bool) -> bool:
        """Ctrl-C: stops what runs, else clears what is `typed` (True is returned), else leaves where it was pressed twice."""
        now, before = time.monotonic(), self._pressed
        self._pressed = now
        if self._busy:
            if now - self._stopped > PART_OF_IT:
                if self._told:  # it was told before, and has not stopped
                    self._put(ExitRequested(INTERRUPTED), first=True)
                self._stopped, self._told = now, True
                signal.pthread_kill(self._main, signal.SIGINT)
            return False
        if now - self._stopped <= PART_OF_IT:
            return False
        if typed:
            self._pressed = float("-inf")
            return True
        if now - before <= AGAIN:
            self._put(ExitRequested(INTERRUPTED), first=True)
        else:
            self._note(HINT)
        return False

    def leave(self) -> None:
        """Ctrl-D on an empty line: ends, after what was asked before."""
        self._put(EOFError())

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

    def _put(self, one: BaseException, *, first: bool = False) -> None:
        with self._wake:
            (self._questions.appendleft if first else self._questions.append)(one)
            self._wake.notify()

    def _begin_asking(self, prompt: str) -> None:
        buffer = self._session.default_buffer
        self._draft, self._asking = buffer.document, prompt
        buffer.reset()
        self._session.app.invalidate()

    def _end_asking(self) -> None:
        self._asking = ""
        self._session.default_buffer.set_document(self._draft)
        self._draft = Document()
        self._session.app.invalidate()


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
