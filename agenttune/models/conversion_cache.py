"""Folders in the cache that are made once of a checkpoint in another form, and then load like any model's folder.

A folder is keyed by the content it was made of. It is made aside and renamed, so that it is whole where it is there; the processes of
one machine take turns, so that ranks that start together make it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from agenttune.errors import UserError
from agenttune.files import cache_folder, file_hash, write_text
from agenttune.owned_folders import MARKER, adopt, remove_owned


def made_once(name: str, make: Callable[[Path], None], room: int = 0) -> Path:
    """The cache's model folder `name`; where it is not there, `make` fills it. `room`: bytes it will need.

    Raises `UserError` where the cache cannot be written or has less room; whatever `make` raises leaves nothing behind.
    """
    target = cache_folder() / "models" / name
    if not target.is_dir():
        with _turn(name):
            if not target.is_dir():
                _make(target, make, room)
    return target


@contextlib.contextmanager
def _turn(name: str) -> Iterator[None]:
    """Waits for whoever makes the same folder; where the system has no such locks, or the disk none, nobody waits."""
    held = _locked(cache_folder() / "locks" / f"{name}.lock")
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _locked(path: Path) -> IO[str] | None:
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        held = open(path, "w", encoding="utf-8")  # noqa: SIM115  # closed by the caller, which frees the lock
        fcntl.flock(held, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return None
    return held


def content_hash(file: Path) -> str:
    """The file's SHA-256; remembered by path, size and time of change, because a large file takes long to hash."""
    stat = file.stat()
    seen = [str(file.resolve()), stat.st_size, stat.st_mtime_ns]
    note = cache_folder() / "hashes" / f"{hashlib.sha256(str(seen[0]).encode()).hexdigest()[:32]}.json"
    try:
        *known, digest = json.loads(note.read_text(encoding="utf-8"))
        if known == seen:
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass  # no note, or not one of ours: it is written anew
    digest = file_hash(file)
    write_text(note, json.dumps([*seen, digest]))
    return digest


def _make(target: Path, make: Callable[[Path], None], room: int) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        free = shutil.disk_usage(target.parent).free
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        adopt(aside)
    except OSError as error:
        raise UserError(f"cannot write the cache {target.parent}: {error.strerror or error} (AGENTTUNE_CACHE names another)") from error
    try:
        if free < room:
            raise UserError(
                f"the cache {target.parent} has {free / 1e9:.1f} GB free and the converted model needs {room / 1e9:.1f} GB; "
                "make room, or name another with AGENTTUNE_CACHE"
            )
        make(aside)
        _synced(aside)
        (aside / MARKER).unlink()  # the marker is of what may go; the finished folder stays
        try:
            os.rename(aside, target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what killed processes left, once it is a day old."""
    for left in folder.glob(".*.part"):
        if time.time() - left.stat().st_mtime > 86400:
            remove_owned(left)


def _synced(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as opened:
            os.fsync(opened.fileno())
