"""One wire protocol a file: how a step is written, read back, and shown to a model beside its tools."""

from __future__ import annotations

from agenttune.errors import UserError, nearest
from agenttune.protocols.base import Protocol
from agenttune.protocols.hermes import HERMES
from agenttune.protocols.react import REACT
from agenttune.protocols.react_zh import REACT_ZH

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (REACT, REACT_ZH, HERMES)}


def get(name: str) -> Protocol:
    """The protocol called `name`. Raises `UserError` for an unknown one."""
    if name not in PROTOCOLS:
        raise UserError(f'there is no protocol "{name}"{nearest(name, PROTOCOLS)}; known: {", ".join(PROTOCOLS)}')
    return PROTOCOLS[name]
