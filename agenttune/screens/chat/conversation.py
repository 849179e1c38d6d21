"""A conversation with live tools: what was said so far, and how the next question is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StepMade, Stop
from agenttune.agent.react import run, said
from agenttune.agent.toolbox import Toolbox
from agenttune.errors import Refusal, UserError
from agenttune.files import replacing
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol, write
from agenttune.screens.chat.meter import CountingModel, Usage
from agenttune.screens.chat.trace import Bounds
from agenttune.templates import Template
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Observation, Round, Step, Trajectory

CANCELLED = Observation(text="Error: stopped by the user", error=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a conversation is held with, and sentences about what was assumed."""

    model: Model
    template: Template
    protocol: Protocol
    toolbox: Toolbox
    sampling: SamplingParams
    max_steps: int = 8
    system: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """For the screen."""
        return Bounds(protocol=self.protocol, sampling=self.sampling, max_steps=self.max_steps, context=self.model.context)


class Conversation:
    """The trajectory as it grows, and the prefix cache that is kept between steps and rounds."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.sampling = setup.sampling
        self.total = Usage()
        self.last = Usage()
        self.asked = ""  # the newest question, also one that was stopped
        self.left_out = False  # whether the last question could only be asked without the round before it
        self._model = CountingModel(setup.model)
        self._session = Session(self._model)
        self._saved: set[Path] = set()
        self.trajectory = self._begun(setup.system)

    def _begun(self, system: str) -> Trajectory:
        return Trajectory(id=f"chat-{time.strftime('%Y%m%d-%H%M%S')}", system=system, tools=self.setup.toolbox.specs)

    def reset(self) -> None:
        """Starts over; the system text stays."""
        self.trajectory = self._begun(self.trajectory.system)

    def set_system(self, text: str) -> None:
        """Another system text, from the next question on. Raises `UserError` for what is no Unicode text."""
        self.trajectory = replace(self.trajectory, system=_encodable(text, "system text"))

    def ask(self, text: str, show: Callable[[AgentEvent], None]) -> Stop:
        """Asks, shows every event, and returns why the run ended. Ctrl-C ends the run and keeps what was done.

        Raises `UserError` where the question cannot be asked; the conversation is then as it was.
        """
        self.asked = _encodable(text, "question")
        question = self._with(text)
        start, before = time.monotonic(), self._model.usage()
        steps = _Steps(show)
        finished = self._answered(question, steps)
        if finished is not None:
            self.trajectory = settled(finished.trajectory)
        self.last = replace(self._model.usage() - before, rounds=1, steps=steps.count, seconds=time.monotonic() - start)
        self.total += self.last
        return finished.stop if finished is not None else "interrupted"

    def _with(self, text: str) -> Trajectory:
        """The conversation with a new question; without the round before, where that was left open and the protocol cannot go on."""
        old = self.trajectory
        problem: Refusal | None = None
        for count in (len(old.rounds), max(len(old.rounds) - 1, 0)):
            made = replace(old, rounds=(*old.rounds[:count], Round(user=text)), stop="")
            try:
                write(said(made), self.setup.protocol)
            except Refusal as error:
                problem = error
                continue
            self.left_out = count < len(old.rounds)
            return made
        assert problem is not None
        raise UserError(f"this cannot be asked under {self.setup.protocol.name}: {problem.sentence}")

    def _answered(self, question: Trajectory, show: Callable[[AgentEvent], None]) -> RunFinished | None:
        setup = self.setup
        events = run(
            question,
            model=self._model,
            template=setup.template,
            protocol=setup.protocol,
            toolbox=setup.toolbox,
            sampling=self.sampling,
            max_steps=setup.max_steps,
            session=self._session,
        )
        try:
            return _shown(events, show)
        except KeyboardInterrupt:  # it came while something was written, so the run does not know yet
            return _stopped(events, show)

    def undo(self) -> str | None:
        """Takes the last round back. Returns its question, None where there is none."""
        if not self.trajectory.rounds:
            return None
        *kept, last = self.trajectory.rounds
        self.trajectory = replace(self.trajectory, rounds=tuple(kept), stop="")
        return last.user

    def retry(self) -> str | None:
        """Takes the newest question's round back, if it was kept, and returns the question. Sampling goes another way next time."""
        rounds = self.trajectory.rounds
        if rounds and rounds[-1].user == self.asked:
            self.undo()
        self.sampling = replace(self.sampling, seed=self.sampling.seed + 1)
        return self.asked or None

    def save(self, path: Path) -> None:
        """One line of JSON, readable by its owner alone. Raises `UserError` for a file that this conversation did not write."""
        import json

        from agenttune.values.trajectory_json import trajectory_to_json

        target = path.expanduser()
        if target.exists() and target.resolve() not in self._saved:
            raise UserError(f"{target} exists already; choose another name")
        line = json.dumps(trajectory_to_json(self.trajectory), ensure_ascii=False)
        with replacing(target, permissions=0o600) as file:
            file.write(line + "\n")
        self._saved.add(target.resolve())


class _Steps:
    """Counts steps on their way to the screen."""

    def __init__(self, show: Callable[[AgentEvent], None]) -> None:
        self._show = show
        self.count = 0

    def __call__(self, event: AgentEvent) -> None:
        self.count += isinstance(event, StepMade)
        self._show(event)


def _shown(events: Generator[AgentEvent, None, None], show: Callable[[AgentEvent], None]) -> RunFinished | None:
    for event in events:
        show(event)
        if isinstance(event, RunFinished):
            return event
    return None


def _stopped(events: Generator[AgentEvent, None, None], show: Callable[[AgentEvent], None]) -> RunFinished | None:
    """Tells the run to stop. None where it was over already and its last event was lost between two moments."""
    try:
        event = events.throw(KeyboardInterrupt())
    except (KeyboardInterrupt, StopIteration):
        return None
    assert isinstance(event, RunFinished)
    show(event)
    return event


def settled(trajectory: Trajectory) -> Trajectory:
    """The conversation as it can go on: a question nobody began to answer is dropped, a call that was stopped is answered by that."""
    *before, last = trajectory.rounds
    if not last.steps:
        return replace(trajectory, rounds=tuple(before))
    if trajectory.stop != "interrupted":
        return trajectory
    steps = (*last.steps[:-1], _cancelled(last.steps[-1]))
    return replace(trajectory, rounds=(*before, replace(last, steps=steps)))


def _cancelled(step: Step) -> Step:
    missing = max(len(step.calls) - len(step.observations), 0) if step.outcome == "ok" else 0
    ids = [getattr(call, "id", "") for call in step.calls[len(step.calls) - missing :]]
    return replace(step, observations=(*step.observations, *(replace(CANCELLED, call_id=one) for one in ids)))


def _encodable(text: str, what: str) -> str:
    """The text itself. Raises `UserError` for one that is not Unicode text (bytes of another encoding on the command line)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"the {what} is not UTF-8 text") from error
    return text
