"""Fifteen ways to write a function, and what a model is shown of each: never an exception, a doubt is a sentence with its fix.

The cases are those at which other libraries that make schemas of functions fail or lose something.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest
from pydantic import BaseModel, Field

from agenttune.agent.toolbox import ArgumentsError, Permission, Toolbox, effect, find, tool
from agenttune.errors import UserError
from agenttune.values.trajectory import ToolCall


class Unit(Enum):
    """A choice."""

    KM = "km"
    MILE = "mile"


@dataclass
class Place:
    """A place.

    Args:
        name: what it is called
    """

    name: str
    height: Annotated[int, "metres above the sea"] = 0
    tags: list[str] = field(default_factory=list)


class Trip(BaseModel):
    """A journey."""

    start: str = Field(description="where it begins")
    days: int = Field(default=1, ge=1, le=30)
    stops: list[Stop] = []


class Stop(BaseModel):
    """A stop of a journey."""

    town: str


Trip.model_rebuild()


class Options(TypedDict):
    """How to look."""

    language: str
    limit: NotRequired[int]


class Node(TypedDict):
    """Holds itself."""

    value: int
    rest: NotRequired[Node]


@effect("read")
def basic(city: str, days: int = 1) -> str:
    """Tells the weather.

    Args:
        city: where
        days: how many
    """
    return f"{city} {days}"


@effect("read")
def optional(city: Optional[str] = None) -> str:  # noqa: UP045 - the old spelling is the point
    """Tells the weather.

    Args:
        city: where
    """
    return f"{city}"


@effect("read")
def literal(unit: Literal["km", "mile"]) -> str:
    """Measures.

    Args:
        unit: in what
    """
    return unit


@effect("read")
def enumerated(unit: Unit) -> str:
    """Measures.

    Args:
        unit: in what
    """
    return unit.value


@effect("read")
def with_dataclass(place: Place) -> str:
    """Climbs.

    Args:
        place: which one
    """
    return f"{place.name} {place.height} {place.tags}"


@effect("read")
def with_model(trip: Trip) -> str:
    """Travels.

    Args:
        trip: which one
    """
    return f"{trip.start} {trip.days} {[one.town for one in trip.stops]}"


@effect("read")
def with_typed_dict(options: Options) -> str:
    """Looks.

    Args:
        options: how
    """
    return json.dumps(options)


@effect("read")
def bounded(count: Annotated[int, Field(ge=1, le=20, description="how many")]) -> str:
    """Counts."""
    return str(count)


@effect("read")
def numpy_style(city: str, days: int) -> str:
    """Tells the weather.

    Parameters
    ----------
    city : str
        where, with more
        words below
    days : int, optional
        how many

    Returns
    -------
    str
        the weather
    """
    return f"{city} {days}"


@effect("read")
def sphinx_style(city: str) -> str:
    """Tells the weather.

    :param city: where
    :returns: the weather
    """
    return city


@effect("read")
def no_docstring(city: str) -> str:
    return city


@effect("read")
def undescribed(city: str, days: int) -> str:
    """Tells the weather.

    Args:
        city: where
    """
    return f"{city} {days}"


@effect("read")
def untyped(city, days: int = 1) -> str:  # type: ignore[no-untyped-def]
    """Tells the weather.

    Args:
        city: where
        days: how many
    """
    return f"{city} {days}"


@effect("read")
async def later(city: str) -> str:
    """Tells the weather.

    Args:
        city: where
    """
    return city


@effect("read")
def bagged(city: str, **options: str) -> str:
    """Tells the weather.

    Args:
        city: where
    """
    return f"{city} {options}"


TEXT = {"type": "string"}
WHERE = {"type": "string", "description": "where"}
STOPS = {
    "type": "array",
    "items": {"type": "object", "description": "A stop of a journey.", "properties": {"town": TEXT}, "required": ["town"]},
}
PLACE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "what it is called"},
        "height": {"type": "integer", "description": "metres above the sea"},
        "tags": {"type": "array", "items": TEXT},
    },
    "required": ["name"],
}


@dataclass(frozen=True)
class Signature:
    """A function, the properties a model sees, what is doubtful, a call, and what comes of it."""

    function: Callable[..., Any]
    properties: dict[str, Any]
    doubts: tuple[str, ...]
    arguments: dict[str, Any]
    result: str


MATRIX = [
    Signature(basic, {"city": WHERE, "days": {"type": "integer", "description": "how many", "default": 1}}, (), {"city": "Oslo"}, "Oslo 1"),
    Signature(optional, {"city": {"type": ["string", "null"], "description": "where"}}, (), {"city": None}, "None"),
    Signature(literal, {"unit": {"type": "string", "enum": ["km", "mile"], "description": "in what"}}, (), {"unit": "km"}, "km"),
    Signature(enumerated, {"unit": {"type": "string", "enum": ["km", "mile"], "description": "in what"}}, (), {"unit": "mile"}, "mile"),
    Signature(
        with_dataclass,
        {"place": {**PLACE, "description": "which one"}},
        (),
        {"place": {"name": "Fuji", "height": "3776"}},
        "Fuji 3776 []",
    ),
    Signature(
        with_model,
        {
            "trip": {
                "type": "object",
                "description": "which one",
                "properties": {
                    "start": {"type": "string", "description": "where it begins"},
                    "days": {"type": "integer", "default": 1, "minimum": 1, "maximum": 30},
                    "stops": {**STOPS, "default": []},
                },
                "required": ["start"],
            }
        },
        (),
        {"trip": {"start": "Oslo", "stops": [{"town": "Bergen"}]}},
        "Oslo 1 ['Bergen']",
    ),
    Signature(
        with_typed_dict,
        {
            "options": {
                "type": "object",
                "properties": {"language": TEXT, "limit": {"type": "integer"}},
                "required": ["language"],
                "description": "how",
            }
        },
        (),
        {"options": {"language": "no"}},
        '{"language": "no"}',
    ),
    Signature(bounded, {"count": {"type": "integer", "minimum": 1, "maximum": 20, "description": "how many"}}, (), {"count": "7"}, "7"),
    Signature(
        numpy_style,
        {"city": {"type": "string", "description": "where, with more words below"}, "days": {"type": "integer", "description": "how many"}},
        (),
        {"city": "Oslo", "days": 2},
        "Oslo 2",
    ),
    Signature(sphinx_style, {"city": WHERE}, (), {"city": "Oslo"}, "Oslo"),
    Signature(
        no_docstring,
        {"city": TEXT},
        (
            "it has no docstring, so a model sees only its name; say in one sentence what it does",
            "city has no description; add a line for it under Args: in the docstring",
        ),
        {"city": "Oslo"},
        "Oslo",
    ),
    Signature(
        undescribed,
        {"city": WHERE, "days": {"type": "integer"}},
        ("days has no description; add a line for it under Args: in the docstring",),
        {"city": "Oslo", "days": 1},
        "Oslo 1",
    ),
    Signature(
        untyped,
        {"city": {"description": "where"}, "days": {"type": "integer", "description": "how many", "default": 1}},
        ("city has no type, so a model may send anything; write e.g. city: str",),
        {"city": ["Oslo"]},
        "['Oslo'] 1",
    ),
    Signature(later, {"city": WHERE}, (), {"city": "Oslo"}, "Oslo"),
    Signature(
        bagged,
        {"city": WHERE},
        ("**options takes any name, and a model is told of none; name the parameters",),
        {"city": "Oslo", "unit": "km"},
        "Oslo {'unit': 'km'}",
    ),
]


@pytest.mark.parametrize("case", MATRIX, ids=lambda case: case.function.__name__)
def test_every_signature_is_a_tool(case: Signature) -> None:
    made = tool(case.function)
    assert made.spec.parameters["properties"] == case.properties
    assert made.warnings == case.doubts
    (seen,) = Toolbox([made], inline=True).run([ToolCall(name=made.spec.name, arguments=case.arguments)])
    assert (seen.text, seen.error) == (case.result, False)


def test_the_matrix_is_whole() -> None:
    assert len(MATRIX) == 15


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (bounded, {"count": 21}, 'the argument "count": Input should be less than or equal to 20, not 21'),
        (with_dataclass, {"place": {"nam": "Fuji"}}, 'the argument "place" has no "nam" (did you mean "name"?); it has name, height, tags'),
        (with_dataclass, {"place": {}}, 'the argument "place" lacks name'),
        (with_dataclass, {"place": {"name": "Fuji", "height": "high"}}, '"height" in the argument "place" must be an integer, not "high"'),
        (with_typed_dict, {"options": []}, 'the argument "options" must be an object, not []'),
        (
            with_model,
            {"trip": {"start": "Oslo", "days": 99}},
            'the argument "trip" at days: Input should be less than or equal to 30, not 99',
        ),
        (with_model, {"trip": {"start": "Oslo", "stops": [{}]}}, 'the argument "trip" at stops.0.town: Field required, not {}'),
    ],
)
def test_values_that_do_not_fit_are_named_with_their_place(function: Any, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        tool(function).call(arguments)
    assert str(raised.value) == says


def test_a_type_that_holds_itself_ends() -> None:
    @effect("read")
    def walk(node: Node) -> str:
        """Walks."""
        return json.dumps(node)

    made = tool(walk)
    assert made.spec.parameters["properties"]["node"]["properties"]["rest"] == {"type": "object"}
    assert made.call({"node": {"value": 1, "rest": {"value": 2}}}) == '{"value": 1, "rest": {"value": 2}}'


def test_what_stands_behind_a_decorator_or_belongs_to_an_object() -> None:
    def loud(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def inner(*given: Any, **named: Any) -> str:
            return function(*given, **named).upper()

        return inner

    class Desk:
        """Knows things."""

        def look(self, name: str) -> str:
            """Looks a name up."""
            return f"saw {name}"

    made = tool(loud(basic))
    assert (made.spec.name, made.effect, made.call({"city": "Oslo"})) == ("basic", "read", "OSLO 1")
    bound = tool(Desk().look)
    assert (bound.spec.name, bound.spec.parameters["required"], bound.call({"name": "x"})) == ("look", ["name"], "saw x")


def test_results_that_are_structures_are_json() -> None:
    def made(town: str) -> Stop:
        """Makes a stop."""
        return Stop(town=town)

    assert tool(made).call({"town": "Oslo"}) == '{"town":"Oslo"}'


def test_doubts_of_other_kinds_have_a_fix_too() -> None:
    def own(city: str, *more: str) -> str:
        """Tells.

        Args:
            ctiy: where
        """
        return city

    assert tool(own).warnings == (
        'its docstring describes "ctiy", which is not a parameter (did you mean "city"?); mend the name or take it out',
        "city has no description; add a line for it under Args: in the docstring",
        "*more is left out: a model gives arguments by name; write more: list[str]",
        'it does not say what it does, so every call asks first; put @effect("read") above it if it only reads',
    )

    def old(count: int = Field(3, ge=1)) -> str:
        """Counts."""
        return str(count)

    with pytest.raises(UserError, match=r"a Field is no default; write count: Annotated\[…, Field\(…\)\] = value"):
        tool(old)


FILE = '''
from __future__ import annotations
import asyncio
from dataclasses import dataclass
from agenttune.agent.toolbox import effect

@dataclass
class Place:
    name: str

@effect("read")
async def slowly(place: Place) -> str:
    """Waits."""
    await asyncio.sleep(0.01)
    return place.name

class Desk:
    """Counts what it was asked."""
    def __init__(self) -> None:
        self.count = 0

    @effect("read")
    def look(self, name: str) -> str:
        """Looks."""
        self.count += 1
        return f"{name} {self.count}"

    def helper(self, name: str) -> str:
        return name

desk = Desk()
'''


def test_methods_and_coroutines_of_a_file_run_in_the_worker(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FILE, encoding="utf-8")
    with find([str(file), f"{file}:desk"], ask=lambda request: Permission(allowed=False)) as toolbox:
        assert list(toolbox.tools) == ["slowly", "look"]
        calls = [("slowly", {"place": {"name": "Oslo"}}), ("look", {"name": "a"}), ("look", {"name": "b"})]
        seen = [toolbox.run([ToolCall(name=name, arguments=arguments)])[0].text for name, arguments in calls]
    assert seen == ["Oslo", "a 1", "b 2"]
    assert [one.spec.name for one in find([f"{file}:desk.look"]).tools.values()] == ["look"]
    with pytest.raises(UserError, match='has no function "desks"'):
        find([f"{file}:desks"])
