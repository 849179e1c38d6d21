"""Files that are never half-written, and what a killed writer leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agenttune.errors import Refusal, UserError
from agenttune.files import read_text, replacing, write_text


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def killed(target: Path) -> None:
    """A process that is killed in the middle of writing `target`."""
    code = "import os, sys; from agenttune.files import replacing\nwith replacing(sys.argv[1]) as f: f.flush(); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, check=False)
    assert done.returncode == -9


def test_what_a_killed_writer_left_goes_with_the_next_one_of_that_name(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.jsonl.x", "o[u]t.jsonl"):
        killed(tmp_path / name)
    (tmp_path / ".out.jsonl.mine.part").write_text("no name that a writer gives")
    assert len(parts(tmp_path)) == 4
    write_text(tmp_path / "out.jsonl", "new")
    assert [one[:12] for one in parts(tmp_path)] == [".o[u]t.jsonl", ".out.jsonl.m", ".out.jsonl.x"]
    write_text(tmp_path / "o[u]t.jsonl", "new")
    assert len(parts(tmp_path)) == 2


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    hold = "with replacing(sys.argv[1]) as file: file.write('theirs'), print(flush=True), input()"
    code = f"import sys; from agenttune.files import replacing\n{hold}"
    command = [sys.executable, "-c", code, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        (theirs,) = parts(tmp_path)
        with replacing(target) as file:
            file.write("ours")
            assert len(parts(tmp_path)) == 2
        assert (parts(tmp_path), target.read_text()) == ([theirs], "ours")
        other.stdin.write(b"\n")
        other.stdin.flush()
        assert other.wait(60) == 0
    assert (parts(tmp_path), target.read_text()) == ([], "theirs")


def test_where_a_file_cannot_be_locked_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    killed(tmp_path / "out.jsonl")

    def refuse(handle: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_text(tmp_path / "out.jsonl", "new")
    assert (len(parts(tmp_path)), (tmp_path / "out.jsonl").read_text()) == (1, "new")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_a_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*: (embedded null byte|.*surrogates not allowed)"):
        write_text(tmp_path / name, "x")
    with pytest.raises(UserError, match=r"cannot read the report .*: (embedded null byte|.*surrogates not allowed)"):
        read_text(tmp_path / name, "the report")


def test_a_sentence_is_one_line_and_no_longer_than_a_screen() -> None:
    assert str(UserError('unknown key "a\nb\r\nc"')) == 'unknown key "a b c"'
    assert len(str(UserError("x" * 10_000))) == 1501
    assert Refusal("code", "x" * 10_000).sentence == "x" * 600 + "…"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("linux", [True, False])
def test_a_new_file_has_the_permissions_that_the_person_chose(
    mask: int, mode: int, linux: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not linux:
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError))
    before = os.umask(mask)
    try:
        write_text(tmp_path / "out.jsonl", "{}")
        with replacing(tmp_path / "secret", permissions=0o600) as file:
            file.write("x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("out.jsonl", "secret")] == [mode, 0o600]
