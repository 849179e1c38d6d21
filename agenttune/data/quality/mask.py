"""Calls that failed, or that nobody answered and the model moved on from: weight 0, so that the recovery is learned and not the mistake."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from agenttune.values.trajectory import Observation, Round, Step, Trajectory

_ERROR = re.compile(
    r"\s*(?:Traceback \(most recent call last\)|(?:[A-Z]\w*)?(?:Error|Exception)\b\s*[:(]|error\s*:|status code: [45]\d\d\b)", re.IGNORECASE
)
_MAX_JSON = 1 << 20


def failed(seen: Observation) -> bool:
    """Whether a result is an error: flagged as one, a traceback or error line, or a JSON object whose ``error`` says something."""
    if seen.error or _ERROR.match(seen.text):
        return True
    text = seen.text.lstrip()
    if not text.startswith("{") or '"error"' not in text or len(text) > _MAX_JSON:
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value.get("error")) and value["error"] != "None"


def mask_failed(trajectory: Trajectory) -> tuple[Trajectory, int]:
    """The trajectory with weight 0 on every step all of whose calls failed or were superseded unanswered, and how many steps that is."""
    rounds = tuple(_masked(round_) for round_ in trajectory.rounds)
    masked = replace(trajectory, rounds=rounds)
    return masked, sum(one.weight != other.weight for one, other in zip(trajectory.steps(), masked.steps(), strict=True))


def _masked(round_: Round) -> Round:
    last = len(round_.steps) - 1
    steps = tuple(replace(step, weight=0.0) if _is_mistake(step, index < last) else step for index, step in enumerate(round_.steps))
    return replace(round_, steps=steps)


def _is_mistake(step: Step, went_on: bool) -> bool:
    if not step.calls:
        return False
    if not step.observations:
        return went_on
    return all(failed(seen) for seen in step.observations)
