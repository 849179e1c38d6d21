"""The conversation line by line: what is asked, what is shown, what is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, StopReason
from agenttune.errors import UserError
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.commands.base import INTERRUPTED, CommandContext, ExitRequested, counted
from agenttune.screens.chat.commands.table import run_command
from agenttune.screens.chat.interrupts import DebouncedInterrupts
from agenttune.screens.chat.keyboard import Keyboard
from agenttune.screens.chat.live.ctrl_c import AGAIN, HINT
from agenttune.screens.chat.live.screen import LiveScreen
from agenttune.screens.chat.session_file import NOT_KEPT, SessionFile
from agenttune.screens.chat.trace import Trace


def talk(
    conversation: Conversation,
    questions: Keyboard,
    console: Console,
    assumed: Sequence[str] = (),
    *,
    session: SessionFile = NOT_KEPT,
    agents: Callable[[str], Agent] | None = None,
) -> int:
    """Asks until there are no more questions. Returns 0; 130 where a person left by pressing Ctrl-C twice.

    The sentences of `assumed` are said first. `session` keeps the conversation after every round; `agents` gives the agent with another
    adapter (see `CommandContext`). `questions` may be a `LiveScreen`, which then has the terminal until the end.
    """
    live = questions if isinstance(questions, LiveScreen) else None
    show = RoundView(conversation=conversation, console=console, session=session, live=live)
    context = CommandContext(
        conversation=conversation,
        console=console,
        session=session,
        ask=show.ask,
        compare=show.compare,
        agents=agents,
        edit_text=live.edit_text if live is not None else None,
    )
    if live is not None:
        live.attend(conversation)
    begun = conversation.trajectory
    try:
        with live or contextlib.nullcontext():
            return _until_left(questions, context, assumed)
    finally:
        if conversation.trajectory is not begun:  # it was kept after every round, unless a Ctrl-C came just then
            with contextlib.suppress(UserError, OSError):  # which was said after the round
                session.keep(conversation)


def _until_left(questions: Keyboard, context: CommandContext, assumed: Sequence[str]) -> int:
    _greet(context.conversation, context.console, assumed)
    pressed = float("-inf")
    with DebouncedInterrupts() as interrupts:
        while True:
            try:
                _turn(questions, context)
            except EOFError:
                return 0
            except ExitRequested as left:
                return left.code
            except KeyboardInterrupt:
                interrupts.seen()
                before, pressed = pressed, time.monotonic()
                if pressed - before <= AGAIN:
                    return INTERRUPTED
                note(context.console, HINT)


def _turn(questions: Keyboard, context: CommandContext) -> None:
    """One line. What a person must change is said, and the conversation goes on."""
    try:
        line = questions.ask().strip()
        if line and questions.echo:
            block(context.console, "you", line)
        _one(line, context)
    except UserError as error:
        note(context.console, str(error), style="red")
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader has gone: nothing to go on for
            raise
        note(context.console, f"{error.filename or 'the system'}: {error.strerror or error}", style="red")


def _one(line: str, context: CommandContext) -> None:
    if line.startswith("//"):
        context.ask(line[1:])
    elif line.startswith("/"):
        run_command(line, context)
    elif line:
        context.ask(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """Questions on the screen: what comes of them is shown, kept, and summed up in a line."""

    conversation: Conversation
    console: Console
    session: SessionFile
    live: LiveScreen | None = None

    def ask(self, text: str) -> None:
        """Asks, and shows what comes of it."""
        talk, console, agent = self.conversation, self.console, self.conversation.agent
        steered = self.live.steered if self.live is not None else None

        def run(show: Callable[[AgentEvent], None]) -> StopReason:
            def watch(event: AgentEvent) -> None:
                self.session.watch(talk, event)
                show(event)

            return talk.ask(text, watch, steered=steered)

        stop = self._shown(agent, run)
        self.session.keep(talk)
        if talk.left_out:
            note(console, f"the round before was left out: {agent.protocol.name} cannot hold it")
        if stop == "malformed" and agent.model.card is None:
            note(console, f"(a model that was not tuned for {agent.protocol.name} may do better with another --protocol, e.g. hermes)")
        note(console, talk.last.sentence())

    def compare(self, agent: Agent) -> None:
        """Has another agent answer the last question too, and shows what comes of it."""
        note(self.console, f"the last question, answered by {agent.answered_by}:")
        self._shown(agent, lambda show: self.conversation.compare(agent, show))
        self.session.keep(self.conversation)
        note(self.console, self.conversation.last.sentence())

    def _shown(self, agent: Agent, run: Callable[[Callable[[AgentEvent], None]], StopReason]) -> StopReason:
        """What a run tells, on the screen."""
        screen = Trace(self.console, agent, live=self.live)
        screen.start()
        with self.live.working() if self.live is not None else contextlib.nullcontext():
            try:
                return run(screen.on)
            finally:
                screen.close()


def _greet(conversation: Conversation, console: Console, assumed: Sequence[str]) -> None:
    agent = conversation.agent
    names = ", ".join(spec.name for spec in agent.toolbox.specs) or "none"
    formats = f", {agent.protocol.name}, template {agent.template.name}"
    note(console, f"{agent.answered_by}{formats}, tools: {names}", style="bold")
    for sentence in assumed:
        note(console, sentence)
    rounds = len(conversation.trajectory.rounds)
    if rounds:
        note(console, f"going on with {conversation.trajectory.id}: {counted(rounds, 'round')}; /show shows the last")
    note(console, "/help lists the commands; Ctrl-C stops a step, Ctrl-D ends")
