"""What a line that begins with a slash does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agenttune.agent.conversation import Conversation
from agenttune.errors import UserError, nearest
from agenttune.screens.blocks import block, note
from agenttune.screens.show.views import show_round, show_tools

KEYS = "Enter sends, Alt-Enter begins a new line, Tab completes a command, //text sends a text that begins with a slash."


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What a command works on. `ask` sends a question."""

    conversation: Conversation
    console: Console
    ask: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: what may follow its name, one line of help, and what it does with the text after its name."""

    usage: str
    help: str
    run: Callable[[CommandContext, str], None]


class ExitRequested(Exception):
    """The person wants to go."""


def run_command(line: str, context: CommandContext) -> None:
    """Runs ``/name rest``. Raises `UserError` for an unknown one, `ExitRequested` for ``/exit``."""
    name, _, rest = line[1:].partition(" ")
    known = COMMANDS.get(ALIASES.get(name, name))
    if known is None:
        raise UserError(f"there is no command /{name}{nearest(name, COMMANDS)}; /help lists them, and //{name} is sent as text")
    if rest.strip() and not known.usage:
        raise UserError(f"/{name} takes nothing after it")
    known.run(context, rest.strip())


def _help(context: CommandContext, rest: str) -> None:
    for name, one in COMMANDS.items():
        block(context.console, f"/{name}", f"{one.usage + ': ' if one.usage else ''}{one.help}")
    note(context.console, KEYS)
    note(context.console, "Ctrl-C stops a step, Ctrl-D ends.")


def _reset(context: CommandContext, rest: str) -> None:
    context.conversation.reset()
    note(context.console, "a new conversation")


def _tools(context: CommandContext, rest: str) -> None:
    specs = context.conversation.agent.toolbox.specs
    show_tools(context.console, specs)
    if not specs:
        note(context.console, "no tools; start with --tools a,b,c (agenttune tools list shows them)")


def _undo(context: CommandContext, rest: str) -> None:
    taken = context.conversation.undo()
    note(context.console, "there is nothing to take back" if taken is None else f"taken back: {_short(taken)}")


def _retry(context: CommandContext, rest: str) -> None:
    question = context.conversation.retry()
    if question is None:
        note(context.console, "nothing was asked yet")
        return
    if context.conversation.sampling.temperature == 0:
        note(context.console, "(at temperature 0 a whole answer comes out the same; --temperature changes that)")
    note(context.console, f"asked again: {_short(question)}")
    context.ask(question)


def _save(context: CommandContext, rest: str) -> None:
    if not rest:
        raise UserError("/save needs a file name")
    context.conversation.save(Path(rest))
    note(context.console, f"saved as {rest}; agenttune convert trajectory {rest} makes a sample of it")


def _system(context: CommandContext, rest: str) -> None:
    if rest:
        context.conversation.set_system("" if rest == "-" else rest)
    text = context.conversation.trajectory.system
    block(context.console, "system", text) if text else note(context.console, "no system text")


def _show(context: CommandContext, rest: str) -> None:
    rounds = context.conversation.trajectory.rounds
    if not rounds:
        note(context.console, "there is nothing to show")
        return
    show_round(context.console, rounds[-1])


def _stats(context: CommandContext, rest: str) -> None:
    total = context.conversation.total
    note(context.console, f"{total.rounds} round{'' if total.rounds == 1 else 's'}, {total.sentence()}", style="")
    for what, counts in (("guards", context.conversation.guards), ("repairs", context.conversation.repairs)):
        if counts:
            note(context.console, f"{what}: {', '.join(f'{name} {count}' for name, count in sorted(counts.items()))}", style="")


def _exit(context: CommandContext, rest: str) -> None:
    raise ExitRequested


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


COMMANDS = {
    "help": Command(usage="", help="this list", run=_help),
    "tools": Command(usage="", help="the tools the model may call", run=_tools),
    "system": Command(usage="[TEXT]", help="the system text, or another one from now on; - takes it away", run=_system),
    "undo": Command(usage="", help="takes the last question and what came of it back", run=_undo),
    "retry": Command(usage="", help="asks the last question again", run=_retry),
    "reset": Command(usage="", help="begins a new conversation", run=_reset),
    "show": Command(usage="", help="the last round in full", run=_show),
    "stats": Command(usage="", help="steps, tokens and seconds so far", run=_stats),
    "save": Command(usage="FILE", help="the conversation as one line of JSON (a trajectory)", run=_save),
    "exit": Command(usage="", help="ends", run=_exit),
}
ALIASES = {"quit": "exit", "q": "exit", "?": "help", "clear": "reset"}
