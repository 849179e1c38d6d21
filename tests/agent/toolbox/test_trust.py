"""A tool file's code runs only after a person has said once that its folder is trusted."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from agenttune.agent.toolbox.trust import require_trust, tool_file, trusted_file
from agenttune.cli import main
from agenttune.errors import UserError

FILE = '''
from pathlib import Path
from agenttune.agent.toolbox import effect
Path(__file__).with_name("ran").write_text("yes")

@effect("read")
def hello(name: str) -> str:
    """Says hello."""
    print("so I printed")
    return f"hello {name}"
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "tools").mkdir()
    path = tmp_path / "tools" / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_nothing_of_the_file_runs_before_it_is_trusted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tools", "call", str(file), '{"name": "x"}']
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"{file} was not used: that runs its code, and the folder {file.parent} is not trusted" in said
    assert "add --trust once" in said
    assert not file.with_name("ran").exists()
    assert main([*command, "--trust"]) == 0
    assert capsys.readouterr() == ("hello x\n", "(printed) so I printed\n")
    assert file.with_name("ran").exists()
    assert main(command) == 0  # remembered


def test_the_folders_are_kept_for_their_owner_only(file: Path) -> None:
    require_trust([str(file), "calculator"], None, trust=True, ask=None)
    assert json.loads(trusted_file().read_text()) == {"folders": [str(file.parent.resolve())]}
    assert stat.S_IMODE(os.stat(trusted_file()).st_mode) == 0o600


def test_a_person_is_asked_once_for_a_folder(file: Path) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return True

    for _ in range(2):
        require_trust([str(file), f"{file}:hello", str(file.with_name("other.py"))], None, trust=False, ask=ask)
    assert asked == [f"{file} is Python code that is run; trust the folder {file.parent}?"]
    with pytest.raises(UserError, match="was not used"):
        require_trust([str(_copied(file))], None, trust=False, ask=lambda question: False)


def _copied(file: Path) -> Path:
    (file.parent / "deeper").mkdir()
    copy = file.parent / "deeper" / "mine.py"
    copy.write_text(FILE, encoding="utf-8")
    return copy


def test_a_link_is_where_it_leads(file: Path, tmp_path: Path) -> None:
    require_trust([str(file)], None, trust=True, ask=None)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "evil.py").write_text("raise SystemExit(9)\n", encoding="utf-8")
    link = file.parent / "innocent.py"
    link.symlink_to(tmp_path / "elsewhere" / "evil.py")
    with pytest.raises(UserError, match="elsewhere is not trusted"):
        require_trust([str(link)], None, trust=False, ask=None)


def test_a_file_of_servers_needs_it_too(file: Path, tmp_path: Path) -> None:
    servers = tmp_path / "servers.json"
    servers.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="that starts the programs that it names"):
        require_trust([], servers, trust=False, ask=None)


def test_a_damaged_list_is_said(file: Path) -> None:
    for text in ("{", "[]", '{"folders": "all"}', '{"folders": [1]}'):
        trusted_file().parent.mkdir(parents=True, exist_ok=True)
        trusted_file().write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"trusted\.json cannot be read"):
            require_trust([str(file)], None, trust=True, ask=None)


def test_which_names_are_files(file: Path) -> None:
    assert [tool_file(name) for name in ("calculator", "package.module", "openapi:./api.json", "local_search:notes.sqlite")] == [None] * 4
    assert tool_file(f"{file}:hello") == file


def test_the_doctor_says_what_is_wrong(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "doctor", str(file), "calculator", "calculater", "--trust"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["hello", "read"]
    assert any(line.split() == ["calculator", "read"] for line in lines)
    assert any(line.startswith("calculater") and line.endswith("cannot be used") for line in lines)
