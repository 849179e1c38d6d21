"""Each promise of the page on trust is held by a test that exists."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.blocks import ROOT

_ROW = re.compile(r"^\| (?P<promise>[A-Z`].*?) \| (?P<tests>.*`tests/.*) \|$", re.MULTILINE)
ROWS = [
    (found["promise"], re.findall(r"`([^`]+\.py)::([^`]+)`", found["tests"]))
    for found in _ROW.finditer((ROOT / "docs/trust.md").read_text())
]


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_promise_names_its_test(promise: str, tests: list[tuple[str, str]]) -> None:
    assert tests
    for file, name in tests:
        defined = {one.name for one in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(one, ast.FunctionDef)}
        assert name in defined, f"{file} has no {name}"


def test_every_row_was_read() -> None:
    rows = [line for line in (ROOT / "docs/trust.md").read_text().splitlines() if line.startswith("| ") and "promise | test" not in line]
    assert len(ROWS) == len([line for line in rows if not line.startswith("| ---")]) >= 25
