"""Alpaca rows: instruction, input, output, history."""

from __future__ import annotations

import pytest

from agenttune.errors import Refusal
from agenttune.sources import alpaca
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Round, Step


def test_an_input_stands_under_its_instruction() -> None:
    (found,) = alpaca.read({"instruction": "Translate.", "input": "Hallo", "output": " Hello\n", "system": "S"}, ReadOptions())
    assert (found.system, found.rounds) == ("S", (Round(user="Translate.\nHallo", steps=(Step(answer="Hello"),)),))
    assert found.notes == ("trimmed",)
    (plain,) = alpaca.read({"instruction": "Say hi.", "input": None, "output": "Hi."}, ReadOptions())
    assert (plain.rounds, plain.notes) == ((Round(user="Say hi.", steps=(Step(answer="Hi."),)),), ())


def test_history_comes_first() -> None:
    (found,) = alpaca.read({"instruction": "c", "output": "d", "history": [["a", "b"]]}, ReadOptions())
    assert [(one.user, one.steps[0].answer) for one in found.rounds] == [("a", "b"), ("c", "d")]


def test_reasoning_and_other_fields() -> None:
    (found,) = alpaca.read({"id": 3, "instruction": "q", "output": "<think>R</think>A", "topic": "x"}, ReadOptions())
    assert found.rounds[0].steps == (Step(reasoning="R", answer="A"),)
    assert (found.id, sorted(found.notes)) == ("3", ["fields_dropped: topic", "think_tags"])


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"instruction": "q", "output": ""}, "empty"),
        ({"instruction": "q"}, "empty"),
        ({"instruction": "q", "output": ["a", "b"]}, "shape"),
        ({"instruction": 3, "output": "a"}, "shape"),
        ({"instruction": "q", "output": "a", "history": [["one"]]}, "shape"),
        ({"instruction": "q", "output": "a", "history": [["one", 2]]}, "shape"),
        ("text", "shape"),
    ],
)
def test_what_is_refused(record: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        list(alpaca.read(record, ReadOptions()))
    assert refused.value.code == code
