"""Folders that the program makes and may remove again: known by a marker file inside, never by their names alone.

The marker says the folder's own name, so a copy under another name, or a folder of a person's that happens to fit the name, is not ours.
Once a folder is whole the marker lists its files too: what a person lays among them later stays when the folder goes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path, PurePosixPath

from agenttune.files import write_text

MARKER = ".made-by-agenttune.json"
PART = ".part"  # ends the name of a folder that is being filled and takes its real name afterwards


def make_owned(folder: Path) -> None:
    """Makes `folder` with its marker, or takes an empty one; one that is ours already stays as it is.

    Raises `FileExistsError` where a file or a folder of somebody else's has that name.
    """
    if is_owned(folder):
        return
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise FileExistsError(f"{folder} is there and was not made by this program")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        adopt(folder)
    except BaseException:
        with contextlib.suppress(OSError):  # without its marker nobody would know it as ours; it goes only where it is empty
            folder.rmdir()
        raise


def adopt(folder: Path) -> None:
    """Marks a folder that is known to be ours from elsewhere."""
    _write(folder, {"name": _own_name(folder)})


def seal(folder: Path) -> None:
    """Lists in the marker what the folder holds now: it is whole, and only these files are ours."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() and path.name != MARKER)
    _write(folder, {"name": _own_name(folder), "files": files})


def is_owned(folder: Path) -> bool:
    """Whether the marker is inside and names this folder."""
    return _marker(folder) is not None


def remove_owned(folder: Path) -> None:
    """Removes what we made: of a sealed folder its listed files, of one that was never whole everything; any other folder stays as it is.

    A folder in which something of a person's is left stays too, without its marker.
    """
    marker = _marker(folder)
    if marker is None:
        return
    files = marker.get("files")
    if not isinstance(files, list):
        shutil.rmtree(folder, ignore_errors=True)
        return
    inside = [PurePosixPath(str(one)) for one in files]
    ours = [folder / one for one in inside if not one.is_absolute() and ".." not in one.parts]
    for path in [*ours, folder / MARKER]:  # the marker last: a removal that is cut short goes on next time
        with contextlib.suppress(OSError):
            path.unlink()
    folders = {parent for path in ours for parent in path.parents if parent.is_relative_to(folder)} | {folder}
    for one in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        with contextlib.suppress(OSError):  # something of a person's is left in it
            one.rmdir()


def _own_name(folder: Path) -> str:
    return folder.name.removesuffix(PART)


def _marker(folder: Path) -> dict[str, object] | None:
    """What the folder's marker says; None where there is none, or one of another folder."""
    if folder.is_symlink():
        return None
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("name") == _own_name(folder) else None


def _write(folder: Path, marker: dict[str, object]) -> None:
    write_text(folder / MARKER, json.dumps(marker, ensure_ascii=False, indent=1) + "\n")
