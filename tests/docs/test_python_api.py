"""The names that ``import agenttune`` offers: all there, typed, and imported only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import agenttune

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "peft", "datasets", "numpy", "rich", "yaml", "prompt_toolkit", "matplotlib")


def test_every_name_is_there_and_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert len(agenttune.__all__) >= 12
    for name in agenttune.__all__:
        assert getattr(agenttune, name).__doc__, name
        assert f"agenttune.{name}" in page or f"`{name}`" in page, name
    assert set(agenttune.__all__) <= set(dir(agenttune))


def test_mypy_sees_the_names_that_are_imported_late() -> None:
    """The imports under TYPE_CHECKING and the table of homes say the same."""
    tree = ast.parse(Path(agenttune.__file__).read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == agenttune._HOMES
    assert sorted(seen, key=str.lower) == sorted(agenttune.__all__, key=str.lower)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trane"):
        _ = agenttune.trane  # type: ignore[attr-defined]


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, time; before = set(sys.modules); start = time.process_time(); import agenttune;"
        "print(round(1000 * (time.process_time() - start)), len(set(sys.modules) - before), *sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    fastest = 1_000
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code, *HEAVY], cwd=ROOT, capture_output=True, text=True, check=True)
        took, modules, *heavy = ran.stdout.split()
        assert heavy == []
        assert int(modules) < 40
        fastest = min(fastest, int(took))  # processor time, which other work on the machine leaves alone
    assert fastest < 50
