"""A search file of a folder of one's own: made once, and after that only what changed is read again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agenttune.agent.toolbox.articles.documents import KINDS, DocumentError, passages
from agenttune.agent.toolbox.articles.index import Article, build_index, is_index, read_index
from agenttune.errors import UserError
from agenttune.files import file_hash

BYTES = 64_000_000  # of one file


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderIndex:
    """What came of a folder: files that were read now, known already, gone since, not readable (name and why), of other kinds by suffix."""

    path: Path
    passages: int
    read: int
    known: int
    gone: int
    failed: tuple[tuple[str, str], ...]
    others: Counter[str]


def index_folder(folder: Path, target: Path, *, overwrite: bool = False) -> FolderIndex:
    """Writes a search file of the Markdown, HTML, text and PDF files under `folder`, whole or not at all.

    Hidden files and folders, links, and the search file itself are passed over. A file whose bytes are as they were is not read again.
    Raises `UserError` when `folder` is none, or `target` is a file that is not this folder's search file, without `overwrite`.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    old = _known(folder, target, overwrite)
    files: dict[str, str] = {}
    articles: list[Article] = []
    failed: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    read = 0
    for path in _files(folder):
        name = path.relative_to(folder).as_posix().encode("utf-8", "replace").decode()  # names of any bytes
        if path.resolve() == target.resolve():
            continue
        if path.suffix.lower() not in KINDS:
            others[path.suffix.lower() or "no suffix"] += 1
            continue
        try:
            digest, found, new = _one(path, name, old)
        except (DocumentError, OSError) as error:
            failed.append((name, getattr(error, "strerror", None) or str(error)))
            continue
        files[name] = digest
        articles += found
        read += new
    build_index(articles, target, files=files, folder=str(folder.resolve()))
    gone = len(set(old) - set(files) - {name for name, _ in failed})
    return FolderIndex(
        path=target, passages=len(articles), read=read, known=len(files) - read, gone=gone, failed=tuple(failed), others=others
    )


_Known = dict[str, tuple[str, list[Article]]]  # name → hash of its bytes, its passages


def _known(folder: Path, target: Path, overwrite: bool) -> _Known:
    """What an earlier run read of this folder. Refuses a file that is something else."""
    if not target.exists():
        return {}
    made = read_index(target) if is_index(target) else None
    if made is None or made.folder != str(folder.resolve()):
        if not overwrite:
            what = f"the search file of {made.folder}" if made is not None and made.folder else "no search file of a folder"
            raise UserError(f"{target} exists and is {what}; name another with -o, or give --overwrite")
        return {}
    known: _Known = {name: (digest, []) for name, digest in made.files.items()}
    for one in made.articles:
        known[one.source][1].append(one)
    return known


def _files(folder: Path) -> Iterator[Path]:
    """Files in the order of their names, at every depth."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _one(path: Path, name: str, old: _Known) -> tuple[str, list[Article], bool]:
    """A file's hash and passages, and whether it had to be read."""
    if path.stat().st_size > BYTES:
        raise DocumentError(f"it is larger than {BYTES // 1_000_000} MB")
    digest = file_hash(path)
    if name in old and old[name][0] == digest:
        return digest, old[name][1], False
    return digest, passages(path, name), True
