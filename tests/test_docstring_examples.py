"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

# Modules with examples, and how many lines of example each has at least.
EXAMPLES = {
    "agenttune.values.pack": 6,
    "agenttune.values.sample": 4,
    "agenttune.values.tokens": 9,
    "agenttune.protocols.base": 3,
    "agenttune.data.fit": 6,
}


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_say_what_happens(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), raise_on_error=False)
    assert found.failed == 0
    assert found.attempted >= EXAMPLES[module]
