"""A data file is data: a text that would do something under `eval` does nothing, wherever it stands, and it is kept or refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.data.quality import repairs
from tests.sources.corpus import SHAPES, Json, line
from tests.sources.damage import places

FORMS = (
    "{code}",
    "[{{'from': 'user', 'value': 'q'}}, {{'from': 'assistant', 'value': {code}}}]",
    "{{'api_name': 'a', 'name': 'a', 'parameters': {code}, 'arguments': {code}}}",
    "f'{{{code}}}'",
    "[one for one in ({code},)]",
    "(lambda: {code})()",
    "Thought: t\nAction: a\nAction Input: {code}",
    "<|startofthink|>{code}<|endofthink|>",
    "<tool_call>{code}</tool_call>",
    "API-Request: [a(b={code})]",
)


def code(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


def attacks(record: Json, mark: Path) -> Iterator[Json]:
    """The record with each of its texts in turn replaced by, or followed by, code in some form."""
    for number, (_, _) in enumerate(list(places([record]))):
        for form in FORMS[number % 3 :: 3]:
            box = [copy.deepcopy(record)]
            container, key = list(places(box))[number]
            text = form.format(code=code(mark))
            container[key] = text if number % 2 or not isinstance(container[key], str) else container[key] + text
            yield box[0]


def test_the_attack_is_one(tmp_path: Path) -> None:
    """Under the evaluation that other converters do, the mark appears: so its absence below means something."""
    eval(code(tmp_path / "ran"))  # noqa: S307
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", sorted({shape.source for shape in SHAPES}))
def test_code_in_any_text_of_any_source_does_nothing(tmp_path: Path, source: str) -> None:
    mark = tmp_path / "ran"
    good = [json.loads(line(shape)) for shape in SHAPES if shape.source == source and not shape.reject]
    lines = [json.dumps(one) + "\n" for record in good for one in attacks(record, mark)]
    (tmp_path / "in.jsonl").write_text("".join(lines), encoding="utf-8")
    for name, out in (("react", "a.jsonl"), ("hermes", "b.jsonl")):
        report = convert(
            source, [str(tmp_path / "in.jsonl")], str(tmp_path / out), options=ConvertOptions(protocol=name, fix=repairs.NAMES)
        )
        assert report.records == len(lines) == report.whole + report.partly + report.refused
        assert "source_error" not in report.reasons
    assert len(lines) >= 15
    assert not mark.exists()


def test_a_conversation_that_is_code_is_a_reject(tmp_path: Path) -> None:
    record = {"id": "x", "conversations": f"[{{'from': 'user', 'value': {code(tmp_path / 'ran')}}}]"}
    (tmp_path / "in.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    report = convert("msagent", [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl"))
    assert (report.records, report.samples, report.reasons) == (1, 0, {"shape": 1})
    assert not (tmp_path / "ran").exists()
