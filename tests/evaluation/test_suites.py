"""Suites and files of samples as cases; what is not there or not usable is a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.evaluation.evaluate import score_cases
from agenttune.protocols.base import write
from agenttune.values.case import Case, exactly
from agenttune.values.sample import Sample, sample_to_json
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

CALL = ToolCall(name="add", arguments={"n": 1})
ROW: dict[str, Any] = {
    "id": "r1",
    "tools": [{"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}],
    "system": "Be brief.",
    "user": "add 1",
    "accepted": [{"name": "add", "arguments": {"n": 1}}],
    "compare": {"n": "number"},
    "tags": {"half": "known", "lang": "en"},
    "clusters": ["add", "add {n}"],
}


def sample(name: str = "t", protocol: str = "react") -> Sample:
    """Three steps: a call, a call that is context only, an answer."""
    steps = (Step(calls=(CALL,), observations=(Observation(text="2"),)), Step(calls=(CALL,), weight=0.0), Step(answer="It is 2."))
    return write(
        Trajectory(id=name, group="g", tools=(ToolSpec(name="add"),), rounds=(Round(user="u", steps=steps),)), protocols.get(protocol)
    )


def file(path: Path, *rows: object) -> Path:
    """A file with a JSON value a line; text stands as it is."""
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def folder(path: Path, yaml: str, *rows: object) -> Path:
    """A suite's folder with the split ``dev``."""
    path.mkdir()
    (path / "suite.yaml").write_text(yaml, encoding="utf-8")
    file(path / "dev.jsonl", *rows)
    return path


def test_a_file_of_samples_is_a_suite(tmp_path: Path) -> None:
    found = suites.read(str(file(tmp_path / "samples.jsonl", sample_to_json(sample()))))
    assert [(one.id, one.answers, one.clusters) for one in found] == [("t#0", (exactly([CALL]),), ("g", "t")), ("t#2", (), ("g", "t"))]
    assert [one.tags["turn"] for one in found] == ["first", "later"]
    assert found[1].reference == "It is 2."
    assert [turn.output for turn in found[1].sample.turns] == [*(turn.output for turn in sample().turns[:2]), ""]
    assert found[0].sample.turns == (type(found[0].sample.turns[0])(system=sample().turns[0].system, input="u"),)


def test_each_alternative_of_a_record_is_an_accepted_answer(tmp_path: Path) -> None:
    from agenttune.data.convert.run import convert

    said = ['Thought: a\nAction: add\nAction Input: {"n": 1}', 'Thought: b\nAction: sum\nAction Input: {"m": 2}']
    talk = [{"from": "user", "value": "u"}, {"from": "assistant", "value": said}]
    mixed = [{"from": "user", "value": "u"}, {"from": "assistant", "value": [said[0], "Thought: c\nFinal Answer: 2"]}]
    file(tmp_path / "raw.jsonl", {"id": "r", "conversations": talk}, {"id": "m", "conversations": mixed})
    convert("react", [str(tmp_path / "raw.jsonl")], str(tmp_path / "samples.jsonl"))
    found = suites.load(str(tmp_path / "samples.jsonl"))
    (case,) = found.cases
    assert case.answers == (exactly([CALL]), exactly([ToolCall(name="sum", arguments={"m": 2})]))
    for step, reason in zip([*case.answers, exactly([ToolCall(name="add", arguments={"n": 2})])], ["ok", "ok", "wrong_value"], strict=True):
        made = Step(calls=tuple(one.call for one in step))
        assert [one.reason for one in score_cases([case], lambda _, made=made: [made])] == [reason]
    assert found.left_out == {"accepted_differ": 1}


def test_one_bad_line_among_good_ones_is_left_out_and_counted(tmp_path: Path) -> None:
    broken = {**sample_to_json(sample("b")), "conversation": [{"system": "", "input": "u", "output": "Action: add\nAction Input: {"}]}
    path = file(tmp_path / "samples.jsonl", "{broken", sample_to_json(sample()), '{"a": 1}', "", broken, "[1]")
    found = suites.load(str(path))
    assert [one.id for one in found.cases] == ["t#0", "t#2"]
    assert found.left_out == {"json": 2, "sample": 1, "malformed": 1}


def test_samples_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rows = [sample_to_json(sample(name)) for name in ("t", "t", "", "")]
    found = suites.read(str(file(tmp_path / "samples.jsonl", *rows)))
    assert [one.id for one in found[::2]] == ["t#0", "t@2#0", "line@3#0", "line@4#0"]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0cfour"
    row = sample_to_json(write(Trajectory(id="t", rounds=(Round(user=text, steps=(Step(answer="a"),)),)), protocols.get("react")))
    (found,) = suites.read(str(file(tmp_path / "samples.jsonl", row)))
    assert found.sample.turns[-1].input == text


def test_samples_keep_their_protocol(tmp_path: Path) -> None:
    path = str(file(tmp_path / "zh.jsonl", sample_to_json(sample(protocol="react_zh"))))
    assert suites.read(path)[0].sample.protocol == "react_zh"
    with pytest.raises(UserError, match=r"zh.jsonl:1 is written in react_zh, not in react; make the samples with --protocol react"):
        suites.read(path, protocol="react")
    both = str(file(tmp_path / "both.jsonl", sample_to_json(sample()), sample_to_json(sample("z", "react_zh"))))
    with pytest.raises(UserError, match=r"both.jsonl:2 is written in react_zh, not in react"):
        suites.read(both)
    with pytest.raises(UserError, match=r'did you mean "react"'):
        suites.read(str(file(tmp_path / "odd.jsonl", {**sample_to_json(sample()), "protocol": "raect"})))


@pytest.mark.parametrize(
    ("content", "said"), [("", "no case"), ("\n\n", "no case"), ("{broken\n", ":1: the line is not JSON"), ("[]\n", "not a JSON object")]
)
def test_a_file_with_nothing_usable_is_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        suites.read(str(path))


def test_a_suites_folder_and_its_splits(tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", "reader: desk\nprotocol: react_zh\nsplits: {dev: dev.jsonl, test: none.jsonl}\n", ROW)
    (found,) = suites.read(str(path))
    assert (found.id, found.sample.protocol, found.answers) == ("r1", "react_zh", (exactly([CALL]),))
    assert (found.compare, found.tags, found.clusters) == ({"n": "number"}, {"half": "known", "lang": "en"}, ("add", "add {n}"))
    assert found.sample.turns[-1].input == "add 1"
    assert "Be brief." in found.sample.turns[0].system
    assert suites.read(f"{path}:dev", protocol="hermes")[0].sample.protocol == "hermes"
    with pytest.raises(UserError, match=r"none.jsonl: No such file"):
        suites.read(f"{path}:test")
    with pytest.raises(UserError, match=r'no split "tset" \(did you mean "test"\?\); it has dev, test'):
        suites.read(f"{path}:tset")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accepted": None}, r'dev.jsonl:2 is no case of a suite: it needs "accepted", a JSON list'),
        ({"user": 5}, '"user", a JSON string'),
        ({"accepted": [{"name": "add"}]}, 'needs "name", a string, and "arguments", an object'),
        ({"tools": [{}]}, "a tool needs a name"),
        ({"compare": {"n": "numbr"}}, r'case r2 compares "n" as "numbr" \(did you mean "number"\?\)'),
        ({"id": "r1"}, r'two cases with the id "r1"'),
    ],
)
def test_a_row_that_is_no_case_is_a_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = folder(tmp_path / "mine", "reader: desk\nsplits: {dev: dev.jsonl}\n", ROW, {**ROW, "id": "r2", **change})
    with pytest.raises(UserError, match=said):
        suites.read(str(path))


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("a: [", "is not YAML"),
        ("[]", 'needs "splits"'),
        ("splits: {}", 'needs "splits"'),
        ("splits: {dev: dev.jsonl}\nreader: dsek\n", r'names the reader "dsek" \(did you mean "desk"\?\)'),
        ("splits: {dev: dev.jsonl}\nreader: ./reader.py\n", "names the reader"),  # a file of data never names code
    ],
)
def test_a_suites_settings_are_checked(tmp_path: Path, yaml: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        suites.read(str(folder(tmp_path / "mine", yaml, ROW)))


def test_a_suite_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no suite or file "desc" \(did you mean "desk"\?\); shipped suites: apibank, bfcl, desk'):
        suites.read("desc")
    for name in ("", "no-file.jsonl", str(tmp_path), str(tmp_path / "no.jsonl"), "no_package.no_module", "./no_reader.py", "../configs"):
        with pytest.raises(UserError, match="no suite or file"):
            suites.read(name)
    with pytest.raises(UserError, match='no split "heldut"'):
        suites.read("desk:heldut")


READER = """
from agenttune import protocols
from agenttune.protocols.base import write
from agenttune.values.case import Case, exactly
from agenttune.values.trajectory import Round, Trajectory

def read(path, protocol):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if "def" not in line:
            trajectory = Trajectory(id=f"p{number}", rounds=(Round(user=line.strip()),))
            yield Case(id=f"p{number}", sample=write(trajectory, protocols.get(protocol or "react")))
"""


def test_a_reader_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = tmp_path / "questions_reader.py"
    reader.write_text(READER)
    questions = file(tmp_path / "questions.txt", "Why?", "How?")
    found = suites.read(f"{reader}:{questions}", protocol="hermes")
    assert [(one.sample.turns[-1].input, one.sample.protocol) for one in found] == [("Why?", "hermes"), ("How?", "hermes")]
    assert len(suites.read(str(reader))) > 5  # with no file it is given its own
    package = tmp_path / "my_suites"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "questions.py").write_text(READER)
    (package / "broken.py").write_text("1/0")
    (package / "other.py").write_text("reed = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(suites.read(f"my_suites.questions:{questions}")) == 2
    with pytest.raises(UserError, match="broken"):
        suites.read("my_suites.broken")
    with pytest.raises(UserError, match=r"no function read\(path, protocol\)"):
        suites.read("my_suites.other")
    with pytest.raises(UserError, match="no suite or file"):
        suites.read("my_suites.missing")
    for name in [name for name in sys.modules if name.startswith("my_suites")]:
        del sys.modules[name]


def test_the_shipped_suite_is_whole() -> None:
    found = suites.read("desk")
    assert len(found) == 400
    assert sum(1 for one in found if one.tags["half"] == "unseen") == 200
    assert sum(1 for one in found if one.tags["lang"] == "zh") <= 60
    assert {one.tags["kind"] for one in found} == {"call", "no_tool", "missing_argument"}
    development = suites.read("desk:dev")
    assert not {one.sample.turns[-1].input for one in found} & {one.sample.turns[-1].input for one in development}
    assert suites.read("desk:heldout") == found


@pytest.mark.parametrize("name", ["desk", "desk:dev"])
def test_whoever_knows_the_answers_is_right_everywhere(name: str) -> None:
    """Each accepted call of each case is right, and so nothing in the suite is out of reach."""
    found = suites.read(name)
    most = max(len(case.answers) for case in found)
    for number in range(most):
        asked = [case for case in found if number < max(1, len(case.answers))]
        steps = [Step(calls=_answer(case, number), answer=None if case.answers else "Which one?") for case in asked]
        assert {one.reason for one in score_cases(asked, lambda _, steps=steps: steps)} == {"ok"}


def test_real_trajectories_become_cases(data_dir: Path, tmp_path: Path) -> None:
    """The first real ReAct records: their own outputs, read back, are right; as many cases as trained outputs."""
    from agenttune.data.convert.options import ConvertOptions, read_systems
    from agenttune.data.convert.run import convert

    lines = (data_dir / "react-gpt4" / "dev.jsonl").read_text(encoding="utf-8").split("\n")[:12]
    file(tmp_path / "raw.jsonl", *lines)
    options = ConvertOptions(systems=read_systems(str(data_dir / "react-gpt4" / "systems.json")))
    convert("react", [str(tmp_path / "raw.jsonl")], str(tmp_path / "samples.jsonl"), options=options)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").split("\n") if line]
    outputs = [turn["output"] for row in rows for turn in row["conversation"] if turn["output"] and turn.get("weight", 1)]
    assert len(outputs) >= 20
    found = suites.load(str(tmp_path / "samples.jsonl"))
    assert len(found.cases) == len(outputs)
    assert not found.left_out
    said = dict(zip((case.id for case in found.cases), outputs, strict=True))

    def oracle(cases: Any) -> list[Step]:
        return [protocols.get("react").parse(said[case.id]) for case in cases]

    assert {one.reason for one in score_cases(found.cases, oracle)} == {"ok"}
    assert {len(case.answers) for case in found.cases} == {0, 1}
    assert all(isinstance(case, Case) and case.sample.tools for case in found.cases)


def _answer(case: Case, number: int) -> tuple[ToolCall, ...]:
    return tuple(one.call for answer in case.answers[number : number + 1] for one in answer)
