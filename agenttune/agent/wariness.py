"""Why a person is asked before a call although its tool may be allowed: something of the open web was read before.

A page can hold instructions. They mean nothing to the parser, but the model may follow them; so what it does after it has read one is put
to a person: whatever changes something, and whatever fetches an address that nobody gave it, because an address can carry away what was
said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from agenttune.agent.toolbox.permissions import Effect
from agenttune.values.trajectory import Json, Malformed, ToolCall, Trajectory

_ADDRESS = re.compile(r"\b(?:https?|ftp|wss?)://[^\s\"'<>]+", re.IGNORECASE)


def why_asked(call: ToolCall, does: Effect, trajectory: Trajectory) -> str:
    """A sentence for a person about this call, the next one of `trajectory`; empty where nothing speaks against it.

    Nothing does before an observation of the web was read. Then an effect does, and so does an address in the arguments that stands
    word for word neither in what the user wrote nor in a search result (what was answered to a call that named no address itself).
    """
    if not any(seen.provenance == "web" for step in trajectory.steps() for seen in step.observations):
        return ""
    if not does.reads:
        return "text from the web was read before, and may have asked for this"
    known = _given_addresses(trajectory)
    strange = [one for one in addresses(call.arguments) if one not in known]
    return f"neither you nor a search named the address {strange[0]}, and text from the web was read before" if strange else ""


def addresses(value: Json) -> list[str]:
    """The addresses in the texts of a value, in order."""
    return [found.group().rstrip(".,;)]") for text in _texts(value) for found in _ADDRESS.finditer(text)]


def _given_addresses(trajectory: Trajectory) -> frozenset[str]:
    """Those that the user wrote, and those of search results."""
    found: set[str] = set()
    for one in trajectory.rounds:
        found |= set(addresses(one.user))
        for step in one.steps:
            for call, seen in zip(step.calls, step.observations, strict=False):
                if isinstance(call, Malformed) or not addresses(call.arguments):
                    found |= set(addresses(seen.text))
    return frozenset(found)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one)
