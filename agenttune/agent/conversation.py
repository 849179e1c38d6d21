"""A conversation with live tools: what was said so far, and how the next question is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StopReason, drain
from agenttune.agent.history import verbatim
from agenttune.agent.react import run
from agenttune.agent.usage import CountingModel, Usage
from agenttune.errors import Refusal, UserError
from agenttune.files import replacing
from agenttune.protocols.base import write
from agenttune.values.trajectory import Observation, Round, Step, Trajectory

CANCELLED = Observation(text="Error: stopped by the user", error=True)


class Conversation:
    """The trajectory as it grows, and the prefix cache that is kept between steps and rounds.

    Example::

        conversation = Conversation(agent)
        conversation.ask("What is 17 * 23?")
        print(conversation.trajectory.rounds[-1].steps[-1].answer)
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.sampling = agent.sampling
        self.total = Usage()
        self.last = Usage()
        self.asked = ""  # the newest question, also one that was stopped
        self.left_out = False  # whether the last question could only be asked without the round before it
        self._model = CountingModel(agent.model)
        self._session = Session(self._model)
        self._saved: set[Path] = set()
        self.guards: Counter[str] = Counter()  # how often each guard acted
        self.repairs: Counter[str] = Counter()  # how often each rung of the ladder was needed
        self.trajectory = self._new_trajectory(agent.system)

    def _new_trajectory(self, system: str) -> Trajectory:
        return Trajectory(id=f"chat-{time.strftime('%Y%m%d-%H%M%S')}", system=system, tools=self.agent.toolbox.specs)

    def reset(self) -> None:
        """Starts over; the system text stays."""
        self.trajectory = self._new_trajectory(self.trajectory.system)

    def set_system(self, text: str) -> None:
        """Another system text, from the next question on. Raises `UserError` for what is no Unicode text."""
        self.trajectory = replace(self.trajectory, system=_encodable(text, "system text"))

    def ask(self, text: str, on_event: Callable[[AgentEvent], object] | None = None) -> StopReason:
        """Asks, hands every event to `on_event`, and returns why the run ended. Ctrl-C ends the run and keeps what was done.

        Raises `UserError` where the question cannot be asked; the conversation is then as it was.
        """
        self.asked = _encodable(text, "question")
        question = self._with_question(text)
        start, before = time.monotonic(), self._model.usage()
        agent = replace(self.agent, model=self._model, sampling=self.sampling)
        events = run(question, agent, session=self._session)
        finished: RunFinished | None
        interrupted = False
        try:
            finished = drain(events, on_event)
        except KeyboardInterrupt:  # it came while `on_event` worked, so the run does not know yet
            finished, interrupted = _interrupt(events, on_event), True
        steps = 0
        if finished is not None:
            steps = len(finished.trajectory.rounds[-1].steps)
            self.trajectory = resumable(finished.trajectory)
            self.guards.update(finished.guards)
            self.repairs.update(name for step in finished.trajectory.rounds[-1].steps for name in step.repairs)
        self.last = replace(self._model.usage() - before, rounds=1, steps=steps, seconds=time.monotonic() - start)
        self.total += self.last
        return "interrupted" if interrupted or finished is None else finished.stop

    def _with_question(self, text: str) -> Trajectory:
        """The conversation with a new question; without the round before, where that was left open and the protocol cannot go on."""
        old = self.trajectory
        problem: Refusal | None = None
        for count in (len(old.rounds), max(len(old.rounds) - 1, 0)):
            made = replace(old, rounds=(*old.rounds[:count], Round(user=text)), stop="")
            try:
                write(verbatim(made), self.agent.protocol)
            except Refusal as error:
                problem = error
                continue
            self.left_out = count < len(old.rounds)
            return made
        assert problem is not None
        raise UserError(f"this cannot be asked under {self.agent.protocol.name}: {problem.sentence}")

    def undo(self) -> str | None:
        """Takes the last round back. Returns its question, None where there is none."""
        if not self.trajectory.rounds:
            return None
        *kept, last = self.trajectory.rounds
        self.trajectory = replace(self.trajectory, rounds=tuple(kept), stop="")
        return last.user

    def retry(self) -> str | None:
        """Takes the newest question's round back, if it was kept, and returns the question. The next answer is sampled by another seed."""
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


def _interrupt(events: Generator[AgentEvent, None, RunFinished], on_event: Callable[[AgentEvent], object] | None) -> RunFinished | None:
    """Tells a run that its watcher was interrupted. Returns how it ended; None where it had not begun, or fell at the same moment."""
    try:
        event = events.throw(KeyboardInterrupt())
    except KeyboardInterrupt:
        return None
    except StopIteration as end:  # it was over: the interrupt came at its last event
        finished: RunFinished = end.value
        return finished
    assert isinstance(event, RunFinished)
    if on_event is not None:
        on_event(event)
    return event


def resumable(trajectory: Trajectory) -> Trajectory:
    """The conversation as it can go on: a question nobody began to answer is dropped, a call that was stopped is answered by that."""
    *before, last = trajectory.rounds
    if not last.steps:
        return replace(trajectory, rounds=tuple(before))
    if trajectory.stop != "interrupted":
        return trajectory
    steps = (*last.steps[:-1], _cancelled(last.steps[-1]))
    return replace(trajectory, rounds=(*before, replace(last, steps=steps)))


def _cancelled(step: Step) -> Step:
    missing = max(len(step.calls) - len(step.observations), 0) if step.usable else 0
    ids = [getattr(call, "id", "") for call in step.calls[len(step.calls) - missing :]]
    return replace(step, observations=(*step.observations, *(replace(CANCELLED, call_id=one) for one in ids)))


def _encodable(text: str, what: str) -> str:
    """The text itself. Raises `UserError` for one that is not Unicode text (bytes of another encoding on the command line)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"the {what} is not UTF-8 text") from error
    return text
