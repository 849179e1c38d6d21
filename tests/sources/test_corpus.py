"""The adversarial corpus: every shape is kept as it says, or refused for the reason it gives, by the readers and through the door."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenttune import sources
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.reading.records import RawRecord, parse
from agenttune.values.trajectory import Step, ToolCall, Trajectory
from tests.sources.corpus import BENT, SHAPES, Shape, line

LEAST = 60


def test_the_corpus_is_large_and_meets_everything_that_others_lose() -> None:
    names = [shape.name for shape in SHAPES]
    print(f"{len(SHAPES)} shapes:", dict(Counter(shape.source for shape in SHAPES)))
    print(f"{sum(bool(shape.row) for shape in SHAPES)} of them stand for {len(BENT)} ways in which a record is lost or bent elsewhere")
    assert len(SHAPES) >= LEAST
    assert len(set(names)) == len(names)
    assert {shape.source for shape in SHAPES} == set(sources.SHIPPED)
    assert {shape.row for shape in SHAPES} - {""} == set(BENT)


def read(shape: Shape) -> list[Trajectory]:
    record = parse(RawRecord(file="corpus", line=1, raw=line(shape).encode("utf-8")))
    found = []
    for one in sources.get(shape.source).read(record, ReadOptions(file="corpus", line=1)):
        if isinstance(one, Refusal):
            raise one
        found.append(one)
    return found


def steps(found: list[Trajectory]) -> list[Step]:
    return [step for one in found for round_ in one.rounds for step in round_.steps]


@pytest.mark.parametrize("shape", [one for one in SHAPES if not one.reject], ids=lambda shape: f"{shape.source}: {shape.name}")
def test_what_must_be_kept_is_kept(shape: Shape) -> None:
    found = read(shape)
    each = steps(found)
    assert len(found) == shape.conversations
    assert tuple(round_.user for one in found for round_ in one.rounds) == shape.users
    assert tuple(step.thought for step in each if step.thought) == shape.thoughts
    assert tuple(step.reasoning for step in each if step.reasoning) == shape.reasoning
    assert tuple((call.name, call.arguments) for step in each for call in step.calls if isinstance(call, ToolCall)) == shape.calls
    assert tuple(seen.text for step in each for seen in step.observations) == shape.observations
    assert tuple(step.answer for step in each if step.answer is not None) == shape.answers
    assert {one.system for one in found} == {shape.system}
    assert tuple(described(found[0])) == shape.tools
    assert sorted(note_name(note) for one in found for note in one.notes) == sorted(shape.changes)


def described(trajectory: Trajectory) -> list[Any]:
    schemas = [(tool.name, tool.parameters) for tool in trajectory.tools]
    return [(name, tuple(schema.get("properties") or ()), tuple(schema.get("required") or ())) for name, schema in schemas]


@pytest.mark.parametrize("shape", [one for one in SHAPES if one.reject], ids=lambda shape: f"{shape.source}: {shape.name}")
def test_what_cannot_be_kept_is_refused_by_name(shape: Shape) -> None:
    with pytest.raises(Refusal) as refused:
        read(shape)
    assert refused.value.code == shape.reject
    assert len(refused.value.sentence) > 10


@pytest.mark.parametrize("protocol", ["react", "hermes"])
@pytest.mark.parametrize("source", sorted({shape.source for shape in SHAPES}))
def test_through_the_door_nothing_is_lost(tmp_path: Path, source: str, protocol: str) -> None:
    """Each record of the corpus goes out as samples, or as rejects; and every word that must be kept stands in its samples."""
    shapes = [shape for shape in SHAPES if shape.source == source]
    (tmp_path / "in.jsonl").write_text("".join(line(shape) + "\n" for shape in shapes), encoding="utf-8")
    report = convert(source, [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl"), options=ConvertOptions(protocol=protocol))
    samples = rows(tmp_path / "out.jsonl")
    rejects = rows(tmp_path / "out.rejects.jsonl")
    assert report.records == len(shapes) == report.whole + report.partly + report.refused
    for number, shape in enumerate(shapes, 1):
        written = [one for one in samples if one["meta"]["line"] == number]
        refused = [one["code"] for one in rejects if one["line"] == number]
        assert len(written) + len(refused) == shape.conversations
        if shape.reject:
            assert refused == [shape.reject]
        elif not refused:
            missing = [text for text in kept(shape) if not any(text in turn for one in written for turn in turns(one))]
            assert not missing, shape.name
        else:
            assert refused == [getattr(shape, protocol)], shape.name


def kept(shape: Shape) -> list[str]:
    words = [name for name, _ in shape.calls] + [json.dumps(given, ensure_ascii=False) for _, given in shape.calls]
    return [*shape.users, *shape.thoughts, *shape.reasoning, *shape.observations, *shape.answers, shape.system, *words]


def turns(sample: Any) -> list[str]:
    return [turn.get(key, "") for turn in sample["conversation"] for key in ("system", "input", "output")]


def rows(path: Path) -> list[Any]:
    return [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
