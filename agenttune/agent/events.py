"""What a run tells while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agenttune.protocols.base import Kind
from agenttune.values.trajectory import Observation, Step, ToolCall, Trajectory

Stop = Literal["answer", "max_steps", "malformed", "loop", "length", "context", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
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
class ToolAnswered:
    """A tool has answered, or failed (`observation.error`)."""

    call: ToolCall
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The last event: all that was done, and why no more is."""

    trajectory: Trajectory
    stop: Stop


AgentEvent = Text | StepMade | ToolCalled | ToolAnswered | RunFinished
