"""A step as a lenient reader would have read it: judged beside the strict reading, never in its place."""

from __future__ import annotations

from dataclasses import replace

from agenttune import protocols
from agenttune.agent import ladder
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Malformed, Step


def repaired(step: Step, sample: Sample) -> Step:
    """The step with its arguments in relaxed JSON (quotes, commas, comments; text behind them cut off), and values in their schema's type.

    Only a step that ended by itself is repaired; its outcome is then ``call`` if it can be read.
    """
    made = ladder.repaired(step, protocols.get(sample.protocol), sample.tools, (ladder.RELAXED, ladder.COERCED))
    broken = any(isinstance(call, Malformed) for call in made.calls)
    return made if broken or made.outcome != "malformed" else replace(made, outcome="call" if made.calls else "final")
