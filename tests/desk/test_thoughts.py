"""What the expert thinks: the parts that the recipe names, and a value in a thought is the value of the call."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from agenttune.desk import build, cards, offers, thoughts
from agenttune.desk.recipe import Recipe
from agenttune.sources.base import ReadOptions
from agenttune.sources.msagent import source as msagent
from agenttune.values.trajectory import ToolCall


def offered() -> Any:
    (card,) = [one for one in cards.known() if one.id == "currency"]
    recipe = Recipe(opaque=0.0, hints=0.0)
    (made,) = offers.offer_list(random.Random(1), [card], recipe, "train", "en", True)
    return made


@pytest.mark.parametrize(
    ("parts", "pattern"),
    [
        ("", ""),
        ("quote", "LINE."),
        ("quote fit", "LINE. It fits."),
        ("need quote", "To exchange money. LINE."),
        ("need values", "To exchange money. VALUES."),
        ("values fit", "VALUES. It fits."),
    ],
)
def test_a_call_is_thought_of_in_the_named_parts(parts: str, pattern: str) -> None:
    offer = offered()
    amount, source, target = (offer.names[own] for own in ("amount", "source", "target"))
    line = f"{offer.spec.description}: {offer.spec.name}"
    values = f'{offer.spec.description} {{"{amount}": 12, "{source}": euro, "{target}": yen}}'
    wanted = pattern.replace("LINE", line).replace("VALUES", values)
    assert thoughts.calling(parts, offer, {"amount": "12", "source": "euro", "target": "yen"}) == wanted


def test_what_is_not_given_is_a_question_mark_or_said() -> None:
    offer = offered()
    given, lacks = {"amount": "12", "source": "euro"}, "but the target is missing."
    assert thoughts.asking("values", offer, given, lacks).endswith(f', "{offer.names["target"]}": ?}}.')
    assert thoughts.asking("quote fit", offer, given, lacks).endswith(". It fits, but the target is missing.")
    assert thoughts.asking("quote", offer, given, lacks).endswith(f"{offer.spec.name}. But the target is missing.")
    assert thoughts.asking("", offer, given, lacks) == ""


def test_no_tool_is_said_of_the_closest_one() -> None:
    offer = offered()
    weather = next(card for card in cards.known() if card.id == "weather")
    assert thoughts.declining("need quote", weather, offer) == "To tell the weather. No tool."
    assert thoughts.declining("quote fit", None, offer) == f"{offer.spec.description}: {offer.spec.name}. It does not fit."
    assert thoughts.declining("", weather, offer) == ""


def test_a_filled_line_begins_as_the_list_writes_it() -> None:
    from agenttune.protocols.react import tool_line

    offer = offered()
    thought = thoughts.calling("values", offer, {"amount": "12", "source": "euro", "target": "yen"})
    assert thought.partition("12")[0] in tool_line(offer.spec)
    assert re.sub("12|euro|yen", "", thought)[:-1] == re.sub("number|text", "", tool_line(offer.spec)).partition(": ")[2]


def test_the_values_thought_of_are_the_arguments_of_the_call() -> None:
    recipe = Recipe(requests=240, chinese=0.0, retry=0.0)
    rows, _ = build.train_records(recipe)
    seen = left_out = 0
    for row in rows:
        for trajectory in msagent.read(row, ReadOptions()):
            required = {tool.name: tool.parameters.get("required", ()) for tool in trajectory.tools}
            for step in trajectory.rounds[0].steps:
                for call in step.calls:
                    assert isinstance(call, ToolCall) and '": ?' not in step.thought
                    filled = step.thought.partition(" {")[2].removesuffix("}.")
                    for name in next(tool for tool in trajectory.tools if tool.name == call.name).parameters["properties"]:
                        told = filled.partition(f'"{name}": ')[2]
                        if name in call.arguments:
                            assert told.startswith(str(call.arguments[name]))
                            seen += 1
                        else:
                            assert name not in required[call.name] and told[:2] in ("-", "-,")
                            left_out += 1
    assert seen > 60 and left_out > 0
