"""``convert msagent --compat xtuner``: what XTuner writes, and a name or a refusal for all that it loses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.errors import UserError
from agenttune.values.sample import sample_from_json
from tests.sources.xtuner_golden import golden_pair

THINK = '<|startofthink|>```JSON\n{"api_name": "a", "url": "u", "parameters": {"t": "x", "ok": true}}\n```<|endofthink|>'
EXEC = '<|startofexec|>```JSON\n{"r": 1}\n```<|endofexec|>'
SYSTEM = '1. {"name": "a", "description": "d", "parameters": [{"name": "t", "description": ""}, {"name": "ok", "description": ""}]}'


def record(name: str, value: str) -> dict[str, Any]:
    said = [("system", SYSTEM), ("user", f"q {name}"), ("assistant", value)]
    return {"id": name, "conversations": [{"from": role, "value": text} for role, text in said]}


def put(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def test_the_golden_record_byte_for_byte(data_dir: Path, tmp_path: Path) -> None:
    raw, golden = golden_pair(data_dir)
    report = convert(
        "msagent", [str(put(tmp_path / "in.jsonl", raw))], str(tmp_path / "out.jsonl"), options=ConvertOptions(compat="xtuner")
    )
    line = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    wanted = json.dumps({"conversation": golden[:3]}, ensure_ascii=False, separators=(",", ":"))
    assert line.startswith(wanted.removesuffix("]}"))
    assert (report.samples, report.changes) == (1, {})
    assert report.before == report.after == {"calls": 2, "observations": 2, "answers": 2}


def test_what_it_loses_is_named_or_refused_and_still_adds_up(tmp_path: Path) -> None:
    source = put(
        tmp_path / "in.jsonl",
        record("kept", f"想{THINK}{EXEC}好"),
        record("two", f"{THINK}{EXEC}{THINK}{EXEC}好"),
        record("part", f"{THINK}<|startofexec|>Traceback<|endofexec|>好"),
        record("fence", f"{THINK.replace('JSON', 'json')}{EXEC}好"),
    )
    report = convert("msagent", [str(source)], str(tmp_path / "out.jsonl"), options=ConvertOptions(compat="xtuner"))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    outputs = [[turn["output"] for turn in row["conversation"]] for row in rows]
    action = "Action:a\nAction Input:{'t': 'x', 'ok': True}\n"
    assert outputs == [[f"Thought:想\n{action}\n", "Final Answer:好\n"], [f"{action}\n"]]
    assert all(list(row) == ["conversation"] for row in rows)
    assert report.reasons == {"xtuner_json": 1, "xtuner_two_results": 1}
    assert report.changes == {"xtuner_lost_answer": 1, "xtuner_lost_observation": 1}
    assert (report.records, report.samples, report.rejects) == (4, 2, 2)
    assert report.before == {"calls": 5, "observations": 5, "answers": 4}
    assert report.after == {"calls": 2, "observations": 1, "answers": 1}
    assert sample_from_json(rows[0]).turns[1].system == "Response:{'r': 1}\n"


def test_a_record_that_only_xtuner_reads_is_named(tmp_path: Path) -> None:
    odd = record("odd", "答")
    odd["conversations"].insert(0, {"from": "tool", "value": "x"})
    report = convert(
        "msagent", [str(put(tmp_path / "in.jsonl", odd))], str(tmp_path / "out.jsonl"), options=ConvertOptions(compat="xtuner")
    )
    assert report.changes == {"unexamined": 1, "xtuner_ignored_role": 1}
    assert report.before == report.after == {"calls": 0, "observations": 0, "answers": 1}


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ("openai", {}, "is for the source msagent"),
        ("auto", {}, "is for the source msagent"),
        ("msagent", {"to": "openai"}, "leave out --to openai"),
        ("msagent", {"fix": ("types",)}, "leave out --fix"),
        ("msagent", {"mask_failed": True}, "leave out --mask"),
        ("msagent", {"compat": "xtunr"}, 'did you mean "xtuner"'),
    ],
)
def test_what_does_not_go_with_it_is_one_sentence(tmp_path: Path, source: str, options: dict[str, Any], sentence: str) -> None:
    given = put(tmp_path / "in.jsonl", record("a", "答"))
    with pytest.raises(UserError, match=sentence):
        convert(source, [str(given)], str(tmp_path / "out.jsonl"), options=ConvertOptions(**{"compat": "xtuner", **options}))
    assert not (tmp_path / "out.jsonl").exists()


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = str(put(tmp_path / "in.jsonl", record("a", "答")))
    out = str(tmp_path / "out.jsonl")
    assert main(["convert", "msagent", given, "-o", out, "--compat", "xtuner", "--workers", "1"]) == 0
    assert main(["convert", "msagent", given, "-o", out, "--compat", "xtuner", "--to", "openai"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "agenttune: --compat xtuner writes XTuner's own form; leave out --to openai"
