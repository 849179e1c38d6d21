"""A number of things in words: ``1 record``, ``2,000 records``."""

from __future__ import annotations


def counted(count: int, one: str, several: str = "") -> str:
    """`count` with the noun for one thing, or that for several (by default with an s)."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
