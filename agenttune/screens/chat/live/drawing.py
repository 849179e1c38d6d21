"""The thread that draws and reads keys: whole lines go above the input line for good, what is below is drawn again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from agenttune.screens.chat.keyboard import kept_history
from agenttune.screens.chat.live.output import LiveOutput
from agenttune.screens.chat.live.reflow import more_rows, wraps_again

FRAME = 0.05  # seconds between two drawings
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
Result = TypeVar("Result")


class Drawing:
    """Draws what `output` is written, and the `message` before the input line whenever `changing` gives something else.

    `failed` is given whatever ends the thread against its will.
    """

    def __init__(
        self,
        output: LiveOutput,
        message: Callable[[], StyleAndTextTuples],
        changing: Callable[[], object],
        failed: Callable[[BaseException], None],
        *,
        history: Path | None = None,
        input: Input | None = None,
        terminal: Output | None = None,
    ) -> None:
        self._output, self._message, self._changing, self._failed = output, message, changing, failed
        self._history, self._input, self._terminal = history, input, terminal
        self.drawn = 0  # how often lines were written above the input line
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._session: PromptSession[str]

    def start(self, keys: KeyBindings, completer: Completer | None) -> None:
        """Takes the terminal; returns once keys are read."""
        self._thread = threading.Thread(target=self._run, args=(keys, completer), name="agenttune-screen", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Gives the terminal back, with everything written."""
        self.call(lambda: self._session.app.exit(result="") if self._session.app.is_running else None)
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def call(self, work: Callable[[], Result]) -> None:
        """Does something in the drawing thread, where there is one."""
        if self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # its loop has ended meanwhile
                self._loop.call_soon_threadsafe(work)

    def away(self, work: Callable[[], Result]) -> Result:
        """Does something that needs the terminal for itself, such as an editor; the input line comes back after it."""

        async def alone() -> Result:
            return await run_in_terminal(work, in_executor=True)

        return asyncio.run_coroutine_threadsafe(alone(), self._loop).result()

    @property
    def buffer(self) -> Buffer:
        """What is being typed; for the drawing thread alone."""
        return self._session.default_buffer

    def again(self) -> None:
        """Draws what is below again, soon."""
        self._session.app.invalidate()

    def _run(self, keys: KeyBindings, completer: Completer | None) -> None:
        try:
            asyncio.run(self._serve(keys, completer))
        except BaseException as error:  # whatever it was, the main thread must not wait for a key for ever
            self._failed(error)
        finally:
            self._ready.set()

    async def _serve(self, keys: KeyBindings, completer: Completer | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = PromptSession(
            self._message,
            history=kept_history(self._history) if self._history else None,
            completer=completer,
            complete_while_typing=False,
            key_bindings=keys,
            multiline=True,  # so that a paste keeps its lines; Enter still sends
            prompt_continuation="  ",
            enable_suspend=True,
            style=STYLE,
            input=self._input,
            output=self._terminal,
        )
        self._session.app.min_redraw_interval = FRAME
        self._follow_resizes()
        ticker = asyncio.ensure_future(self._tick())
        try:
            await self._session.prompt_async(handle_sigint=False, pre_run=self._ready.set)
        finally:
            ticker.cancel()
            self._write(self._output.take(all=True))

    async def _tick(self) -> None:
        """Writes what waits, and draws the tail and the clock: so many times a second at most, whatever is written."""
        last: object = None
        while True:
            await asyncio.sleep(FRAME)
            self._write_above()
            now = self._output.tail, self._changing()
            if now != last:
                last = now
                self.again()

    def _follow_resizes(self) -> None:
        """Where lines were wrapped again, erasing begins where they begin now; prompt_toolkit begins where they began."""
        app = self._session.app
        resized = app._on_resize

        def follow() -> None:
            self._up_to_the_first_row()
            resized()

        setattr(app, "_on_resize", follow)  # noqa: B010 - it has no public name

    def _up_to_the_first_row(self) -> None:
        app, screen = self._session.app, self._session.app.renderer.last_rendered_screen
        if screen is not None and wraps_again():
            cursor = app.renderer._cursor_pos
            app.output.cursor_up(more_rows(screen, (cursor.x, cursor.y), app.output.get_size().columns))

    def _write_above(self) -> None:
        """Whole lines go above the input line, which is drawn again below them. The terminal stays raw: what is typed is never echoed."""
        app = self._session.app
        away = getattr(app, "_running_in_terminal", False)  # an editor has the terminal, or the program sleeps
        if self._output.waiting and app.is_running and not away:
            self._up_to_the_first_row()
            app.renderer.erase()
            self._write(self._output.take())
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
