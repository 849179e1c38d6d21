"""What a command is, and what it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console

from agenttune.agent.agent import Agent
from agenttune.agent.conversation import Conversation
from agenttune.errors import UserError
from agenttune.screens.chat.session_file import SessionFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What a command works on.

    `ask` sends a question, `compare` has the last one answered by another agent too. `agents` gives the agent with another adapter (empty:
    the base alone); None where there is no other. `edit_text` lets a person change a text in their editor; None where they cannot.
    """

    conversation: Conversation
    console: Console
    session: SessionFile
    ask: Callable[[str], None]
    compare: Callable[[Agent], None]
    agents: Callable[[str], Agent] | None = None
    edit_text: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: what may follow its name, one line of help, what it does with the text after its name, and words to complete."""

    usage: str
    help: str
    run: Callable[[CommandContext, str], None]
    words: Iterable[str] = ()
    paths: bool = False


INTERRUPTED = 130  # the exit code of a program that was interrupted


class ExitRequested(Exception):
    """The person wants to go, with this exit code."""

    def __init__(self, code: int = 0) -> None:
        super().__init__()
        self.code = code


def whole(text: str, what: str, least: int) -> int:
    """A whole number that a person typed. Raises `UserError`."""
    if not text.lstrip("-").isdecimal() or int(text) < least:
        raise UserError(f"{what} takes a whole number of {least} or more, not {text or 'nothing'}")
    return int(text)


def counted(count: int, what: str) -> str:
    """``1 round``, ``2 rounds``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def short(text: str, most: int = 60) -> str:
    """A text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
