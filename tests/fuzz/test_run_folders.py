"""Folders of runs: an evaluation's is compared, a training's is gone on with."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from agenttune.config import config_from
from agenttune.evaluation.evaluate import evaluate, judged_by
from agenttune.training import checkpoint, output_folder, train_log
from tests.evaluation.conftest import RIGHT, WRONG, make_cases, says
from tests.fuzz.judge import command, fuzz
from tests.fuzz.mutate import mutated, mutated_json

CONFIG = config_from({"model": "m", "data": "d.jsonl", "output": "o"}, "a config")
IDENTITY = {"data": "d1", "model": "m1", "world": 1, "dtype": "float32"}
LOG = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.0, "grad_norm": 0.5}, {"step": 2, "check": {"loss": 1.0}}, {"step": 3, "loss": 1.9}]


def file_of(folder: Path, chance: random.Random) -> tuple[str, bytes]:
    """One of the folder's files, and other bytes for it."""
    name = chance.choice([path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.json*"))])
    data = (folder / name).read_bytes()
    if chance.random() < 0.3:
        return name, mutated(data, chance)
    if not name.endswith(".jsonl"):
        return name, mutated_json(json.loads(data), chance)
    lines = data.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    return name, b"".join([*lines[:at], mutated_json(json.loads(lines[at]), chance) + b"\n", *lines[at + 1 :]])


@pytest.mark.slow
def test_evaluations(tmp_path: Path) -> None:
    for name, text in (("a", RIGHT), ("b", WRONG)):
        evaluate(make_cases(), judged_by(says(text)), suite="s", meta={"model": "m", "text": text}, out=tmp_path / name)

    def enter(given: tuple[str, bytes]) -> None:
        whole = (tmp_path / "b" / given[0]).read_bytes()
        (tmp_path / "b" / given[0]).write_bytes(given[1])
        try:
            command("compare", str(tmp_path / "a"), str(tmp_path / "b"))
        finally:
            (tmp_path / "b" / given[0]).write_bytes(whole)

    fuzz("run folders of evaluations", lambda chance: file_of(tmp_path / "b", chance), enter)


@pytest.mark.slow
def test_trainings(tmp_path: Path) -> None:
    output_folder.write_run(tmp_path, CONFIG, IDENTITY)
    train_log.write_log(tmp_path, LOG)
    made = checkpoint.checkpoint_folder(tmp_path, 2)
    made.mkdir()
    (made / "state.json").write_text('{"global_step": 2}')
    checkpoint.complete(made, 2)

    def enter(given: tuple[str, bytes]) -> None:
        whole = (tmp_path / given[0]).read_bytes()
        (tmp_path / given[0]).write_bytes(given[1])
        try:
            output_folder.measured_choices(tmp_path)
            newest = checkpoint.newest_complete(tmp_path)
            if newest is not None:
                checkpoint.refuse_damaged(newest)
            output_folder.check_continues(tmp_path, CONFIG, IDENTITY)
            output_folder.adopt_unmarked_best(tmp_path, train_log.read_checks(tmp_path, 9))
            train_log.write_log(tmp_path, [*train_log.read_log(tmp_path, 2), *train_log.read_checks(tmp_path, 2)])
        finally:
            train_log.write_log(tmp_path, LOG)
            (tmp_path / given[0]).write_bytes(whole)

    fuzz("run folders of trainings", lambda chance: file_of(tmp_path, chance), enter)
