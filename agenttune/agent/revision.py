"""What a person makes of a conversation afterwards: a verdict, another answer, a way back. Trajectories in, trajectories out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from agenttune.errors import Refusal, UserError
from agenttune.protocols.base import Protocol
from agenttune.values.trajectory import Round, Step, Trajectory

Verdict = Literal["good", "bad"]
EDITED = "edited"


def judged(trajectory: Trajectory, verdict: Verdict, comment: str = "") -> Trajectory:
    """The trajectory with a verdict on its last round. The steps of a bad one are context only: nobody is trained on them.

    A good one is trained on as it was made: steps that could not be used stay context. Raises `UserError` where nothing was answered.
    """
    last = _last(trajectory, "nothing was answered yet")
    steps = tuple(replace(step, weight=_weight(step, verdict)) for step in last.steps)
    return _with_last(trajectory, replace(last, steps=steps, verdict=verdict, comment=comment))


def _weight(step: Step, verdict: Verdict) -> float:
    if step.outcome == EDITED:
        return 1.0  # a person wrote it: it is right whatever it replaced
    return 0.0 if verdict == "bad" or not step.usable else 1.0


def edited(trajectory: Trajectory, answer: str, protocol: Protocol) -> Trajectory:
    """The trajectory with `answer` in the place of its last answer, as text that a person wrote: it is trained on, and the next prompt
    holds it. A round that ended without an answer gets one. Raises `UserError` where there is no round, or `protocol` cannot hold it.
    """
    last = _last(trajectory, "there is no answer to edit")
    kept: Sequence[Step] = last.steps
    thought = ""
    if kept[-1].answer is not None or not kept[-1].usable:
        kept, thought = kept[:-1], kept[-1].thought
    made = Step(thought=thought, answer=answer.strip(), outcome=EDITED)
    try:
        protocol.write_step(made)
    except Refusal as error:
        raise UserError(f"this answer cannot stand under {protocol.name}: {error.sentence}") from error
    if not made.answer:
        raise UserError("the edited answer is empty; the old one stays")
    return _with_last(replace(trajectory, stop="answer"), replace(last, steps=(*kept, made), stop="answer"))


def rewound(trajectory: Trajectory, count: int) -> Trajectory:
    """The first `count` rounds. Raises `UserError` where there are not so many."""
    if not 0 <= count <= len(trajectory.rounds):
        raise UserError(f"a number from 0 to {len(trajectory.rounds)} says how many rounds stay, not {count}")
    rounds = trajectory.rounds[:count]
    return replace(trajectory, rounds=rounds, stop=rounds[-1].stop if rounds else "")


def without_ids(trajectory: Trajectory) -> Trajectory:
    """The trajectory without the token ids of another model's tokenizer: its steps stand in the next prompt as text."""
    rounds = tuple(replace(one, steps=tuple(replace(step, token_ids=()) for step in one.steps)) for one in trajectory.rounds)
    return replace(trajectory, rounds=rounds)


def context_only(trajectory: Trajectory) -> Trajectory:
    """The trajectory with nothing to train on: one that stands beside another for comparison."""
    rounds = tuple(replace(one, steps=tuple(replace(step, weight=0.0) for step in one.steps)) for one in trajectory.rounds)
    return replace(trajectory, rounds=rounds)


def _last(trajectory: Trajectory, missing: str) -> Round:
    if not trajectory.rounds or not trajectory.rounds[-1].steps:
        raise UserError(missing)
    return trajectory.rounds[-1]


def _with_last(trajectory: Trajectory, last: Round) -> Trajectory:
    return replace(trajectory, rounds=(*trajectory.rounds[:-1], last))
