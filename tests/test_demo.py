"""A stage of the demo is made once, and what it did not make, or a person may have added to, stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttune.config import load_config
from agenttune.demo import CONFIG, _shown, _stage, demo_config
from agenttune.errors import UserError
from agenttune.evaluation.live.report import LiveScore
from agenttune.values.trajectory import Trajectory


def writing(target: Path, text: str) -> Callable[[], None]:
    def make() -> None:
        target.mkdir(exist_ok=True)
        (target / "result").write_text(text)

    return make


def test_a_stage_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "adapter"
    _stage(tmp_path, "train", "code", [1], target, writing(target, "one"))
    _stage(tmp_path, "train", "code", [1], target, writing(target, "two"))
    assert (target / "result").read_text() == "one"
    assert "there already" in capsys.readouterr().out


def test_an_earlier_result_is_kept_with_what_lies_in_it(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    for number in (1, 2, 3):
        _stage(tmp_path, "train", "code", [number], target, writing(target, str(number)))
        (target / "notes.txt").write_text(f"mine {number}")
    kept = {path.parent.name: path.read_text() for path in tmp_path.glob("*/notes.txt")}
    assert kept == {"adapter-earlier-1": "mine 1", "adapter-earlier-2": "mine 2", "adapter": "mine 3"}
    assert (target / "result").read_text() == "3"


def test_a_stage_that_was_killed_goes_on_in_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "adapter"

    def die() -> None:
        target.mkdir()
        (target / "part").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _stage(tmp_path, "train", "code", [1], target, die)
    _stage(tmp_path, "train", "code", [1], target, writing(target, "whole"))
    assert sorted(path.name for path in target.iterdir()) == ["part", "result"]


def test_a_target_of_somebody_else_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="was not made by the demo; move it, or name another folder with -o"):
        _stage(tmp_path, "train", "code", [1], target, writing(target, "one"))
    assert [path.name for path in target.iterdir()] == ["thesis.txt"]


def test_the_demo_trains_on_both_files_of_the_shipped_config(tmp_path: Path) -> None:
    shipped = load_config(CONFIG)
    files = [tmp_path / "desk.jsonl", tmp_path / "live.jsonl"]
    assert [Path(one.path).name for one in shipped.data] == [path.name for path in files]
    config = demo_config(files, tmp_path / "adapter", quick=False)
    assert [one.path for one in config.data] == [str(path) for path in files]
    assert config.trainer == shipped.trainer
    assert demo_config(files, tmp_path / "adapter", quick=True).trainer["max_steps"] == 12


def test_the_conversation_that_is_printed_is_a_right_one_if_there_is_any() -> None:
    def made(case: str, kind: str, right: bool) -> LiveScore:
        return LiveScore(
            case=case, right=right, reason="", stop="", answer="", steps=1, repeated=0, forced=0, tags={"kind": kind}, clusters=(),
            trajectory=Trajectory(),
        )  # fmt: skip

    scores = [made("c", "sums", True), made("b", "facts", True), made("a", "compute", False), made("d", "talk", True)]
    assert _shown(scores).case == "b"
    assert _shown([made("b", "talk", False), made("a", "sums", False)]).case == "a"
