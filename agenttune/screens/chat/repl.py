"""The conversation line by line: what is asked, what is shown, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.agent.events import AgentEvent, StopReason
from agenttune.errors import UserError
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.commands.base import CommandContext, ExitRequested
from agenttune.screens.chat.commands.table import run_command
from agenttune.screens.chat.interrupts import DebouncedInterrupts
from agenttune.screens.chat.keyboard import Keyboard
from agenttune.screens.chat.session_file import SessionFile
from agenttune.screens.chat.trace import Trace

NOT_KEPT = SessionFile(None)


def talk(
    conversation: Conversation,
    questions: Keyboard,
    console: Console,
    assumed: Sequence[str] = (),
    *,
    session: SessionFile = NOT_KEPT,
    agents: Callable[[str], Agent] | None = None,
) -> int:
    """Asks until there are no more questions. Returns 0. The sentences of `assumed` are said first.

    `session` keeps the conversation after every round; `agents` gives the agent with another adapter (see `CommandContext`).
    """
    context = CommandContext(
        conversation=conversation,
        console=console,
        session=session,
        ask=lambda text: _ask(conversation, console, session, text),
        compare=lambda agent: _compare(conversation, console, session, agent),
        agents=agents,
    )
    _greet(conversation, console, assumed)
    with DebouncedInterrupts() as interrupts:
        while True:
            try:
                _turn(questions, context)
            except (EOFError, ExitRequested):
                return 0
            except KeyboardInterrupt:
                interrupts.seen()
                note(console, "(Ctrl-D or /quit ends; Ctrl-C stops a step)")


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


def _ask(conversation: Conversation, console: Console, session: SessionFile, text: str) -> None:
    agent = conversation.agent
    stop = _shown(console, agent, lambda show: conversation.ask(text, show))
    session.keep(conversation)
    if conversation.left_out:
        note(console, f"the unanswered round before was left out: {agent.protocol.name} cannot go on from it")
    if stop == "malformed" and agent.model.card is None:
        note(console, f"(a model that was not tuned for {agent.protocol.name} may do better with another --protocol, e.g. hermes)")
    note(console, conversation.last.sentence())


def _compare(conversation: Conversation, console: Console, session: SessionFile, agent: Agent) -> None:
    note(console, f"the last question, answered by {agent.answered_by}:")
    _shown(console, agent, lambda show: conversation.compare(agent, show))
    session.keep(conversation)
    note(console, conversation.last.sentence())


def _shown(console: Console, agent: Agent, run: Callable[[Callable[[AgentEvent], None]], StopReason]) -> StopReason:
    """What a run tells, on the screen."""
    screen = Trace(console, agent)
    screen.start()
    try:
        return run(screen.on)
    finally:
        screen.close()


def _greet(conversation: Conversation, console: Console, assumed: Sequence[str]) -> None:
    agent = conversation.agent
    names = ", ".join(spec.name for spec in agent.toolbox.specs) or "none"
    formats = f", {agent.protocol.name}, template {agent.template.name}"
    note(console, f"{agent.model.name}{formats}, tools: {names}", style="bold")
    for sentence in assumed:
        note(console, sentence)
    rounds = len(conversation.trajectory.rounds)
    if rounds:
        note(console, f"going on with {conversation.trajectory.id}: {rounds} round{'' if rounds == 1 else 's'}; /show shows the last")
    note(console, "/help lists the commands; Ctrl-C stops a step, Ctrl-D ends")
