"""One writer a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agenttune.errors import UserError
from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.run import run_eval
from agenttune.folder_lock import is_empty, locked, made_and_locked


def test_a_second_writer_is_refused_and_the_first_leaves_nothing(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert is_empty(tmp_path)
        with pytest.raises(UserError, match="another run is writing"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_a_writer_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        f"import os; from pathlib import Path; from agenttune.folder_lock import locked\nwith locked(Path({str(tmp_path)!r})): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert is_empty(tmp_path) and any(tmp_path.iterdir())
    with locked(tmp_path):
        pass


def test_a_folder_goes_only_where_it_was_made_and_stayed_empty(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with made_and_locked(mine), made_and_locked(tmp_path / "new"), made_and_locked(tmp_path / "used"):
        (tmp_path / "used" / "meta.json").write_text("{}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine", "used"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the folder .*file: File exists"), made_and_locked(tmp_path / "file"):
        pass


def test_two_evaluations_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    asked = EvalOptions(suite="desk-dev", model="overlap", out=tmp_path / "run", overwrite=True)
    with made_and_locked(tmp_path / "run"), pytest.raises(UserError, match=r"another run is writing to .*run"):
        run_eval(asked)
