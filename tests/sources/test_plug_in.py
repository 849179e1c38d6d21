"""A source of one's own: what it must have, and what it may leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune import sources
from agenttune.data.convert.run import convert
from agenttune.errors import UserError

# A whole plug-in, as the documentation shows it: at most 20 lines.
PLUG_IN = '''\
from agenttune.errors import Refusal
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

LOOKUP = ToolSpec(name="lookup", description="Looks a word up.", parameters={"type": "object", "properties": {"word": {"type": "string"}}})


def read(record, options):
    """{"question", "word", "found", "answer"} as one question, one call of `lookup`, and the answer."""
    if not record.get("answer"):
        raise Refusal("no_answer", "the row has no answer")
    call = ToolCall(name="lookup", arguments={"word": record["word"]})
    steps = (
        Step(thought="I look it up.", calls=(call,), observations=(Observation(text=record["found"]),)),
        Step(answer=record["answer"]),
    )
    yield Trajectory(file=options.file, line=options.line, tools=(LOOKUP,), rounds=(Round(user=record["question"], steps=steps),))
'''


def test_a_plug_in_of_twenty_lines_converts_a_file(tmp_path: Path) -> None:
    assert len(PLUG_IN.splitlines()) <= 20
    plug_in = tmp_path / "glossary.py"
    plug_in.write_text(PLUG_IN)
    row = {"question": "What is a fjord?", "word": "fjord", "found": "a narrow inlet", "answer": "A narrow inlet of the sea."}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "answer": ""}) + "\n")
    out = tmp_path / "out.jsonl"
    report = convert(str(plug_in), [str(tmp_path / "in.jsonl")], str(out))
    assert (report.records, report.whole, report.refused) == (2, 1, 1)
    (sample,) = map(json.loads, out.read_text().splitlines())
    assert [turn["output"] for turn in sample["conversation"]] == [
        'Thought: I look it up.\nAction: lookup\nAction Input: {"word": "fjord"}',
        "Final Answer: A narrow inlet of the sea.",
    ]
    assert "a narrow inlet" in sample["conversation"][1]["system"]
    (reject,) = map(json.loads, (tmp_path / "out.rejects.jsonl").read_text().splitlines())
    assert (reject["line"], reject["code"]) == (2, "no_answer")


def test_a_name_defaults_to_the_files_and_detect_to_one_that_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "glossary.py").write_text("def read(record, options):\n    return iter(())\n")
    source = sources.get(str(tmp_path / "glossary.py"))
    assert source.NAME == "glossary"
    assert source.detect({"messages": []}) is None
    with pytest.raises(UserError, match="can be read but not written"):
        sources.get_target(str(tmp_path / "glossary.py"))


def test_what_is_there_is_used(tmp_path: Path) -> None:
    code = 'NAME = "mine"\n\ndef read(record, options):\n    return iter(())\n\ndef write(trajectory):\n    return {"id": trajectory.id}\n'
    (tmp_path / "other.py").write_text(code)
    assert sources.get(str(tmp_path / "other.py")).NAME == "mine"
    assert callable(sources.get_target(str(tmp_path / "other.py")).write)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("NAME = 'x'\n", r"has no function read\(record, options\)"),
        ("read = 3\n", '"read" of the source .* is no function'),
        ("detect = 'yes'\n\ndef read(record, options):\n    return iter(())\n", '"detect" of the source .* is no function'),
    ],
)
def test_a_module_that_is_no_source_is_refused_in_one_sentence(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(UserError, match=message):
        sources.get(str(tmp_path / "bad.py"))
