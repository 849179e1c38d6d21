"""What is made of a tool list is made once for the thousands of records that share the list."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from agenttune.values.trajectory import ToolSpec

V = TypeVar("V")
_REMEMBERED = 512


class ToolCache(Generic[V]):
    """Values by tool list and one more key. Readers give the same tools for the same text; they are kept here, so that an id is its own."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[ToolSpec, ...], V]] = {}

    def get(self, tools: Sequence[ToolSpec], key: Hashable, make: Callable[[], V]) -> V:
        """The value that `make` gave for these tools and this key, made now if it is not known."""
        place = (key, *map(id, tools))
        known = self._known.get(place)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[place] = (tuple(tools), make())
        return known[1]
