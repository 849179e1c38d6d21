"""The suite's own tables, read from the text files of ``evals/desk/tables``."""

from __future__ import annotations

import functools
import zlib

from agenttune.files import shipped

TABLES = shipped("evals") / "desk" / "tables"


@functools.cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of ``tables/name.txt``: columns apart by tabs, lines that begin with ``# `` left out."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line.strip() and not line.startswith("# "))


@functools.cache
def table(name: str) -> dict[str, tuple[str, ...]]:
    """The rows of a table by their first column in small letters."""
    return {row[0].lower(): row for row in rows(name)}


@functools.cache
def by_chinese(name: str) -> dict[str, tuple[str, ...]]:
    """The rows of a table by their last column, the Chinese name."""
    return {row[-1]: row for row in rows(name)}


@functools.cache
def lists() -> dict[str, tuple[str, ...]]:
    """The word lists of ``tables/lists.txt`` and ``tables/lists_*.txt``."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(TABLES.glob("lists*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                name, _, values = line.partition(": ")
                assert name not in found, f"{path.name}: {name} stands twice"
                found[name] = tuple(value.strip() for value in values.split(" | "))
    return found


def fixed(text: str, below: int) -> int:
    """A number from 0 to below - 1 that is the same for the same text everywhere."""
    return zlib.crc32(text.lower().encode()) % below
