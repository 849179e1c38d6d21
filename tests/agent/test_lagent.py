"""lagent is an extra: what is said without it, and, in an environment of its own, lagent itself (lagent_cases.py)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agenttune.agent import lagent_classes
from agenttune.cli import main
from tests.benchmarks.peers import environment

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["--constraint", str(ROOT / "constraints.txt"), "arxiv", "cachetools", "lagent"]


@pytest.fixture
def without_lagent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lagent", None)
    lagent_classes._classes.cache_clear()


@pytest.mark.usefixtures("without_lagent")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat", "nowhere", "--lagent"], "--lagent needs the extra agenttune[lagent]: pip install 'agenttune[lagent]'"),
        (["chat", "nowhere", "--lagent", "--protocol", "hermes"], "--lagent speaks react_zh, not hermes; leave --protocol away"),
        (["tools", "call", "lagent:ArxivSearch"], "the actions of lagent need the extra agenttune[lagent]"),
    ],
)
def test_what_is_said_without_it(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_lagent_itself(smollm2: str) -> None:
    python = environment("lagent", PACKAGES, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    options = ["-p", "no:cacheprovider", "-o", "filterwarnings=", str(Path(__file__).with_name("lagent_cases.py"))]
    done = subprocess.run(
        [python, "-m", "pytest", *options],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed, done.stdout[-6000:] + done.stderr[-2000:]
    print(passed.group())
    assert int(passed.group(1)) >= 25
