"""Readers of other people's suites: ``./reader.py``, ``package.module``, or an entry point; what a reader is, says `Reader`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from agenttune.agent.toolbox.loading import load_file, load_module
from agenttune.errors import UserError
from agenttune.values.case import Case
from agenttune.values.trajectory import Reject

ENTRY_POINTS = "agenttune.suites"
# ``read(path, protocol)``: the cases of a file under a protocol (None: the reader's own choice), and a `Reject` for what is none.
Reader = Callable[[Path, str | None], Iterable[Case | Reject]]


def find(name: str) -> Reader | None:
    """The function ``read`` of a Python file, an entry point or a module; None where there is no such thing.

    Raises `UserError` for one that cannot be loaded or has no ``read``.
    """
    if name.endswith(".py"):
        return _read(load_file(name), name) if Path(name).is_file() else None
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        return _read(load_module(entry.module), name)
    return _read(load_module(name), name) if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", name) and _exists(name) else None


def _exists(module: str) -> bool:
    """Whether there is such a module; its package is loaded to see."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _read(module: object, name: str) -> Reader:
    found = getattr(module, "read", None)
    if not callable(found):
        raise UserError(f"the suite reader {name} has no function read(path, protocol)")
    return cast(Reader, found)
