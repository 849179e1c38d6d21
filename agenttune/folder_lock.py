"""One writer a folder: the lock that runs hold while they write."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agenttune.errors import UserError

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`folder`, which must be there, held by one process; released by the system when it dies. Raises `UserError` where another has it."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with open(folder / LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another run is writing to {folder}") from error
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / LOCK)


@contextlib.contextmanager
def made_and_locked(folder: Path) -> Iterator[None]:
    """`folder`, made where it is missing, as `locked`; one that was made and in which nothing was left goes again. Raises `UserError`."""
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    try:
        with locked(folder):
            yield
    finally:
        if not there:
            with contextlib.suppress(OSError):
                folder.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether nothing but a lock lies in a folder."""
    return not any(one.name != LOCK for one in folder.iterdir())
