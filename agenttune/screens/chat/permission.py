"""The question that a call with an effect puts to a person, as a plain line on a terminal."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from agenttune.agent.toolbox.permissions import Ask, Effect, Permission, PermissionRequest
from agenttune.screens.blocks import block, note


def terminal_ask(console: Console) -> Ask | None:
    """Asks on this terminal; None where nobody sits at one."""
    if not (sys.stdin.isatty() and console.is_terminal):
        return None

    def ask(request: PermissionRequest) -> Permission:
        console.out("", highlight=False)  # below the line that says what is running
        show_request(console, request)
        return permission_said(sys.stdin.readline())

    return ask


def show_request(console: Console, request: PermissionRequest) -> None:
    """What is to be done, with its exact arguments, and what can be answered."""
    block(console, "allow?", f"{request.tool} ({request.effect}): {request.reason}")
    block(console, "with", json.dumps(request.arguments, ensure_ascii=False))
    wider = "" if request.effect is Effect.DESTRUCTIVE else "always (this tool), all (this session), "
    note(console, f"run it? yes, {wider}or no and why: [no]")


class CountedAsk:
    """Answers as `ask` does, or says no where there is nobody, and counts the refusals."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.refused = 0

    def __call__(self, request: PermissionRequest) -> Permission:
        """See `Ask`."""
        answer = self._ask(request)
        self.refused += not answer.allowed
        return answer


def permission_said(line: str) -> Permission:
    """What a typed line means; anything that is not a plain yes is a no, and its text the reason."""
    words = line.strip()
    first, _, rest = words.partition(" ")
    if not rest and first.lower() in ("y", "yes"):
        return Permission(allowed=True)
    if not rest and first.lower() in ("always", "all"):
        return Permission(allowed=True, remember="tool" if first.lower() == "always" else "session")
    said = rest if first.lower().rstrip(",:") in ("n", "no") else words
    return Permission(allowed=False, because=f"the person said no: {said.strip()}" if said.strip() else "the person said no")
