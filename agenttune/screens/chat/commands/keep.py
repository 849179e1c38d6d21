"""Commands that put a session away, or fetch one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from agenttune.errors import Refusal, UserError, nearest
from agenttune.files import replacing
from agenttune.protocols.base import write
from agenttune.screens.blocks import note
from agenttune.screens.chat.commands.base import CommandContext, counted, short
from agenttune.screens.chat.session_file import OWNER_FILE, find_session, read_session, sessions_folder, summaries
from agenttune.screens.chat.transcript import transcript
from agenttune.values.sample import sample_to_json
from agenttune.values.trajectory_json import trajectory_to_json

LISTED = 15


def save(context: CommandContext, rest: str) -> None:
    """The conversation as a file of the person's own."""
    if not rest:
        raise UserError("/save needs a file name")
    context.conversation.save(Path(rest))
    note(context.console, f"saved as {rest}; agenttune convert trajectory {rest} makes a sample of it")


def load(context: CommandContext, rest: str) -> None:
    """Another session in the place of this one."""
    if not rest:
        raise UserError("/load needs a session; /sessions lists them")
    path = find_session(rest, sessions_folder())
    context.conversation.go_on(read_session(path), keep_id=path.parent == sessions_folder())
    count = len(context.conversation.trajectory.rounds)
    note(context.console, f"going on with {path.stem}: {counted(count, 'round')}; /show shows the last")


def sessions(context: CommandContext, rest: str) -> None:
    """The newest sessions."""
    found = list(summaries(sessions_folder(), LISTED))
    for one in found:
        note(context.console, f"{one.path.stem}  {one.rounds:>3}  {short(one.question)}", style="")
    note(context.console, "no session was kept yet" if not found else "/load ID goes on with one")


def export(context: CommandContext, rest: str) -> None:
    """The conversation for a reader, a program, or a trainer."""
    form, _, name = rest.partition(" ")
    if form not in FORMS:
        raise UserError(f"/export takes {', '.join(FORMS)}, and a file{nearest(form, FORMS)}")
    if not context.conversation.trajectory.rounds:
        raise UserError("there is nothing to export")
    ending, text = FORMS[form]
    path = Path(name.strip() or f"{context.conversation.trajectory.id}.{ending}").expanduser()
    if path.exists():
        raise UserError(f"{path} exists already; choose another name")
    written = text(context)
    with replacing(path, permissions=OWNER_FILE) as file:
        file.write(written)
    note(context.console, f"exported as {path}")


def _json(context: CommandContext) -> str:
    return json.dumps(trajectory_to_json(context.conversation.trajectory), ensure_ascii=False, indent=1) + "\n"


def _sft(context: CommandContext) -> str:
    try:
        sample = write(context.conversation.trajectory, context.conversation.agent.protocol)
    except Refusal as error:
        raise UserError(f"this conversation is no sample: {error.sentence}") from error
    return json.dumps(sample_to_json(sample), ensure_ascii=False) + "\n"


FORMS: Mapping[str, tuple[str, Callable[[CommandContext], str]]] = {
    "md": ("md", lambda context: transcript(context.conversation.trajectory)),
    "json": ("json", _json),
    "sft": ("jsonl", _sft),
}
