"""In which protocol and template a model is spoken to: what its card says, what a person says, and what is assumed where nobody does."""

from __future__ import annotations

from agenttune import protocols
from agenttune.values.adapter import Card

PROTOCOL, TEMPLATE = "react", "auto"


def choose(card: Card | None, protocol: str | None, template: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Protocol, template, and sentences about what a person did not say: the card's, and where there is none, ours.

    >>> choose(None, "hermes", None)
    ('hermes', 'auto', ("no card of ours: assumed the tokenizer's own chat template (--template)",))
    """
    if card is not None:
        names = (("--protocol", protocol, card.protocol), ("--template", template, card.template))
        other = [one for one in names if one[1] not in (None, one[2], one[2].partition("/")[0])]
        told = tuple(f"{option} {given} in place of the card's {own}" for option, given, own in other)
        return protocol or card.protocol, template or card.template, told
    missing = []
    if protocol is None:
        missing.append(f"the protocol {PROTOCOL} (--protocol: {', '.join(protocols.PROTOCOLS)})")
    if template is None:
        missing.append("the tokenizer's own chat template (--template)")
    told = (f"no card of ours: assumed {' and '.join(missing)}",) if missing else ()
    return protocol or PROTOCOL, template or TEMPLATE, told
