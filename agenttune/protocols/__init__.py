"""One wire protocol a file: how a step is written, read back, and shown to a model beside its tools."""

from __future__ import annotations

from agenttune.errors import UserError, nearest
from agenttune.protocols.base import Protocol
from agenttune.protocols.hermes import HERMES
from agenttune.protocols.native import FAMILIES, NATIVE, NativeProtocol
from agenttune.protocols.react import REACT
from agenttune.protocols.react_zh import REACT_ZH

__all__ = ["NATIVE", "NATIVES", "PROTOCOLS", "NativeProtocol", "Protocol", "check", "find", "get"]

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (REACT, REACT_ZH, HERMES)}
NATIVES: dict[str, NativeProtocol] = {family.name: family for family in FAMILIES}


def get(name: str) -> Protocol:
    """The protocol called `name`; ``native/FAMILY`` for a family's own. Raises `UserError` for an unknown one, and for ``native`` alone,
    whose family only a model's template tells (`data.native.resolve`)."""
    found = find(name)
    if found is None:
        check(name)
        raise UserError(f"the protocol {NATIVE} is a model's own: name the model, or its family: {', '.join(NATIVES)}")
    return found


def find(name: str) -> Protocol | None:
    """The protocol of that name; None for one that is not known here, as a sample from elsewhere may name."""
    return PROTOCOLS.get(name) or NATIVES.get(name)


def check(name: str) -> None:
    """Raises `UserError` for what is neither a protocol's name nor ``native``."""
    if name != NATIVE and find(name) is None:
        raise UserError(f'there is no protocol "{name}"{nearest(name, [*PROTOCOLS, NATIVE])}; known: {", ".join(PROTOCOLS)}, {NATIVE}')
