"""Files that agenttune wrote, damaged in every way: each is read as it is, or is a sentence with the file and the key."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.data.convert.merge import added, read_report
from agenttune.data.convert.options import ConvertOptions, Shard, parse_shard
from agenttune.data.convert.run import convert
from agenttune.errors import UserError
from agenttune.evaluation.run_folder import finished
from agenttune.own_json import from_json, parsed
from agenttune.training.train_log import read_log
from agenttune.values.case import Score

ROW: dict[str, Any] = {
    "case": "c", "valid": True, "tool": None, "arguments": None, "call": None, "abstained": True, "reason": "ok", "clusters": ["a"],
    "counts": {"rouge_l": [1, 2.5]},
}  # fmt: skip
ODD: list[Any] = [None, True, -1, 1.5, 10**30, float("nan"), "", "x", "2/x", [], [1], {}, {"a": 1}, [[]], "9" * 5000]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The report of a shard."""
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "in.jsonl").write_text(json.dumps({"messages": talk}) + "\n" + json.dumps({"messages": []}) + "\n")
    convert("openai", [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl"), options=ConvertOptions(shard=Shard(1, 1)))
    return tmp_path / "out.report.json"


def damaged(value: Any, seed: int) -> Any:
    """The value with one place changed, taken away or added to."""
    chance = random.Random(seed)
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            walk(inner[key])

    copy = json.loads(json.dumps(value))
    walk(copy)
    inner, key = chance.choice(places)
    how = chance.randrange(3)
    if how == 0:
        del inner[key]
    elif how == 1 and isinstance(inner, dict):
        inner["of another version"] = 1
    else:
        inner[key] = chance.choice(ODD)
    return copy


def test_what_was_written_is_read_again(report: Path) -> None:
    found = read_report(str(report))
    assert (found.records, found.samples, found.rejects, found.shard) == (2, 1, 1, "1/1")
    assert added([found, found][:1]) == found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"records": None}, '"records" in .*out.report.json must be a whole number, this is nothing'),
        ({"records": True}, '"records" in .* must be a whole number, this is true or false'),
        ({"records": 3}, "the numbers in .*out.report.json do not add up"),
        ({"shard": "X/2"}, '"X/2" in .* is no shard, such as 2/3'),
        ({"inputs": [{"name": "a", "records": "2"}]}, r'"inputs\[0\].records" in .* must be a whole number, this is text'),
        ({"findings": []}, '"findings" in .* must be an object, this is a list'),
        ({"lengths": {"count": 1}}, '"lengths" in .* cannot be read'),
        ({"colour": 1}, 'has a key that this version does not know, "colour"'),
    ],
)
def test_a_damaged_report_says_which_key_is_wrong(report: Path, change: dict[str, Any], says: str) -> None:
    report.write_text(json.dumps({**json.loads(report.read_text()), **change}))
    with pytest.raises(UserError, match=says):
        read_report(str(report))


def texts(whole: str) -> Iterator[str]:
    yield from ("", "null", "[]", "{", "[" * 100_000, '"x"', "NaN", whole[: len(whole) // 2], "\x00")


def test_no_damage_of_a_report_is_anything_but_a_sentence(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = report.read_text()
    refused = 0
    for text in (*texts(whole), *(json.dumps(damaged(json.loads(whole), seed)) for seed in range(300))):
        report.write_text(text)
        try:
            added([read_report(str(report))])
        except UserError as error:
            refused += 1
            assert len(str(error)) < 700
    print(f"{refused} refused")
    assert refused >= 200
    report.write_text("[]")
    assert main(["report", str(report)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_no_damage_of_a_judged_case_is_anything_but_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    (good,) = finished(tmp_path).values()
    assert (good.case, good.tool, good.clusters, good.counts) == ("c", None, ("a",), {"rouge_l": (1.0, 2.5)})
    for text in (*texts(json.dumps(ROW)), *(json.dumps(damaged(ROW, seed)) for seed in range(200))):
        path.write_text(text + "\n")
        try:
            finished(tmp_path)
        except UserError as error:
            assert str(error).startswith((f"{path}:1", '"'))
    path.write_text(json.dumps({**ROW, "valid": 1}) + "\n")
    with pytest.raises(UserError, match=r'"valid" in .*cases.jsonl:1 must be true or false, this is a whole number.*; remove the folder'):
        finished(tmp_path)


def test_a_log_of_steps_that_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "train_log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_log(tmp_path, 5) == [{"step": 1, "loss": 2.0}]
    for line in ("[1]", "5", '{"step": "x", "loss": 1}'):
        (tmp_path / "train_log.jsonl").write_text(line + "\n")
        with pytest.raises(UserError, match="a line that is no record of a step"):
            read_log(tmp_path, 5)


def test_fields_that_are_needed_are_named() -> None:
    with pytest.raises(UserError, match='a row lacks "case"'):
        from_json({}, Score, "a row")
    with pytest.raises(UserError, match="a row must be an object, this is a list"):
        from_json([], Score, "a row")
    with pytest.raises(UserError, match="it is damaged: it is not JSON"):
        parsed("{", "it")


@pytest.mark.parametrize("text", ["1/999999999999", "9" * 5000 + "/" + "9" * 5000, "X/2", "0/1", "2/1", "1/", "١/٢x"])
def test_a_shard_beyond_all_measure_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="a shard is written i/n") as raised:
        parse_shard(text)
    assert len(str(raised.value)) < 250


def test_an_error_that_nobody_foresaw_is_a_fault_of_ours_with_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("agenttune.data.convert.merge.read_report", lambda name: {}["\x1b[31mmissing"])
    assert main(["report", "x.report.json"]) == 70
    said = capsys.readouterr().err
    (log,) = tmp_path.glob("agenttune-fault-*.log")
    assert f"this is a fault of agenttune (KeyError: '\\x1b[31mmissing'); the log lies at {log}" in said.replace("\\\\", "\\")
    assert "\x1b" not in said
    assert "Traceback" not in said
    assert "Traceback (most recent call last)" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
