"""An agent: a model, the text formats it was tuned in, its tools, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol as Interface

from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished
from agenttune.agent.guards import GUARDED, Guards
from agenttune.agent.step import RELIABLE, StepOptions
from agenttune.agent.toolbox.permissions import Effect
from agenttune.agent.toolbox.run import OnPrint, Wary
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol
from agenttune.templates import Template
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, ToolCall, ToolSpec, Trajectory


class ToolRunner(Interface):
    """What runs the calls: see `agenttune.agent.toolbox.Toolbox`."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that the model is offered."""

    def effect(self, name: str) -> Effect:
        """What a call of this tool does."""

    def polls(self, name: str) -> bool:
        """Whether the same call of this tool may well answer otherwise soon."""

    def run(
        self, calls: Sequence[ToolCall | Malformed], deadline: float = ..., on_print: OnPrint | None = ..., wary: Wary | None = ...
    ) -> tuple[Observation, ...]:
        """An observation for each call; never raises for a tool's failure. `on_print` is told what the tools printed; `wary` says why a
        person is asked before a call, whatever was allowed before."""


class QuestionLoop(Interface):
    """What answers a question: see `agenttune.agent.react.run`."""

    def __call__(
        self, trajectory: Trajectory, agent: Agent, *, session: Session | None = None, steered: Callable[[], bool] | None = None
    ) -> Generator[AgentEvent, None, RunFinished]:
        """Events, and at the end what was done and why no more is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What answers a question. `protocol` and `template` are those of the adapter's card, else what a person chose.

    At most `max_steps` steps (replies of the model) are taken for one question. `system` opens a new conversation.
    `options` says how a step is taken; by default calls are constrained, and replies that break the rules are read by the ladder.
    With ``guards=None`` a run that reaches a limit ends without an answer. `adapter` names the adapter that `model` was loaded with.
    `runner` answers a question in a chat; None is `react.run`.
    """

    model: Model
    template: Template
    protocol: Protocol
    toolbox: ToolRunner
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_steps: int = 8
    system: str = ""
    options: StepOptions = RELIABLE
    guards: Guards | None = GUARDED
    adapter: str = ""
    runner: QuestionLoop | None = None

    @property
    def answered_by(self) -> str:
        """The model and its adapter, in one name."""
        return f"{self.model.name} + {self.adapter}" if self.adapter else self.model.name

    def signed(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory with the names of what answers from now on: model, adapter, protocol and template."""
        return replace(trajectory, model=self.model.name, adapter=self.adapter, protocol=self.protocol.name, template=self.template.name)
