"""The law that nothing of a record vanishes without a name: over the adversarial corpus, and over a part of all real data."""

from __future__ import annotations

import json
import textwrap
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from agenttune import sources
from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from agenttune.data.convert.verdict import verdict
from agenttune.data.quality.completeness import leaves, misplaced, vanished
from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions
from agenttune.sources.reading import files
from agenttune.sources.reading.records import parse
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, Trajectory
from tests.sources.corpus import SHAPES

RECORDS = 40  # of each real file

CALL = ToolCall(name="rain", arguments={"town": "Kiel", "days": 5})
ANSWERED = Step(thought="I look it up.", calls=(CALL,), observations=(Observation(text="17.3 mm"),))
RAIN = Trajectory(system="Be brief.", rounds=(Round(user="How much rain fell?", steps=(ANSWERED, Step(answer="17.3 mm fell."))),))
MESSAGES: list[Json] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How much rain fell?"},
    {"role": "assistant", "content": "I look it up.", "calls": [{"name": "rain", "arguments": json.dumps({"town": "Kiel", "days": 5})}]},
    {"role": "tool", "content": "17.3 mm"},
    {"role": "assistant", "content": "17.3 mm fell."},
]


def gone(record: Json, *read: Trajectory) -> list[tuple[str, str]]:
    return [(leaf.name(), leaf.text) for leaf in vanished(record, read)]


def test_leaves_are_told_in_the_order_of_the_record() -> None:
    found = [(leaf.path, leaf.text) for leaf in leaves({"a": ["longer", "abc", None, 3], "b": {"c": False, "role": "assistant"}})]
    assert found == [("a.0", "longer"), ("a.3", "3"), ("b.c", "false")]


def test_nothing_of_a_record_that_was_read_whole_has_vanished() -> None:
    assert gone({"messages": MESSAGES}, RAIN) == []


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"date": "Today is 2024-03-01."}, ("date", "Today is 2024")),
        ({"score": 0.75}, ("score", "0.75")),
        ({"verified": False}, ("verified", "false")),
        ({"messages": [*MESSAGES, {"role": "user", "content": "And in Lübeck tomorrow?"}]}, ("messages.content", "And in Lübeck tomorrow")),
        ({"messages": [*MESSAGES, {"role": "tool", "content": "降水量は十七ミリ"}]}, ("messages.content", "降水量は十七ミリ")),
    ],
)
def test_what_was_not_read_has_vanished_unless_it_is_named(more: dict[str, Json], lost: tuple[str, str]) -> None:
    record = {"messages": MESSAGES, **more}
    assert gone(record, RAIN) == [lost]
    named = Trajectory(**{**{name: getattr(RAIN, name) for name in RAIN.__dataclass_fields__}, "notes": (f"fields_dropped: {lost[0]}",)})
    assert gone(record, named) == ([] if "." not in lost[0] else [lost])


def test_a_weight_a_flag_and_an_escaped_text_are_read_as_something_else() -> None:
    said = Step(answer='He said "grün" today.', weight=0.0)
    record = {"messages": [{"loss": False, "content": "q1234"}, {"weight": 1, "content": json.dumps('He said "grün" today.')}]}
    assert gone(record, Trajectory(rounds=(Round(user="q1234", steps=(said,)),))) == []


def test_a_result_before_its_call_and_calls_in_another_order_are_told() -> None:
    assert list(misplaced(MESSAGES, RAIN)) == []
    late = Step(calls=(ToolCall(name="open", arguments={"door": "the red door"}),), observations=(Observation(text="it is open now"),))
    early = Step(calls=(ToolCall(name="find", arguments={"key": "the small key"}),), observations=(Observation(text="here it is, sir"),))
    record = [{"find": "the small key"}, {"said": "here it is, sir"}, {"open": "the red door"}, {"said": "it is open now"}]
    assert list(misplaced(record, Trajectory(rounds=(Round(user="q", steps=(early, late)),)))) == []
    assert list(misplaced(record, Trajectory(rounds=(Round(user="q", steps=(late, early)),)))) == ["find", "here it is, sir"]
    swapped = Step(calls=late.calls, observations=early.observations)
    assert list(misplaced(record, Trajectory(rounds=(Round(user="q", steps=(swapped,)),)))) == ["here it is, sir"]


def read(source: str, record: Json, systems: dict[str, str]) -> list[Trajectory]:
    """All conversations of a record, or none if one is refused: its reject holds the record."""
    try:
        found = list(sources.get(source).read(record, ReadOptions(file="f", line=1, systems=systems)))
    except Refusal:
        return []
    return [one for one in found if isinstance(one, Trajectory)] if not any(isinstance(one, Refusal) for one in found) else []


def test_nothing_of_the_corpus_vanishes_and_all_stands_in_its_order() -> None:
    looked = 0
    wrong: list[Any] = []
    for shape in SHAPES:
        found = read(shape.source, shape.record, {}) if not shape.reject and isinstance(shape.record, dict) else []
        looked += bool(found)
        wrong += [(shape.source, shape.name, name, text) for name, text in gone(shape.record, *found) if found]
        wrong += [(shape.source, shape.name, text) for one in found for text in misplaced(shape.record, one)]
    print(f"{looked} shapes looked at")
    assert looked >= 55
    assert wrong == []


def test_nothing_of_real_data_vanishes_and_all_stands_in_its_order(data_dir: Path) -> None:
    systems = dict(read_systems(str(data_dir / "react-gpt4" / "systems.json")))
    looked: dict[str, int] = {}
    wrong: set[tuple[str, ...]] = set()
    for file in sorted(data_dir.glob("*/*.json*")):
        values = [parse(one) for one in islice(files.read(files.expand([str(file)])[0]), RECORDS)]
        found = sources.detect(values[0])
        for value in values if found else ():
            assert found is not None
            trajectories = read(found[0], value, systems)
            looked[file.parent.name] = looked.get(file.parent.name, 0) + bool(trajectories)
            if trajectories:
                wrong |= {(found[0], name, file.name) for name, _ in gone(value, *trajectories)}
                wrong |= {(found[0], text, file.name) for one in trajectories for text in misplaced(value, one)}
    print(looked)
    assert sum(looked.values()) >= 400
    assert len(looked) >= 9
    assert wrong == set()


def test_a_check_tells_what_was_read_nowhere(tmp_path: Path) -> None:
    code = """
        from agenttune.values.trajectory import Round, Step, Trajectory
        def read(record, options):
            yield Trajectory(rounds=(Round(user=record["q"], steps=(Step(answer=record["a"]),)),))
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code), encoding="utf-8")
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"q": f"question {n}", "a": "17.3 mm", "shelf": "the upper one"}) + "\n" for n in range(3)))
    report = convert(str(tmp_path / "mine.py"), [str(source)], options=ConvertOptions(check=True))
    assert report.findings["vanished"] == 3
    assert "found nowhere: shelf 3" in verdict(report)
    written = convert(str(tmp_path / "mine.py"), [str(source)], str(tmp_path / "out.jsonl"))
    assert (written.findings.get("vanished", 0), written.dropped) == (0, {})
