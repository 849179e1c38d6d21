"""The first lines of a report, in words: what is usable, what to look at, what was dropped, what was not given."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.data.convert.merge import added, read_report
from agenttune.data.convert.options import ConvertOptions, Shard
from agenttune.data.convert.report import ConvertReport
from agenttune.data.convert.run import convert
from agenttune.data.convert.verdict import verdict

USER = {"role": "user", "content": "Wetter in Köln?"}
DONE = {"role": "assistant", "content": "It is 12."}
EMPTY = {"role": "assistant", "content": ""}
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def file(path: Path, *records: Any) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return str(path)


def chat(number: int, *messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{**USER, "content": f"Wetter in {number}?"}, *messages], **fields}


def test_the_numbers_of_a_report_in_words() -> None:
    report = ConvertReport(
        out="o.jsonl", source="openai", protocol="react", to="sample", job="j",
        records=4640, whole=4635, refused=5, trajectories=4640, samples=4635, rejects=5, after={"calls": 6062},
        reasons={"empty_answer": 5}, findings={"empty_answer": 177, "unknown_tool": 46, "result_unread": 4000},
        touched={"empty_answer": 177, "unknown_tool": 46, "result_unread": 4000},
        dropped={"message_fields_dropped: text": 371, "message_fields_dropped: apis": 78, "fields_dropped: scene": 1},
    )  # fmt: skip
    assert verdict(report) == (
        "usable: 4,635 of 4,640; 6,062 calls; 5 rejected; look at: 177 empty answers",
        "message fields dropped: text 371, apis 78",
        "fields dropped: scene 1",
    )


def test_what_touches_one_conversation_in_a_hundred_is_not_worth_a_word(tmp_path: Path) -> None:
    records = [chat(number, DONE) for number in range(200)]
    records[7] = chat(7, EMPTY)
    report = convert("openai", [file(tmp_path / "in.jsonl", *records)], options=ConvertOptions(check=True))
    assert verdict(report) == ("usable: 199 of 200; 0 calls; 1 rejected",)
    records[8] = chat(8, EMPTY)
    records[9] = chat(9, EMPTY)
    report = convert("openai", [file(tmp_path / "in.jsonl", *records)], options=ConvertOptions(check=True))
    assert verdict(report) == ("usable: 197 of 200; 0 calls; 3 rejected; look at: 3 empty answers",)


def test_one_conversation_with_many_findings_is_one(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "wether", "arguments": "{}"}}]}
    many = [one for _ in range(5) for one in (call, {"role": "tool", "content": "12"})]
    records = [chat(number, DONE) for number in range(199)] + [chat(199, *many, DONE, tools=[TOOL])]
    report = convert("openai", [file(tmp_path / "in.jsonl", *records)], options=ConvertOptions(check=True))
    assert (report.findings["unknown_tool"], report.touched["unknown_tool"]) == (5, 1)
    assert verdict(report)[0] == "usable: 200 of 200; 5 calls; none rejected"


def test_names_of_what_was_dropped_are_told_and_add_up_over_shards(tmp_path: Path) -> None:
    records = [chat(number, {**DONE, "scene": "beach", **({"mood": "gay"} if number % 2 else {})}) for number in range(10)]
    source = file(tmp_path / "in.jsonl", *records)
    report = convert("openai", [source], options=ConvertOptions(check=True))
    assert verdict(report)[1:] == ("message fields dropped: scene 10, mood 5",)
    for number in (1, 2):
        convert("openai", [source], str(tmp_path / f"p{number}.jsonl"), options=ConvertOptions(shard=Shard(number, 2)))
    whole = added([read_report(str(tmp_path / f"p{number}.jsonl")) for number in (1, 2)])
    assert verdict(whole) == verdict(report)


def test_a_system_text_that_was_not_given_and_tools_that_no_list_offers(tmp_path: Path) -> None:
    said = [
        {"from": "user", "value": "Rain in Kiel?"},
        {"from": "assistant", "value": 'Thought: t\nAction: rain\nAction Input: {"town": "Kiel"}'},
    ]
    said += [
        {"from": "function", "value": "17.3 mm"},
        {"from": "assistant", "value": 'Thought: t\nAction: finish\nAction Input: {"answer": "17.3"}'},
    ]
    source = file(tmp_path / "in.jsonl", *({"id": str(number), "scenario": "Rain", "conversations": said} for number in range(18)))
    report = convert("react", [source], options=ConvertOptions(check=True))
    first, second = verdict(report)
    assert first.startswith("usable: 18 of 18; 18 calls; none rejected; look at: 18 conversations that declare no tool and call some")
    assert second == "18 records name a system text that was not given (--systems FILE)"
    given = ConvertOptions(check=True, systems={"Rain": "Be brief."})
    assert len(verdict(convert("react", [source], options=given))) == 1


def test_records_that_look_as_if_they_held_calls_of_which_none_was_read(tmp_path: Path) -> None:
    code = """
        from agenttune.values.trajectory import Round, Step, Trajectory
        NAME = "mine"
        def detect(record):
            return None
        def read(record, options):
            yield Trajectory(rounds=(Round(user=record["q"], steps=(Step(answer=record["a"]),)),))
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code), encoding="utf-8")
    quoted = 'they write {"tool_calls": [{"name": "f"}]} there'
    records = [{"q": "q1", "a": "a1", "tool_calls": [{"name": "f"}]}, {"q": "q2", "a": "a2", "tool_calls": []}, {"q": "q3", "a": quoted}]
    mine, source = str(tmp_path / "mine.py"), file(tmp_path / "in.jsonl", *records)
    report = convert(mine, [source], options=ConvertOptions(check=True))
    assert [(one.line, one.code) for one in report.refusals] == [(1, "calls_unread")]
    assert (report.samples, report.reasons) == (2, {"calls_unread": 1})
    assert verdict(report)[0].endswith("look at: 1 record of which no call was read and which looks as if it held some")


def test_the_verdict_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = file(tmp_path / "in.jsonl", chat(1, {**DONE, "scene": "beach"}))
    assert main(["convert", "openai", source, "-o", str(tmp_path / "out.jsonl"), "--workers", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["usable: 1 of 1; 0 calls; none rejected", "message fields dropped: scene 1"]
    assert f"{tmp_path / 'out.jsonl'}: 1 record" in said
    assert "usable: 1 of 1" in (tmp_path / "out.report.html").read_text(encoding="utf-8")


def test_a_file_of_which_nothing_is_usable_names_the_source_that_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = file(tmp_path / "in.jsonl", chat(1, EMPTY))
    assert main(["convert", "auto", source, "-o", str(tmp_path / "out.jsonl"), "--workers", "1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"agenttune: nothing in {source} could be used as openai (a step neither calls nor answers); is it another format?"
    )
