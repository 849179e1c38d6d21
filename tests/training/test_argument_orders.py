"""The order of arguments in training data reaches the card and the grammar."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.models.card import read_card, write_card
from agenttune.training.argument_orders import MIXED, argument_orders
from agenttune.values.adapter import Card
from agenttune.values.sample import Sample, Turn
from agenttune.values.trajectory import Step, ToolCall


def called(*orders: str, protocol: str = "react", weight: float = 1.0, tool: str = "plan") -> Sample:
    """A sample with a call for each of `orders`, whose letters are the names of its arguments."""
    write = protocols.get(protocol).write_step
    turns = [Turn(output=write(Step(calls=(ToolCall(name=tool, arguments=dict.fromkeys(one, 1)),))), weight=weight) for one in orders]
    return Sample(turns=tuple(turns), protocol=protocol)


def test_calls_that_leave_arguments_out_agree_where_one_order_fits_all() -> None:
    assert argument_orders([called("ba", "bc"), called("ac", protocol="hermes")]) == {"plan": (("b", "a", "c"),)}


def test_calls_that_disagree_keep_their_commonest_orders() -> None:
    assert argument_orders([called("ab", "ba", "ba")]) == {"plan": (("b", "a"), ("a", "b"))}
    mixed = argument_orders([called("abcd", "dcba", "bacd", "cabd", "dabc", "acbd", "bdac", "cdab")])
    assert len(mixed["plan"]) == MIXED


def test_what_is_not_trained_and_what_has_no_order_is_left_out() -> None:
    assert argument_orders([called("ab", weight=0.0), called("a", tool="one"), Sample(turns=(Turn(output="Final Answer: x"),))]) == {}


def test_the_card_keeps_them(tmp_path: Path) -> None:
    card = Card(base="b", base_fingerprint="", protocol="react", template="auto", method="lora", argument_orders={"plan": [["b", "a"]]})
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    path = tmp_path / "agenttune.json"
    path.write_text(path.read_text().replace('"plan": [', '"plan": [1, '), encoding="utf-8")
    with pytest.raises(UserError, match=r'"argument_orders" in the card .* must give lists of lists of names'):
        read_card(tmp_path)
