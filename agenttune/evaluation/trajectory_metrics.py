"""What a whole conversation tells beside right and wrong: pure functions of a `Trajectory`.

Each metric is (numerator, denominator), to be summed over conversations (see `Score.counts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from agenttune.values.trajectory import Round, Step, ToolCall, Trajectory

Count = tuple[float, float]


def steps_of(trajectory: Trajectory) -> list[Step]:
    """Every step of every round."""
    return [step for one in trajectory.rounds for step in one.steps]


def invented_observations(steps: Sequence[Step]) -> Count:
    """Steps in which the model went on to invent a tool's answer (it was cut off), of all steps."""
    return float(sum(step.outcome == "fabricated_observation" for step in steps)), float(len(steps))


def recovered(trajectory: Trajectory) -> Count:
    """Errors that tools answered with and that were got over, of all errors: later in the same round a call of the same tool, or of
    another where the tool does not exist, was answered without one."""
    found = [_got_over(one, at) for one in trajectory.rounds for at, step in enumerate(one.steps) if _failed(step)]
    return float(sum(found)), float(len(found))


def _failed(step: Step) -> list[str]:
    pairs = zip(step.calls, step.observations, strict=False)
    return [call.name if isinstance(call, ToolCall) else "" for call, seen in pairs if seen.error]


def _got_over(one: Round, at: int) -> bool:
    """Whether what failed in the step `at` was done after it: by as many calls of those tools that did not fail."""
    wanted = _failed(one.steps[at])
    for step in one.steps[at + 1 :]:
        for call, seen in zip(step.calls, step.observations, strict=False):
            if isinstance(call, ToolCall) and not seen.error:
                known = call.name if call.name in wanted else "" if "" in wanted else None
                if known is not None:
                    wanted.remove(known)
    return not wanted


def repeated_after_error(trajectory: Trajectory) -> Count:
    """Steps that only repeat the calls of the step before, which had failed, of all steps after a failure."""
    pairs = [(before, after) for one in trajectory.rounds for before, after in zip(one.steps, one.steps[1:], strict=False)]
    after_failure = [(before, after) for before, after in pairs if _failed(before)]
    return float(sum(_asked(before) == _asked(after) for before, after in after_failure)), float(len(after_failure))


def _asked(step: Step) -> list[object]:
    return [(call.name, call.arguments) if isinstance(call, ToolCall) else call.text for call in step.calls]


def excess_steps(made: int, needed: int) -> Count:
    """(made − needed, needed): summed over successful conversations their ratio is the share of work beyond the reference's; it may
    be above 1, or below 0 where a shorter way was found."""
    return float(made - needed), float(needed)
