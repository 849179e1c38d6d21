"""What a trajectory puts into the next prompt: the words and token ids that the model made, not how they were read."""

from __future__ import annotations

from dataclasses import replace

from agenttune.protocols.base import Protocol
from agenttune.values.trajectory import Malformed, Step, Trajectory


def verbatim(trajectory: Trajectory) -> Trajectory:
    """The trajectory with every step that a model made in its own words: a prompt holds what was said, not how it was read."""
    rounds = tuple(replace(one, steps=tuple(map(_verbatim_step, one.steps))) for one in trajectory.rounds)
    return replace(trajectory, rounds=rounds)


def _verbatim_step(step: Step) -> Step:
    if not step.token_ids:
        return step
    return replace(step, reasoning="", thought="", answer=None, calls=(Malformed(text=step.raw, reason="as it was said"),))


def generated_ids(trajectory: Trajectory, protocol: Protocol) -> dict[int, tuple[int, ...]]:
    """By turn of the sample that `protocols.base.write` makes of the trajectory, the ids of the outputs that a model made."""
    found: dict[int, tuple[int, ...]] = {}
    turn = 0
    for one in trajectory.rounds:
        for step in one.steps:
            if step.token_ids:
                found[turn] = step.token_ids
            turn += 1 if step.token_ids or protocol.parallel_calls else max(1, len(step.calls))
        left_open = not one.steps or (protocol.observation_field == "input" and bool(one.steps[-1].observations))
        turn += left_open  # a question, or an observation, that nobody answered
    return found
