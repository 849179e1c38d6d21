"""What judging takes: every AST item of BFCL's wheel, with the answers and with one fault each, by our rules and by the wheel's."""

from __future__ import annotations

import time
from dataclasses import replace

from agenttune.errors import UserError
from agenttune.evaluation import selftest, suites
from agenttune.evaluation.evaluate import score_cases
from agenttune.values.trajectory import Step, ToolCall


def run() -> None:
    """Prints items, seconds of one core, and items a second."""
    try:
        suite = suites.load("bfcl:ast")
    except UserError as error:
        print(error)
        return
    right = selftest.oracle(suite.cases)
    for name, steps in (("with the answers", right), ("with an argument made up", [_faulty(step) for step in right])):
        start = time.process_time()
        score_cases(suite.cases, lambda _, steps=steps: steps, suite.judge)  # type: ignore[misc]
        took = time.process_time() - start
        print(f"{len(steps)} AST items {name}: judged in {took:.2f} s, {len(steps) / took:,.0f} a second")


def _faulty(step: Step) -> Step:
    calls = [replace(call, arguments={**call.arguments, "made_up": 1}) for call in step.calls if isinstance(call, ToolCall)]
    return replace(step, calls=tuple(calls))
