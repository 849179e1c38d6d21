"""Folders are known as ours by what is inside; nothing of a person's goes with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agenttune import owned_folders
from agenttune.owned_folders import MARKER, is_owned, make_owned, remove_owned, seal


def make(folder: Path, *files: str) -> Path:
    make_owned(folder)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_folder_of_ours_is_made_known_and_removed(tmp_path: Path) -> None:
    folder = make(tmp_path / "best-2", "weights", "inner/state")
    assert is_owned(folder)
    make_owned(folder)  # once more changes nothing
    seal(folder)
    assert is_owned(folder)
    remove_owned(folder)
    assert not folder.exists()


def test_one_that_was_never_whole_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "best-2", "weights", "inner/state")
    remove_owned(folder)
    assert not folder.exists()


def test_a_file_laid_into_a_whole_folder_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "best-2", "weights", "inner/state", "other/state")
    seal(folder)
    (folder / "inner" / "notes.txt").write_text("mine")
    remove_owned(folder)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == ["inner", "inner/notes.txt"]
    assert not is_owned(folder)


@pytest.mark.parametrize("kind", ["folder", "copy", "link", "file", "torn", "other"])
def test_what_is_not_ours_is_neither_taken_nor_removed(kind: str, tmp_path: Path) -> None:
    ours, theirs = make(tmp_path / "best-2", "weights"), tmp_path / "best-3"
    if kind == "folder":
        theirs.mkdir()
        (theirs / "notes.txt").write_text("mine")
    elif kind == "copy":
        shutil.copytree(ours, theirs)
    elif kind == "link":
        make(tmp_path / "elsewhere" / "best-3", "weights")
        theirs.symlink_to(tmp_path / "elsewhere" / "best-3")
    elif kind == "file":
        theirs.write_text("mine")
    else:
        theirs.mkdir()
        (theirs / MARKER).write_text('{"name": "be' if kind == "torn" else "[3]")
    before = sorted(tmp_path.rglob("*"))
    assert not is_owned(theirs)
    with pytest.raises(FileExistsError, match="was not made by this program"):
        make_owned(theirs)
    remove_owned(theirs)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_marker_that_lists_files_elsewhere_takes_none_of_them(tmp_path: Path) -> None:
    folder = make(tmp_path / "best-2")
    (tmp_path / "notes.txt").write_text("mine")
    marker = {"name": "best-2", "files": ["../notes.txt", str(tmp_path / "notes.txt")]}
    (folder / MARKER).write_text(json.dumps(marker))
    remove_owned(folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not folder.exists()


def test_a_folder_that_takes_its_name_when_it_is_whole_stays_ours(tmp_path: Path) -> None:
    folder = make(tmp_path / "best-2.part", "weights")
    seal(folder)
    assert is_owned(folder.rename(tmp_path / "best-2"))
    assert not is_owned((tmp_path / "best-2").rename(tmp_path / "best-2-backup"))


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "best-2").mkdir()
    make_owned(tmp_path / "best-2")
    assert is_owned(tmp_path / "best-2")


def test_a_folder_whose_marker_finds_no_room_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(owned_folders, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        make_owned(tmp_path / "best-2")
    assert not (tmp_path / "best-2").exists()
