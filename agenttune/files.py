"""Files that are never half-written: written aside, fsynced, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from agenttune.errors import UserError


@contextlib.contextmanager
def replacing(path: str | Path, mode: str = "w", permissions: int = 0o644) -> Iterator[IO[Any]]:
    """A file that takes the name `path` only when the block ends without an exception; else nothing is left. `mode`: ``w`` or ``wb``.

    Raises `UserError` when the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        binary = "b" in mode
        with os.fdopen(handle, mode, encoding=None if binary else "utf-8", newline=None if binary else "\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, permissions)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


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
