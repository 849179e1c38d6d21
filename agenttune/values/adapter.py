"""The card an adapter carries: what it was trained on and how it must be spoken to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Names and data, never an import path. Saved as ``agenttune.json`` in the adapter's folder.

    `template_options` are given to the template whenever it is used; `observation_role` is where it shows tools' answers.
    `argument_orders` gives, by tool name, the orders in which trained calls name their arguments.
    `base` is the model as it was named; `base_fingerprint` a hash of its shape and embedding, which tells another base apart.
    """

    base: str
    base_fingerprint: str
    protocol: str
    template: str
    method: str
    stops: tuple[str, ...] = ()
    template_options: Mapping[str, Any] = field(default_factory=dict)
    observation_role: str = ""
    argument_orders: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    length: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
