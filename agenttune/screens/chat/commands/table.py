"""All commands by name, and how a line becomes one."""

from __future__ import annotations

from agenttune.errors import UserError, nearest
from agenttune.screens.blocks import block, note
from agenttune.screens.chat.commands import keep, look, revise
from agenttune.screens.chat.commands.base import Command, CommandContext, ExitRequested
from agenttune.screens.chat.live.keys import KEYS


def run_command(line: str, context: CommandContext) -> None:
    """Runs ``/name rest``. Raises `UserError` for an unknown one, `ExitRequested` for ``/quit``. A session that it changed is kept."""
    name, _, rest = line[1:].partition(" ")
    known = COMMANDS.get(ALIASES.get(name, name))
    if known is None:
        raise UserError(f"there is no command /{name}{nearest(name, COMMANDS)}; /help lists them, and //{name} is sent as text")
    if rest.strip() and not known.usage:
        raise UserError(f"/{name} takes nothing after it")
    before = context.conversation.trajectory
    known.run(context, rest.strip())
    if context.conversation.trajectory is not before:
        context.session.keep(context.conversation)


def _help(context: CommandContext, rest: str) -> None:
    for name, one in COMMANDS.items():
        block(context.console, f"/{name}", f"{one.usage + ': ' if one.usage else ''}{one.help}")
    for line in KEYS:
        note(context.console, line)


def _quit(context: CommandContext, rest: str) -> None:
    raise ExitRequested


COMMANDS = {
    "help": Command(usage="", help="this list", run=_help),
    "tools": Command(usage="", help="the tools the model may call", run=look.tools),
    "system": Command(usage="[TEXT]", help="the system text, or another one from now on; - takes it away", run=revise.system),
    "model": Command(usage="", help="what answers: model, adapter, formats, context", run=look.model),
    "adapter": Command(
        usage="[off|on|DIR]",
        help="lets the base alone or another adapter answer; the last question is answered by both",
        run=revise.adapter,
        words=("off", "on"),
        paths=True,
    ),
    "steps": Command(usage="[N]", help="how many replies one question may take", run=revise.steps),
    "temp": Command(usage="[T]", help="the temperature; 0 takes the likeliest token", run=revise.temperature),
    "undo": Command(usage="", help="takes the last question and what came of it back", run=revise.undo),
    "retry": Command(usage="", help="asks the last question again", run=revise.retry),
    "edit": Command(usage="[TEXT]", help="another answer in the place of the last, in your editor or from here", run=revise.edit),
    "rewind": Command(usage="N", help="back to the end of round N; 0 is the beginning", run=revise.rewind),
    "good": Command(usage="[WHY]", help="the last round was good", run=revise.good),
    "bad": Command(usage="[WHY]", help="the last round was bad: it is not trained", run=revise.bad),
    "show": Command(usage="[N]", help="round N in full, or the last", run=look.show),
    "context": Command(usage="", help="what fills the context", run=look.context_parts),
    "tokens": Command(usage="", help="what the last round took", run=look.tokens),
    "stats": Command(usage="", help="steps, tokens and seconds so far", run=look.stats),
    "trace": Command(usage="", help="where this session is kept", run=look.trace),
    "save": Command(usage="FILE", help="the conversation as one line of JSON (a trajectory)", run=keep.save, paths=True),
    "load": Command(usage="SESSION", help="goes on with another session: an id, its beginning, or a file", run=keep.load, paths=True),
    "sessions": Command(usage="", help="the newest sessions", run=keep.sessions),
    "export": Command(
        usage="md|json|sft [FILE]", help="for a reader, a program, or a trainer", run=keep.export, words=tuple(keep.FORMS), paths=True
    ),
    "reset": Command(usage="", help="begins a new conversation", run=revise.reset),
    "quit": Command(usage="", help="ends", run=_quit),
}
ALIASES = {"exit": "quit", "q": "quit", "?": "help", "clear": "reset", "new": "reset"}
