"""What a run tells while it goes on, and the one way in which events reach whoever watches.

Whatever takes time is a generator: it yields events and returns its result. `drain` runs one to its end for a caller who has a
function to hand the events to.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from agenttune.agent.guards import GuardName
from agenttune.protocols.base import Kind
from agenttune.values.trajectory import Observation, Step, ToolCall, Trajectory

Event = TypeVar("Event")
Result = TypeVar("Result")

StopReason = Literal["answer", "max_steps", "malformed", "loop", "length", "context", "run_tokens", "steered", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """New text of the model, as it was generated (markers included). `kind` is what it is part of."""

    delta: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMade:
    """The model has said a whole step; its observations are still to come."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A tool starts to work."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPrinted:
    """A tool printed something while it worked: for the person, not for the model."""

    call: ToolCall
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """A tool has answered, or failed (`observation.error`)."""

    call: ToolCall
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardActed:
    """A guard did something: which, and a sentence about it."""

    guard: GuardName
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryGrown:
    """The trajectory with a step, or with what a tool answered, before an event tells of it: who keeps it loses nothing that was told."""

    trajectory: Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The last event: all that was done, why no more is, and how often each guard acted.

    A run that a limit ended may still have an answer: its last step's outcome is then ``forced``.
    """

    trajectory: Trajectory
    stop: StopReason
    guards: Mapping[str, int] = field(default_factory=dict)


AgentEvent = TextDelta | StepMade | ToolCalled | ToolPrinted | ToolAnswered | GuardActed | TrajectoryGrown | RunFinished


def drain(events: Generator[Event, None, Result], on_event: Callable[[Event], object] | None = None) -> Result:
    """Runs a generator to its end, hands each event to `on_event`, and returns the generator's result.

    An exception of `on_event` passes through and leaves the generator where it was.
    """
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_event is not None:
            on_event(event)
