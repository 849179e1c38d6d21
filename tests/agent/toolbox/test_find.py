"""Tools by name: shipped, from a file, from a module, from an installed package; in this process and in the worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agenttune.agent.toolbox import Permission, call_from_shell, find, left_out, listing, load
from agenttune.errors import UserError
from agenttune.files import shipped
from agenttune.values.trajectory import Observation, ToolCall

MINE = '''
from __future__ import annotations
from dataclasses import dataclass
from math import floor
from typing import Literal

@dataclass
class Pair:
    left: int

def double(number: int) -> int:
    """Doubles."""
    return 2 * Pair(number).left

def pick(side: Literal["left", "right"] = "left") -> str:
    """Picks a side."""
    return side

def _helper(anything):
    return anything
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    return path


def answer(names: list[str], name: str, **arguments: object) -> str:
    with find(names, ask=lambda request: Permission(allowed=True)) as toolbox:
        (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)])
        return seen.text


def test_shipped_tools_are_found_and_listed_with_what_they_need() -> None:
    rows = {row.name: row for row in listing()}
    assert set(rows) >= {"calculator", "local_search", "python", "web_page", "web_search"}
    assert rows["calculator"].summary == "Evaluates an arithmetic expression exactly."
    assert {name: row.needs for name, row in rows.items() if row.needs} == {
        "python": "agenttune[python]",
        "shell": "a yes, each time",
        "web_page": "the network",
        "web_search": "the network",
    }
    assert answer(["calculator"], "calculator", expression="6*7") == "42"
    assert [one.spec.name for one in load("calculator")] == ["calculator"]
    assert not load("web_search")[0].trusted
    assert load("calculator")[0].compare == {"expression": "expression"}


def test_listing_tools_writes_nothing_and_takes_no_name() -> None:
    code = (
        "import sys; from agenttune.agent.toolbox import listing; listing();"
        "print([name for name in sys.modules if name.split('.')[0] in ('tools', 'calculator', 'web_page')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert run.stdout.strip() == "[]"
    assert not (shipped("tools") / "__pycache__").exists()


def test_a_file_gives_its_public_functions(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.spec.name for one in load(str(mine))] == ["double", "pick"]
    assert [one.spec.name for one in load(f"{mine}:pick")] == ["pick"]
    monkeypatch.chdir(mine.parent)
    assert answer(["./mine.py", "calculator"], "double", number="21") == "42"
    assert answer(["./mine.py:pick"], "pick") == "left"
    assert not (mine.parent / "__pycache__").exists()


def test_an_edited_file_is_read_again(mine: Path) -> None:
    assert load(f"{mine}:double")[0].call({"number": 2}) == "4"
    mine.write_text(MINE.replace("2 *", "3 *"), encoding="utf-8")
    assert load(f"{mine}:double")[0].call({"number": 2}) == "6"


def test_modules_and_functions_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somepackage_for_tools"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("FACTOR = 5\n")
    (package / "inner.py").write_text(
        'from .base import FACTOR\n\ndef times(number: int) -> int:\n    """Multiplies."""\n    return FACTOR * number\n'
    )
    (tmp_path / "agenttune_plug-1.0.dist-info").mkdir()
    (tmp_path / "agenttune_plug-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: agenttune-plug\nVersion: 1.0\n")
    (tmp_path / "agenttune_plug-1.0.dist-info" / "entry_points.txt").write_text(
        "[agenttune.tools]\nfives = somepackage_for_tools.inner:times\nbroken = somepackage_for_tools.missing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert answer(["somepackage_for_tools.inner"], "times", number=3) == "15"
    assert answer(["somepackage_for_tools.inner:times"], "times", number=4) == "20"
    assert answer(["fives"], "times", number=5) == "25"
    rows = {row.name: row.summary for row in listing()}
    assert rows["times"] == "Multiplies."
    assert "somepackage_for_tools.missing cannot be loaded" in rows["broken"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("calcluator", 'there is no tool "calcluator" (did you mean "calculator"?); known: calculator, date, local_search, python'),
        ("json", 'there is no tool "json"'),
        ("", 'there is no tool ""'),
        ("./missing.py", "cannot read the tool file"),
        ("no.such.module", "the module no.such.module cannot be loaded: ModuleNotFoundError: No module named 'no'"),
        ("json:dmups", 'json has no function "dmups" (did you mean "dumps"?)'),
        ("{mine}:dobule", '"dobule" (did you mean "double"?)'),
    ],
)
def test_a_name_that_is_nowhere(name: str, says: str, mine: Path) -> None:
    with pytest.raises(UserError) as raised:
        find([name.replace("{mine}", str(mine))])
    assert says in str(raised.value)


CALLABLES = '''
import functools

@functools.lru_cache
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b

def rain(town: str, days: int, key: str = "") -> str:
    """Tells the rain.

    Args:
        town: where
        key: a secret
    """
    return f"{town} {days} {key}"

rain_today = functools.partial(rain, days=1, key="sesame")

class Greeter:
    """Greets somebody."""

    def __call__(self, whom: str) -> str:
        return f"Hello {whom}!"

greet = Greeter()

def helper(anything):
    return anything
'''


def test_what_is_called_like_a_function_is_a_tool(tmp_path: Path) -> None:
    path = tmp_path / "many.py"
    path.write_text(CALLABLES, encoding="utf-8")
    found = {one.spec.name: one for one in load(str(path))}
    assert list(found) == ["add", "rain", "rain_today", "greet"]
    assert found["rain_today"].spec.description == "Tells the rain."
    assert found["rain_today"].spec.parameters["properties"] == {"town": {"type": "string", "description": "where"}}
    assert found["greet"].spec.description == "Greets somebody."
    said = [
        answer([str(path)], "add", a=1, b=2),
        answer([str(path)], "rain_today", town="Kiel"),
        answer([f"{path}:greet"], "greet", whom="Bo"),
    ]
    assert said == ["3", "Kiel 1 sesame", "Hello Bo!"]


def test_a_helper_without_a_docstring_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "many.py"
    path.write_text(CALLABLES, encoding="utf-8")
    said = left_out(str(path))
    assert said.startswith(f"helper of {path} has no docstring and is no tool; a name such as _helper")
    assert said.endswith(f"{path}:function names one tool alone")
    assert left_out(f"{path}:add") == left_out("calculator") == ""
    path.write_text("def helper(anything):\n    return anything\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds no tool: helper of"):
        load(str(path))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(:\n", "cannot be loaded: SyntaxError: invalid syntax"),
        ("import math\n\nraise ValueError('x')\n", "cannot be loaded: ValueError: x (line 3)"),
        ("import sys\nsys.exit(3)\n", "cannot be loaded: SystemExit: 3 (line 2)"),
        ("import no_such_module_here\n", "No module named 'no_such_module_here'"),
        ("X = 1\n", "defines no public function, so it holds no tool"),
        ("def f(a: bytes):\n    '''Does.'''\n", "the parameter a of f() has the type bytes"),
    ],
)
def test_a_file_that_cannot_be_used(source: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(source)
    with pytest.raises(UserError) as raised:
        load(str(tmp_path / "wrong.py"))
    assert says in str(raised.value)


def test_a_call_from_the_shell(mine: Path) -> None:
    assert call_from_shell("calculator", '{"expression": "2 + 2"}') == Observation(text="4")
    assert call_from_shell(f"{mine}:double", '{"number": 4}') == Observation(text="8")
    assert call_from_shell("calculator", "{}") == Observation(text="Error: calculator lacks the argument expression", error=True)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("calculator", "2 + 2", """write e.g. '{"expression": "…"}'"""),
        ("calculator", "[1]", "must be a JSON object"),
        ("calculator", "[" * 100_000, "the arguments are not JSON"),
        ("{mine}", "{}", "holds 2 tools; name one as"),
        ("calculater", "{}", 'did you mean "calculator"?'),
    ],
)
def test_a_call_from_the_shell_that_cannot_be_made(name: str, text: str, says: str, mine: Path) -> None:
    with pytest.raises(UserError) as raised:
        call_from_shell(name.replace("{mine}", str(mine)), text)
    assert says in str(raised.value)
