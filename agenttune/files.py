"""Files that are never half-written: written aside, fsynced, renamed."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from agenttune.errors import UserError


@contextlib.contextmanager
def replacing(path: str | Path, mode: str = "w", permissions: int = 0o666) -> Iterator[IO[Any]]:
    """A file that takes the name `path` only when the block ends without an exception; else nothing is left. `mode`: ``w`` or ``wb``;
    `permissions` less the process's umask, as any new file's.

    What an earlier writer of this name left when it was killed goes; what a living one writes is locked, and stays.
    Raises `UserError` when the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target)
        handle, name = _aside(target)
        lock = os.dup(handle)  # the lock of an open file lasts until the last of its handles is closed: here, until it has its name
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        raise UserError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from error
    try:
        binary = "b" in mode
        with os.fdopen(handle, mode, encoding=None if binary else "utf-8", newline=None if binary else "\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, permissions & ~_umask())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    finally:
        os.close(lock)


def _umask() -> int:
    """The permissions that a new file does not get. Python can only ask by setting it, which another thread's files would see."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.search(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)[1], 8)  # type: ignore[index]
    except (OSError, TypeError):  # not Linux
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


def _aside(target: Path) -> tuple[int, str]:
    """A new file beside `target`, open for writing and locked."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        if not _locked(handle) or not _is_at(handle, name):  # another process found it before it was locked, and takes it away
            os.close(handle)
            continue
        return handle, name


def _clear(target: Path) -> None:
    """Removes files beside `target` that were to become it and that no process holds."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.????????.part"):
        with contextlib.suppress(OSError):  # it got its name meanwhile, or it is another user's: it is not ours to remove
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _locked(handle, surely=True) and _is_at(handle, str(path)):
                    path.unlink()
            finally:
                os.close(handle)


def _locked(handle: int, *, surely: bool = False) -> bool:
    """Locks an open file; False where another process has it. Where locks cannot be had: True, unless it must be sure."""
    if sys.platform == "win32":
        return not surely
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return not surely
    return True


def _is_at(handle: int, name: str) -> bool:
    """Whether an open file is still the one under this name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(name, follow_symlinks=False))
    except FileNotFoundError:
        return False


def write_text(path: str | Path, text: str) -> None:
    """`text` as the whole content of `path`, atomically, in UTF-8."""
    with replacing(path) as file:
        file.write(text)


def read_text(path: str | Path, what: str) -> str:
    """The text of a file a person named. Raises `UserError` that says `what` it was wanted as."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {what} {path}: it is not UTF-8 text (byte {error.start})") from error
    except ValueError as error:  # a name that no file can have
        raise UserError(f"cannot read {what} {path}: {error}") from error


def read_json(path: str | Path, what: str, verb: str = "is") -> Any:
    """The JSON value in a file a person named. Raises `UserError` that says `what` it was wanted as; `verb` goes with it."""
    try:
        return json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} {path} {verb} not JSON: {error}") from error


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """``$AGENTTUNE_CACHE``, else ``~/.cache/agenttune``: what can be made again."""
    named = os.environ.get("AGENTTUNE_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "agenttune"


def shipped(folder: str) -> Path:
    """The folder ``tools``, ``configs`` or ``evals``: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "_shipped" / folder
    return inside if inside.is_dir() else package.parent / folder
