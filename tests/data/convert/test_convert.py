"""The door: everything that comes in goes out as a sample or as a reject, and nothing is half-written or written over by surprise."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttune.data.convert.options import ConvertOptions, parse_split, read_systems
from agenttune.data.convert.report import ConvertEvent, ConvertReport, Detected, Progress, json_text, report_from_json, summary_rows
from agenttune.data.convert.run import convert
from agenttune.data.quality import repairs
from agenttune.data.quality.finding import SEVERITY
from agenttune.errors import UserError
from agenttune.values.sample import sample_from_json
from agenttune.values.trajectory_json import trajectory_from_json

SYSTEM = '我。1. {"name": "a", "description": "d", "parameters": [{"name": "x", "description": "", "required": "True"}]}'


def record(number: int, *, call: str = '{"api_name": "a", "parameters": {"x": "%d"}}', system: str = SYSTEM) -> dict[str, Any]:
    call = call.replace("%d", str(number))
    value = f"想{number}<|startofthink|>```JSON\n{call}\n```<|endofthink|>\n\n<|startofexec|>结果{number}<|endofexec|>\n答{number}"
    messages = [{"from": "system", "value": system}, {"from": "user", "value": f"问{number}"}, {"from": "assistant", "value": value}]
    return {"id": f"MS_Agent_Bench_{number}", "conversations": messages}


def put(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(
    source: Path, out: Path, *, name: str = "msagent", events: Callable[[ConvertEvent], None] = lambda event: None, **options: Any
) -> ConvertReport:
    return convert(name, [str(source)], str(out), options=ConvertOptions(**options), events=events)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_sample_for_each_record_in_order(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", *(record(number) for number in range(5)))
    report = run(source, tmp_path / "o" / "out.jsonl")
    samples = [sample_from_json(row) for row in rows(tmp_path / "o" / "out.jsonl")]
    assert [sample.id for sample in samples] == [f"MS_Agent_Bench_{number}" for number in range(5)]
    assert [turn.output for turn in samples[3].turns] == ['Thought: 想3\nAction: a\nAction Input: {"x": "3"}', "Final Answer: 答3"]
    assert samples[3].turns[1].system == "Observation: 结果3"
    assert samples[3].meta["line"] == 4
    assert (report.records, report.samples, report.rejects, report.exit_code) == (5, 5, 0, 0)
    assert report.before == report.after == {"calls": 5, "observations": 5, "answers": 5}
    assert sorted(files_of(tmp_path / "o")) == ["out.findings.jsonl", "out.jsonl", "out.rejects.jsonl", "out.report.json"]


def test_a_bad_line_among_good_ones_is_a_reject_with_its_place(tmp_path: Path) -> None:
    bad = record(9, call="{'api_name': __import__('os').system('false'), 'parameters': {}}")
    source = put(tmp_path / "in.jsonl", record(1), "{no json", bad, record(2), {"id": "odd"})
    report = run(source, tmp_path / "out.jsonl")
    rejects = rows(tmp_path / "out.rejects.jsonl")
    assert [(one["line"], one["code"], one["id"]) for one in rejects] == [
        (2, "json", ""),
        (3, "call", "MS_Agent_Bench_9"),
        (5, "shape", "odd"),
    ]
    assert rejects[0]["record"] == "{no json"
    assert json.loads(rejects[1]["record"]) == bad
    assert all(one["file"] == str(source) and one["sentence"] for one in rejects)
    assert (report.records, report.samples, report.rejects, report.exit_code) == (5, 2, 3, 1)
    assert report.reasons == {"call": 1, "json": 1, "shape": 1}
    table = dict(summary_rows(report))
    assert table["records in"] == table["samples out"] + table["rejects"]


def test_a_step_the_protocol_cannot_hold_is_a_reject_and_its_calls_are_accounted_for(tmp_path: Path) -> None:
    bent = record(1)
    bent["conversations"][2]["value"] = "p\nAction: x\n" + bent["conversations"][2]["value"]
    report = run(put(tmp_path / "in.jsonl", bent, record(2)), tmp_path / "out.jsonl")
    assert report.reasons == {"unwritable": 1}
    assert (report.before["calls"], report.after["calls"]) == (2, 1)


def test_changes_are_counted_by_name(tmp_path: Path) -> None:
    two = record(1)
    call = '<|startofthink|>{"api_name": "a", "url": "u", "parameters": {"x": "1"}}<|endofthink|>'
    two["conversations"][2]["value"] = call + call + "<|startofexec|>1<|endofexec|><|startofexec|>2<|endofexec|>"
    report = run(put(tmp_path / "in.jsonl", two), tmp_path / "out.jsonl")
    assert report.changes == {"call_url": 2, "parallel_split": 1}
    assert rows(tmp_path / "out.jsonl")[0]["meta"]["changes"] == {"call_url": 2, "parallel_split": 1}
    report = run(put(tmp_path / "in.jsonl", two), tmp_path / "other.jsonl", parallel="reject")
    assert (report.reasons, report.exit_code) == ({"parallel": 1}, 2)


def test_nothing_usable_writes_the_refusals_and_no_output(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1))
    assert run(source, tmp_path / "o" / "out.jsonl").exit_code == 0
    put(source, "nothing", "here")
    assert run(source, tmp_path / "o" / "out.jsonl").exit_code == 2
    assert sorted(files_of(tmp_path / "o")) == ["out.findings.jsonl", "out.rejects.jsonl", "out.report.json"]
    assert len(rows(tmp_path / "o" / "out.rejects.jsonl")) == 2


def test_no_output_of_another_job_stays_beside_a_report_of_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o" / "out.jsonl"
    run(put(tmp_path / "in.jsonl", *(record(number) for number in range(40))), out, split={"dev": 0.5})
    (tmp_path / "o" / "out.report.html").write_text("the old page")
    (tmp_path / "o" / "out.mine.jsonl").write_text("a person's own\n")
    report = run(put(tmp_path / "other.jsonl", "nothing"), out, overwrite=True)
    assert report.samples == 0
    assert sorted(files_of(tmp_path / "o")) == ["out.findings.jsonl", "out.mine.jsonl", "out.rejects.jsonl", "out.report.json"]


def test_a_split_of_an_earlier_job_goes_with_its_report_unless_a_person_changed_it(tmp_path: Path) -> None:
    out = tmp_path / "o" / "out.jsonl"
    source = put(tmp_path / "in.jsonl", *(record(number) for number in range(40)))
    run(source, out, split={"dev": 0.3, "test": 0.3})
    with (tmp_path / "o" / "out.test.jsonl").open("a") as file:
        file.write("a line of a person's own\n")
    run(source, out, overwrite=True)
    left = sorted(files_of(tmp_path / "o"))
    assert left == ["out.findings.jsonl", "out.jsonl", "out.rejects.jsonl", "out.report.json", "out.test.jsonl"]


def test_a_check_never_replaces_the_report_of_an_output(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1))
    run(source, tmp_path / "o" / "out.jsonl")
    before = files_of(tmp_path / "o")
    with pytest.raises(UserError, match="give the check another name"):
        run(source, tmp_path / "o" / "out.jsonl", check=True, overwrite=True)
    assert files_of(tmp_path / "o") == before


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_an_empty_file_is_the_users_to_change(tmp_path: Path, text: str) -> None:
    source = tmp_path / "in.json"
    source.write_text(text)
    for name in ("msagent", "auto"):
        with pytest.raises(UserError, match="holds no record"):
            run(source, tmp_path / "o" / "out.jsonl", name=name)
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"name": "msagnet"},
        {"name": "./none.py"},
        {"name": "no.such.package"},
        {"protocol": "raect"},
        {"to": "nothing"},
        {"split": {"dev": 1.2}},
        {"split": {"rejects": 0.05}},
        {"split": {"a": 0.6, "b": 0.4}},
        {"fix": ("nothing",)},
    ],
)
def test_wrong_options_are_one_sentence(tmp_path: Path, options: dict[str, Any]) -> None:
    source = put(tmp_path / "in.jsonl", record(1))
    with pytest.raises(UserError):
        run(source, tmp_path / "o" / "out.jsonl", **options)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("text", ["dev", "dev=120%", "rejects=5%", "a=60%,b=40%", "dev=1%,dev=2%"])
def test_a_split_is_written_in_one_way(text: str) -> None:
    with pytest.raises(UserError, match=re.escape("split")):
        parse_split(text)


def test_a_file_of_system_texts_must_be_there() -> None:
    with pytest.raises(UserError, match="cannot read the file of system texts"):
        read_systems("none.json")


def test_an_output_is_never_written_over_by_surprise(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1))
    out = tmp_path / "out.jsonl"
    with pytest.raises(UserError, match="one of the inputs"):
        run(source, source)
    with pytest.raises(UserError, match=re.escape(".jsonl")):
        run(source, tmp_path / "out.txt")
    put(out, "mine")
    with pytest.raises(UserError, match="exists and is not this same job's own"):
        run(source, out)
    assert out.read_text() == "mine\n"
    run(source, out, overwrite=True)
    first = files_of(tmp_path)
    run(source, out)
    assert files_of(tmp_path) == first
    for other in ({"protocol": "react_zh"}, {"strict": True}, {"split": {"dev": 0.05}}, {"mask_failed": True}):
        with pytest.raises(UserError, match="exists and is not"):
            run(source, out, **other)
    with pytest.raises(UserError, match="exists and is not"):
        run(put(tmp_path / "in2.jsonl", record(2)), out)
    with pytest.raises(UserError, match="one of the inputs"):
        convert("msagent", [str(tmp_path)], str(tmp_path / "in2.jsonl"), options=ConvertOptions(overwrite=True))


def test_check_reports_and_writes_no_sample(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1), "{bad", record(1))
    report = convert("msagent", [str(source)], None, options=ConvertOptions(check=True))
    assert (report.samples, report.rejects, report.exit_code, report.checked_only) == (2, 1, 1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    out = tmp_path / "o" / "out.jsonl"
    assert run(source, out, check=True).samples == 2
    assert sorted(files_of(tmp_path / "o")) == ["out.findings.jsonl", "out.report.json"]
    assert [one["code"] for one in rows(tmp_path / "o" / "out.findings.jsonl")] == ["duplicate_content", "duplicate_id"]
    assert run(source, out, strict=True).samples == 1  # a check's account stands in nobody's way
    with pytest.raises(UserError, match="tells how"):
        run(source, out, check=True, strict=True)
    with pytest.raises(UserError, match="name the file to write"):
        convert("msagent", [str(source)], None)


def test_the_report_on_disk_adds_up(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1), "{bad", record(1))
    run(source, tmp_path / "out.jsonl")
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["records"] == report["whole"] + report["partly"] + report["refused"] == 3
    assert report["trajectories"] == report["samples"] + report["rejects"] == 3
    assert report["inputs"] == [{"name": str(source), "records": 3, "bytes": source.stat().st_size, "sha256": _sha(source)}]
    assert report["outputs"][0]["sha256"] == _sha(tmp_path / "out.jsonl")
    assert report["findings"] == {"duplicate_content": 1, "duplicate_id": 1}
    found = {(one["code"], one["line"]): one["sentence"] for one in rows(tmp_path / "out.findings.jsonl")}
    assert found == {
        ("duplicate_content", 3): f"{source}:1 says and does the same",
        ("duplicate_id", 3): f"{source}:1 has the same id",
    }
    assert [(one["code"], one["line"], one["severity"]) for one in report["refusals"]] == [("json", 2, "reject")]
    assert report["tools"] == {"a": 2}
    assert report["steps"] == {"count": 2, "least": 2, "most": 2, "sum": 4, "buckets": {"2": 2}}
    characters = [
        len(turn[key]) for row in rows(tmp_path / "out.jsonl") for turn in row["conversation"] for key in ("system", "input", "output")
    ]
    assert (report["unit"], report["lengths"]["count"], report["lengths"]["sum"]) == ("characters", 2, sum(characters))
    assert json.loads(json_text(report_from_json(report, "x"))) == report


def _sha(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_auto_says_what_it_took_and_why(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", "{bad", record(1), record(2))
    seen: list[object] = []
    report = run(source, tmp_path / "out.jsonl", name="auto", events=seen.append)
    assert report.sources == (Detected(file=str(source), source="msagent", reason='"conversations" holds <|startofthink|>'),)
    assert seen[0] == report.sources[0]
    assert isinstance(seen[-1], Progress)
    assert (seen[-1].records, seen[-1].samples, seen[-1].rejects) == (3, 2, 1)
    with pytest.raises(UserError, match="cannot tell the source"):
        run(put(tmp_path / "odd.jsonl", {"x": 1}), tmp_path / "out2.jsonl", name="auto")


def test_a_file_of_an_unknown_format_among_others_is_refused_record_by_record(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.jsonl", {"odd": 1}, {"odd": 2})
    put(tmp_path / "in" / "b.jsonl", record(1))
    report = run(tmp_path / "in", tmp_path / "out.jsonl", name="auto")
    assert (report.samples, report.reasons) == (1, {"unknown_source": 2})
    assert [json.loads(one["record"]) for one in rows(tmp_path / "out.rejects.jsonl")] == [{"odd": 1}, {"odd": 2}]
    with pytest.raises(UserError, match="cannot tell the source"):
        run(tmp_path / "in" / "a.jsonl", tmp_path / "other.jsonl", name="auto")


def test_any_target_and_back(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1), record(2))
    run(source, tmp_path / "t.jsonl", to="trajectory")
    back = [trajectory_from_json(row) for row in rows(tmp_path / "t.jsonl")]
    assert [(one.id, one.file, one.line) for one in back] == [("MS_Agent_Bench_1", str(source), 1), ("MS_Agent_Bench_2", str(source), 2)]
    run(tmp_path / "t.jsonl", tmp_path / "s.jsonl", name="trajectory")
    run(source, tmp_path / "direct.jsonl")
    assert rows(tmp_path / "s.jsonl") == rows(tmp_path / "direct.jsonl")


def test_a_users_own_source(tmp_path: Path) -> None:
    code = """
        from agenttune.errors import Refusal
        from agenttune.values.trajectory import Round, Step, Trajectory

        NAME = "mine"

        def detect(record):
            return None

        def read(record, options):
            if record == 3:
                raise Refusal("three", "no threes")
            if record == 4:
                return
            if record == 5:
                yield Refusal("part", "half of five")
            yield Trajectory(id=str(record), rounds=(Round(user="q", steps=(Step(answer=str(10 / record)),)),))
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code))
    source = put(tmp_path / "in.jsonl", 1, 3, 4, 5, 0, 2)
    report = run(source, tmp_path / "out.jsonl", name=str(tmp_path / "mine.py"))
    assert [row["id"] for row in rows(tmp_path / "out.jsonl")] == ["1", "5", "2"]
    assert [(one["line"], one["code"]) for one in rows(tmp_path / "out.rejects.jsonl")] == [
        (2, "three"),
        (3, "empty"),
        (4, "part"),
        (5, "source_error"),
    ]
    assert (report.records, report.whole, report.partly, report.refused, report.trajectories) == (6, 2, 1, 3, 7)


def test_splits_never_part_a_group_and_do_not_move_as_data_grows(tmp_path: Path) -> None:
    tools = [f'{{"name": "t{number}", "description": "d"}}' for number in range(60)]
    records = [record(number, system=f"1. {tools[number % 60]}", call='{"api_name": "t", "parameters": {}}') for number in range(180)]
    report = run(put(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl", split={"dev": 0.2, "test": 0.1})
    groups = {name: {row["meta"]["group"] for row in rows(tmp_path / f"out{name}.jsonl")} for name in ("", ".dev", ".test")}
    assert not (groups[""] & groups[".dev"] or groups[""] & groups[".test"] or groups[".dev"] & groups[".test"])
    assert all(groups.values())
    assert sum(report.splits.values()) == 180 == sum(len(rows(tmp_path / f"out{name}.jsonl")) for name in ("", ".dev", ".test"))
    assert 5 <= len(groups[".dev"]) <= 20
    run(put(tmp_path / "half.jsonl", *records[:90]), tmp_path / "half.out.jsonl", split={"dev": 0.2, "test": 0.1})
    assert {row["meta"]["group"] for row in rows(tmp_path / "half.out.dev.jsonl")} == groups[".dev"]


def test_parse_split() -> None:
    assert parse_split("dev=5%, test = 0.25") == {"dev": 0.05, "test": 0.25}
    assert parse_split(None) == {}


def test_failed_calls_are_context_and_not_learned(tmp_path: Path) -> None:
    one = record(1)
    call = '<|startofthink|>{"api_name": "a", "parameters": {"x": "%s"}}<|endofthink|>'
    one["conversations"][2]["value"] = (
        call % "0"
        + call.replace("%s", "1")
        + "\n试"
        + call % "2"
        + "<|startofexec|>Traceback (most recent call last):\n<|endofexec|>再"
        + call % "3"
        + "<|startofexec|>好<|endofexec|>答"
    )
    report = run(put(tmp_path / "in.jsonl", one), tmp_path / "out.jsonl", mask_failed=True)
    turns = rows(tmp_path / "out.jsonl")[0]["conversation"]
    assert [turn.get("weight", 1.0) for turn in turns] == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert report.changes["masked_failed"] == 2


def test_strict_turns_warnings_into_rejects(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1), record(2, call='{"api_name": "b", "parameters": {}}'), record(1), record(3))
    assert run(source, tmp_path / "easy.jsonl").rejects == 0
    report = run(source, tmp_path / "out.jsonl", strict=True)
    assert [(one["line"], one["code"]) for one in rows(tmp_path / "out.rejects.jsonl")] == [(2, "unknown_tool"), (3, "duplicate_content")]
    assert (report.before["calls"], report.after["calls"]) == (4, 2)


def test_fixes_are_applied_and_counted(tmp_path: Path) -> None:
    system = '1. {"name": "search_web", "description": "d", "parameters": [{"name": "n", "type": "integer"}]}'
    source = put(
        tmp_path / "in.jsonl", record(1, call='{"api_name": "search_wep", "parameters": {"n": "7"}}', system=system), record(2, system="x")
    )
    report = run(source, tmp_path / "out.jsonl", fix=repairs.NAMES)
    first, second = rows(tmp_path / "out.jsonl")
    assert 'Action: search_web\nAction Input: {"n": 7}' in first["conversation"][0]["output"]
    assert second["tools"][0]["name"] == "a"
    assert report.changes == {"fixed_tool_list": 1, "fixed_tool_name": 1, "fixed_types": 1}
    assert report.findings == {}


def test_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    chance = random.Random(7)
    lines: list[Any] = [record(number) if chance.random() > 0.1 else f"{{broken {number}" for number in range(900)]
    source = put(tmp_path / "in.jsonl", *lines, record(5))
    seen = []
    for workers in (1, 2, 3):
        report = run(source, tmp_path / "o" / "out.jsonl", workers=workers, split={"dev": 0.05})
        seen.append(files_of(tmp_path / "o"))
    assert seen[0] == seen[1] == seen[2]
    assert report.records == 901 == report.samples + report.rejects


def test_killed_in_the_middle_leaves_no_output(tmp_path: Path) -> None:
    put(tmp_path / "in.jsonl", *(record(number) for number in range(3000)))
    code = f"""
        import os, signal
        from agenttune.data.convert.run import convert
        def stop(event):
            if getattr(event, "records", 0) > 500:
                os.kill(os.getpid(), signal.SIGKILL)
        convert("msagent", [{str(tmp_path / "in.jsonl")!r}], {str(tmp_path / "o" / "out.jsonl")!r}, events=stop)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    assert not [path for path in (tmp_path / "o").iterdir() if not path.name.startswith(".")]


def test_interrupted_leaves_nothing_at_all(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", *(record(number) for number in range(300)))

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "o" / "out.jsonl", events=stop, workers=workers)
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize(("workers", "signal_number"), [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGKILL)])
def test_a_real_process_that_is_stopped_leaves_no_output(tmp_path: Path, workers: int, signal_number: int) -> None:
    out = str(tmp_path / "o" / "out.jsonl")
    command = [sys.executable, "-m", "agenttune", "convert", "msagent", "-", "-o", out, "--workers", str(workers)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("".join(json.dumps(record(number)) + "\n" for number in range(3000)).encode())
        process.stdin.flush()
        process.stderr.readline()  # the first line of progress: it is under way, and waits for more
        os.killpg(process.pid, signal_number)
        said = process.stderr.read().decode()
        process.stdin.close()
    left = sorted(path.name for path in (tmp_path / "o").iterdir())
    if signal_number == signal.SIGINT:
        assert (process.returncode, said, left) == (130, "agenttune: interrupted\n", [])
    else:
        assert process.returncode == -signal.SIGKILL
        assert left
        assert all(name.startswith(".") and name.endswith(".part") for name in left)
    report = convert("msagent", [str(put(tmp_path / "in.jsonl", record(1)))], out)
    assert report.samples == 1
    assert not [path for path in (tmp_path / "o").iterdir() if path.name.endswith(".part")]


BAD_VALUES = [None, True, -1, 1.5, "", [], {}, "<|endofthink|>", "\ud800", "\x00", [[]] * 3, {"from": 1}, "{" * 300, "x" * 100_000]
LINE_DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.integers(0, 60)),
    st.tuples(
        st.just("put"),
        st.integers(0, 10**6),
        st.sampled_from(['"', "{", "}", "[", "]", ",", "\\", "\x00", "\n", "NaN", "\\ud800", "[" * 10_000]),
    ),
    st.tuples(st.just("value"), st.integers(0, 10**6), st.sampled_from(BAD_VALUES)),
)


def damaged(line: str, damage: list[tuple[str, int, Any]]) -> str:
    for kind, at, what in damage:
        if kind == "cut":
            at %= len(line) + 1
            line = line[:at] + line[at + what :]
        elif kind == "put":
            at %= len(line) + 1
            line = line[:at] + what + line[at:]
        else:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            places = list(_places(value))
            if places:
                holder, key = places[at % len(places)]
                holder[key] = what
                line = json.dumps(value)
    return line


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


@settings(
    max_examples=int(os.environ.get("AGENTTUNE_DAMAGE", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.lists(LINE_DAMAGE, min_size=1, max_size=3), min_size=4, max_size=12), st.sampled_from(["react", "react_zh"]))
def test_damaged_files_lose_no_record(tmp_path: Path, damages: list[list[tuple[str, int, Any]]], protocol: str) -> None:
    lines = [damaged(json.dumps(record(number)), damage) for number, damage in enumerate(damages)]
    source = tmp_path / "in.jsonl"
    source.write_bytes("".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass"))
    # Blank means what the reader calls blank: ASCII white space.
    expected = sum(1 for line in source.read_bytes().split(b"\n") if line.strip())
    try:
        report = run(source, tmp_path / "out.jsonl", overwrite=True, protocol=protocol)
    except UserError as error:
        assert expected == 0, error
        return
    assert report.records == expected == report.samples + report.rejects
    assert report.reasons.get("source_error", 0) == 0
    assert len(rows(tmp_path / "out.rejects.jsonl")) == report.rejects
    if report.samples:
        samples = [sample_from_json(row) for row in rows(tmp_path / "out.jsonl")]
        assert len(samples) == report.samples
        assert sum("Action:" in turn.output for sample in samples for turn in sample.turns) >= report.after["calls"]


def test_a_big_value_takes_no_time(tmp_path: Path) -> None:
    big = record(1)
    big["conversations"][2]["value"] += "字" * 3_500_000
    deep = record(2)
    deep["conversations"][1]["extra"] = json.loads("[" * 300 + "]" * 300)
    started = time.monotonic()
    report = run(put(tmp_path / "in.jsonl", big, deep, record(3)), tmp_path / "out.jsonl")
    assert report.samples == 3
    assert time.monotonic() - started < 20


REAL = [
    ("msagent", "msagent/ms_agent_bench_20.jsonl", {}),
    ("msagent", "msagent/dev0_raw_system_head.json", {}),
    ("ms_agent", "msagent/ms_agent_react_126374.jsonl", {}),
    ("react", "react-gpt4/dev.jsonl", {"systems": "react-gpt4/systems.json"}),
    ("react", "toolalpaca/eval_simulated.json", {}),
    ("react", "toolalpaca/octobrist_chatgpt_multi_api_trajectories.json", {}),
    ("react", "fireact/hotpotqa.json", {}),
    ("react", "fireact/traj_hotpotqa_dev_gpt35ft.json", {}),
    ("react", "knowagent/HotpotQA_data_knowagent.json", {}),
    ("react", "knowagent/ALFWorld_data_knowagent.json", {}),
    ("react", "react-fewshot/fever.json", {}),
]


@pytest.mark.parametrize(("name", "file", "options"), REAL)
def test_real_files_lose_nothing(data_dir: Path, tmp_path: Path, name: str, file: str, options: dict[str, str]) -> None:
    given = {key: read_systems(str(data_dir / value)) for key, value in options.items()}
    report = run(data_dir / file, tmp_path / "out.jsonl", name=name, **given)
    text = (data_dir / file).read_text(encoding="utf-8")
    value = [json.loads(line) for line in text.splitlines() if line.strip()] if file.endswith(".jsonl") else json.loads(text)
    table = isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())
    assert report.records == (len(value) if isinstance(value, list) or table else 1)
    assert report.trajectories == report.samples + report.rejects
    assert report.records == report.whole + report.partly + report.refused
    assert len(rows(tmp_path / "out.rejects.jsonl")) == report.rejects
    if report.samples:
        samples = [sample_from_json(row) for row in rows(tmp_path / "out.jsonl")]
        outputs = [turn.output for sample in samples for turn in sample.turns]
        seen = [turn.system for sample in samples for turn in sample.turns if re.search(r"(?:\A|\n\n)Observation:", turn.system)]
        assert report.samples == len(samples)
        assert sum(bool(re.search(r"^Action: ", text, re.MULTILINE)) for text in outputs) == report.after["calls"]
        assert sum(bool(re.search(r"^Final Answer:", text, re.MULTILINE)) for text in outputs) == report.after["answers"]
        assert len(seen) == report.after["observations"]
    assert report.reasons.get("unwritable", 0) == 0
    found = set(report.reasons) & set(SEVERITY)  # what the doctor rejects was read, and is not written
    assert found == ({"call_as_text"} if "octobrist" in file else set())
    assert report.after == report.before or found


def test_records_that_come_slowly_are_converted_as_they_come(tmp_path: Path) -> None:
    lines = [json.dumps(record(number)).encode() + b"\n" for number in range(200)]
    outs = [tmp_path / name / "out.jsonl" for name in ("slow", "quick")]
    commands = [
        [sys.executable, "-m", "agenttune", "convert", "msagent", "-", "-o", str(out), "--workers", str(workers)]
        for out, workers in zip(outs, (2, 1), strict=True)
    ]
    root, sent, seen = Path(__file__).parents[3], [0], threading.Event()
    with subprocess.Popen(commands[0], stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=root) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        feeder = threading.Thread(target=feed, args=(process.stdin, lines, sent, seen))
        feeder.start()
        told = process.stderr.readline().decode()
        seen.set()
        feeder.join()
        assert process.wait(60) == 0
    assert 0 < int(told.split(" records")[0]) <= sent[0] < len(lines), "nothing was told before the last record had come"
    subprocess.run(commands[1], input=b"".join(lines[: sent[0]]), check=True, capture_output=True, cwd=root)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def feed(stream: IO[bytes], lines: list[bytes], sent: list[int], seen: threading.Event) -> None:
    """A line now and then, until something was seen or there is no more."""
    for line in lines:
        stream.write(line)
        stream.flush()
        sent[0] += 1
        if seen.wait(0.3):
            break
    stream.close()


def test_the_command_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    source = put(tmp_path / "in.jsonl", record(1))
    code = (
        "import sys; from agenttune.cli import main\n"
        f"done = main(['convert', 'msagent', {str(source)!r}, '-o', {str(tmp_path / 'out.jsonl')!r}])\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'yaml', 'pyarrow', 'matplotlib', 'jsonschema', 'prompt_toolkit'}\n"
        "print(done, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout.splitlines()[-1] == "0 []"
