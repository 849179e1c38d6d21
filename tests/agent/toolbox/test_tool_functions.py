"""Schemas from signatures, and arguments against them. The schemas are written by hand, after JSON Schema 2020-12."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal, Optional

import pytest

from agenttune.agent.toolbox import UNTRUSTED, ArgumentsError, Compare, Requires, ToolError, tool
from agenttune.agent.toolbox.answers import cut, text_of
from agenttune.errors import UserError
from agenttune.protocols.react import tool_line


class Colour(Enum):
    """A choice of text."""

    RED = "red"
    BLUE = "blue"


def everything(
    text: str,
    count: int,
    share: float,
    sure: bool,
    names: list[str],
    ages: dict[str, int],
    unit: Literal["km", "mile"],
    colour: Colour,
    limit: int | None = None,
    note: Optional[str] = None,  # noqa: UP045 - the old spelling is the point
    mixed: int | str = 3,
    anything: Any = None,
    shade: Colour = Colour.BLUE,
) -> str:
    """Takes one of each.

    Args:
        text: Some text
            over two lines.
        count (int): How many.
    """
    return repr((text, count, share, sure, names, ages, unit, colour, limit, note, mixed, anything, shade))


PROPERTIES = {
    "text": {"type": "string", "description": "Some text over two lines."},
    "count": {"type": "integer", "description": "How many."},
    "share": {"type": "number"},
    "sure": {"type": "boolean"},
    "names": {"type": "array", "items": {"type": "string"}},
    "ages": {"type": "object", "additionalProperties": {"type": "integer"}},
    "unit": {"type": "string", "enum": ["km", "mile"]},
    "colour": {"type": "string", "enum": ["red", "blue"]},
    "limit": {"type": ["integer", "null"]},
    "note": {"type": ["string", "null"]},
    "mixed": {"type": ["integer", "string"], "default": 3},
    "anything": {},
    "shade": {"type": "string", "enum": ["red", "blue"], "default": "blue"},
}
FULL = {
    "text": "a",
    "count": 2,
    "share": 0.5,
    "sure": True,
    "names": ["x"],
    "ages": {"y": 3},
    "unit": "km",
    "colour": "red",
}


def test_the_schema_is_that_of_the_signature() -> None:
    made = tool(everything)
    assert made.spec.name == "everything"
    assert made.spec.description == "Takes one of each."
    assert made.spec.parameters == {"type": "object", "properties": PROPERTIES, "required": list(FULL)}
    assert made.trusted
    assert made.needs == ""


def test_values_arrive_as_the_signature_types_them() -> None:
    expected = ("a", 2, 0.5, True, ["x"], {"y": 3}, "km", Colour.RED, None, None, 3, None, Colour.BLUE)
    assert tool(everything).call(FULL) == repr(expected)


@pytest.mark.parametrize(
    ("name", "given", "seen"),
    [
        ("count", "3", 3),
        ("count", " -3 ", -3),
        ("count", 3.0, 3),
        ("share", "2.5e1", 25.0),
        ("share", 2, 2.0),
        ("sure", "False", False),
        ("text", 3, "3"),
        ("mixed", "4", "4"),
        ("limit", None, None),
        ("limit", "7", 7),
        ("ages", {"y": "3"}, {"y": 3}),
    ],
)
def test_coercion_loses_nothing(name: str, given: Any, seen: Any) -> None:
    expected = ["a", 2, 0.5, True, ["x"], {"y": 3}, "km", Colour.RED, None, None, 3, None, Colour.BLUE]
    expected[list(PROPERTIES).index(name)] = seen
    assert tool(everything).call({**FULL, name: given}) == repr(tuple(expected))
    assert tool(everything).keywords({**FULL, name: given})[name] == given, "validation leaves the model's own value as it is"


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("count", "3.5", 'the argument "count" must be an integer, not "3.5"'),
        ("count", 3.5, "must be an integer, not 3.5"),
        ("count", True, "must be an integer, not true"),
        ("count", None, "must be an integer, not null"),
        ("count", "٣", "must be an integer"),
        ("count", "9" * 5000, "must be an integer"),
        ("share", "a half", "must be a number"),
        ("share", float("nan"), "must be a number"),
        ("share", 2**53 + 1, "must be a number"),
        ("share", 10**400, "must be a number"),
        ("sure", 1, "must be true or false, not 1"),
        ("text", 1.5, "must be text, not 1.5"),
        ("text", ["a"], 'must be text, not ["a"]'),
        ("names", "x", 'must be a list, not "x"'),
        ("names", ["x", None], 'item 2 of the argument "names" must be text, not null'),
        ("ages", {"y": "old"}, '"y" in the argument "ages" must be an integer, not "old"'),
        ("ages", [], "must be an object, not []"),
        ("unit", "miles", 'must be one of "km", "mile", not "miles" (did you mean "mile"?)'),
        ("colour", "RED", 'must be one of "red", "blue", not "RED"'),
        ("mixed", [], "must be an integer"),
    ],
)
def test_what_does_not_fit_is_named(name: str, given: Any, says: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        tool(everything).call({**FULL, name: given})
    assert says in str(raised.value)


def test_unknown_and_missing_arguments_are_named() -> None:
    with pytest.raises(
        ArgumentsError, match=r'everything has no argument "cuont" \(did you mean "count"\?\); its arguments are text, count'
    ):
        tool(everything).call({**FULL, "cuont": 1})
    with pytest.raises(ArgumentsError, match="everything lacks the arguments share, sure, names, ages, unit, colour"):
        tool(everything).call({"text": "a", "count": 1})


def marked(formula: Annotated[str, "What to work out", Compare("expression")], /) -> str:
    """Not callable by name."""
    return formula


def search(
    formula: Annotated[str, "What to work out", Compare("expression")], unit: str = "m"
) -> Annotated[str, UNTRUSTED, Requires("the network")]:
    """Searches.

    formula: this text loses against the annotation
    unit: in what
    """
    return formula + unit


def test_marks_of_a_signature() -> None:
    made = tool(search)
    assert made.compare == {"formula": "expression"}
    assert not made.trusted
    assert made.needs == "the network"
    assert made.spec.description == "Searches."
    assert made.spec.parameters["properties"] == {
        "formula": {"type": "string", "description": "What to work out"},
        "unit": {"type": "string", "description": "in what", "default": "m"},
    }
    assert tool_line(made.spec) == '- search: Searches. {"formula": text (What to work out), "unit": text (in what)?}'


def sphinx(city: str, days: int) -> str:
    """Tells the weather.

    It looks some days ahead.

    :param city: where
    :param int days: how far
    :returns: the weather
    """
    return city * days


def google(city: str) -> str:
    """Tells the weather.

    Args:
        city: where; a note: with a colon
        More words of the same sentence.

    Returns:
        text, city: not a parameter's line

    """
    return city


def test_docstring_styles() -> None:
    made = tool(sphinx).spec
    assert made.description == "Tells the weather. It looks some days ahead."
    assert [one.get("description") for one in made.parameters["properties"].values()] == ["where", "how far"]
    made = tool(google).spec
    assert made.description == "Tells the weather."
    assert made.parameters["properties"]["city"]["description"] == "where; a note: with a colon More words of the same sentence."


def bytes_too(data: list[bytes]) -> str:
    """Takes bytes."""
    return repr(data)


def nowhere(data: Nothing) -> str:  # type: ignore[name-defined] # noqa: F821
    """Has a type that is not there."""
    return repr(data)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (marked, "marked() cannot be a tool: formula cannot be given by its name; take the / out of its signature"),
        (bytes_too, "the parameter data of bytes_too() has the type bytes"),
        (nowhere, "nowhere() cannot be a tool: its types cannot be read: name 'Nothing' is not defined"),
        (len, "a tool is a plain function"),
        (Colour, "a tool is a plain function"),
    ],
)
def test_a_function_that_cannot_be_a_tool_says_why(function: Any, says: str) -> None:
    with pytest.raises(UserError) as raised:
        tool(function)
    assert says in str(raised.value)


def test_the_same_work_under_other_names() -> None:
    made = tool(search).renamed("f7", "Does something.", {"formula": ("q", "a question")})
    assert made.spec.parameters == {
        "type": "object",
        "properties": {
            "q": {"type": "string", "description": "a question"},
            "unit": {"type": "string", "description": "in what", "default": "m"},
        },
        "required": ["q"],
    }
    assert made.compare == {"q": "expression"}
    assert made.call({"q": "1", "unit": "s"}) == "1s"
    with pytest.raises(ArgumentsError, match='f7 has no argument "formula"'):
        made.call({"formula": "1"})


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", "a b"), ({"é": [1, 2.5, None]}, '{"é":[1,2.5,null]}'), (True, "true"), (None, "null"), (Colour.RED, '"red"'), (7, "7")],
)
def test_results_are_text_or_compact_json(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), b"x"])
def test_a_result_that_is_not_json_is_an_error(value: Any) -> None:
    with pytest.raises(ToolError, match="not JSON"):
        text_of(value)


def test_a_cut_shows_what_is_missing_and_keeps_both_ends() -> None:
    text = "".join(chr(ord("a") + place % 26) for place in range(1000))
    for limit in (60, 100, 999):
        short = cut(text, limit)
        head, mark, tail = short.split("\n")
        assert len(short) <= limit
        assert text.startswith(head)
        assert text.endswith(tail)
        assert mark == f"[… {1000 - len(head) - len(tail)} characters left out …]"
    assert cut(text, 1000) == text
    assert cut("a\ud800b", 10) == "a\ufffdb"
    assert cut("a\U0001f600b", 10) == "a\U0001f600b"
