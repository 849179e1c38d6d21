"""A conversation with live tools: what was said so far, and how the next question is asked."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StopReason, TrajectoryGrown, drain
from agenttune.agent.history import verbatim
from agenttune.agent.react import run
from agenttune.agent.revision import Verdict, context_only, edited, judged, rewound, without_ids
from agenttune.agent.usage import CountingModel, Usage
from agenttune.errors import Refusal, UserError
from agenttune.files import replacing
from agenttune.models.base import SamplesItself
from agenttune.protocols.base import write
from agenttune.values.trajectory import Observation, Step, Trajectory

CANCELLED = Observation(text="Error: stopped by the user", error=True, provenance="user")
UNANSWERED = Observation(text="Error: the session ended before this call was answered", error=True, provenance="user")


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
        self._sessions: dict[str, tuple[CountingModel, Session]] = {}
        self._model, self._session = self._counted(agent)
        self._before = Usage()  # the model's counts when the newest question was asked
        self.comparisons: list[Trajectory] = []  # the conversation with its last question answered by another agent
        self._saved: set[Path] = set()
        self.guards: Counter[str] = Counter()  # how often each guard acted
        self.repairs: Counter[str] = Counter()  # how often each rung of the ladder was needed
        self.trajectory = self._new_trajectory(agent.system)
        self._growing: Trajectory | None = None

    def _counted(self, agent: Agent) -> tuple[CountingModel, Session]:
        """The agent's model with its counts and its prefix cache, which wait while another model answers."""
        if agent.answered_by not in self._sessions:
            model = CountingModel(agent.model)
            self._sessions[agent.answered_by] = model, Session(model)
        return self._sessions[agent.answered_by]

    def _new_trajectory(self, system: str) -> Trajectory:
        return self.agent.signed(Trajectory(id=new_id(), system=system, tools=self.agent.toolbox.specs))

    @property
    def so_far(self) -> Trajectory:
        """The conversation with what the question that is being answered has led to: interrupted, as long as it is not."""
        return self.trajectory if self._growing is None else self._growing

    @property
    def filled(self) -> int:
        """Tokens of the model's context that the newest prompt and its output take."""
        return self._model.filled

    @property
    def spent(self) -> Usage:
        """What the newest question has taken so far, while it is being answered too; without steps and seconds."""
        return self._model.usage() - self._before

    def reset(self) -> None:
        """Starts over; the system text stays."""
        self.trajectory = self._new_trajectory(self.trajectory.system)
        self.comparisons = []

    def go_on(self, kept: Sequence[Trajectory], *, keep_id: bool) -> None:
        """Another conversation in the place of this one: the first of `kept`; the others stand beside it.

        Without `keep_id` it gets a name of its own.
        """
        found = resumed(kept[0], self.agent)
        self.trajectory = found if keep_id else replace(found, id=new_id())
        self.comparisons = list(kept[1:])
        self.asked = found.rounds[-1].user if found.rounds else ""

    def use(self, agent: Agent) -> None:
        """From the next question on another agent answers: a model with or without an adapter, other tools, other limits."""
        if agent.model.fingerprint != self.agent.model.fingerprint:
            self.trajectory = without_ids(self.trajectory)
        self.trajectory = replace(self.trajectory, tools=agent.toolbox.specs)
        self.agent = agent
        self._model, self._session = self._counted(agent)
        self._before = self._model.usage()

    def set_system(self, text: str) -> None:
        """Another system text, from the next question on. Raises `UserError` for what is no Unicode text."""
        self.trajectory = replace(self.trajectory, system=_encodable(text, "system text"))

    def ask(
        self,
        text: str,
        on_event: Callable[[AgentEvent], object] | None = None,
        *,
        steered: Callable[[], bool] | None = None,
    ) -> StopReason:
        """Asks, hands every event to `on_event`, and returns why the run ended. Ctrl-C ends the run and keeps what was done.

        `steered` is asked after the tools of each step whether the run ends there, because a person has something else to say.
        Raises `UserError` where the question cannot be asked; the conversation is then as it was.
        """
        self.asked = _encodable(text, "question")

        def watch(event: AgentEvent) -> None:
            if isinstance(event, TrajectoryGrown):
                ended = RunFinished(trajectory=replace(event.trajectory, stop="interrupted"), stop="interrupted")
                self._growing = resumable(signed_round(ended, self.agent.answered_by), UNANSWERED)
            if on_event is not None:
                on_event(event)

        try:
            return self._run(self._with_question(text), watch, steered)
        finally:
            self._growing = None

    def compare(self, agent: Agent, on_event: Callable[[AgentEvent], object] | None = None) -> StopReason:
        """The last question answered by another agent too. The conversation stays as it is; what came of it is the last of `comparisons`.

        Raises `UserError` where nothing was asked.
        """
        if not self.trajectory.rounds:
            raise UserError("nothing was asked yet, so there is nothing to compare")
        kept, own = self.trajectory, self.agent
        self.use(agent)
        try:
            question = rewound(self.trajectory, len(kept.rounds) - 1).with_question(kept.rounds[-1].user)
            stop = self._run(agent.signed(question), on_event, None)
            if len(self.trajectory.rounds) == len(kept.rounds):  # it began to answer
                named = replace(self.trajectory, id=f"{kept.id}-beside-{len(self.comparisons) + 1}")
                self.comparisons.append(context_only(named))
        finally:
            self.use(own)
            self.trajectory = kept
        return stop

    def _run(self, question: Trajectory, on_event: Callable[[AgentEvent], object] | None, steered: Callable[[], bool] | None) -> StopReason:
        start, self._before = time.monotonic(), self._model.usage()
        own = self.agent.model
        sampling = own.sample_with(self.sampling) if isinstance(own, SamplesItself) else self.sampling
        agent = replace(self.agent, model=self._model, sampling=sampling)
        events = (agent.runner or run)(question, agent, session=self._session, steered=steered)
        finished: RunFinished | None
        interrupted = False
        try:
            finished = drain(events, on_event)
        except KeyboardInterrupt:  # it came while `on_event` worked, so the run does not know yet
            finished, interrupted = _interrupt(events, on_event), True
        steps = 0
        if finished is not None:
            steps = len(finished.trajectory.rounds[-1].steps)
            self.trajectory = resumable(signed_round(finished, self.agent.answered_by))
            self.guards.update(finished.guards)
            self.repairs.update(name for step in finished.trajectory.rounds[-1].steps for name in step.repairs)
        self.last = replace(self.spent, rounds=1, steps=steps, seconds=time.monotonic() - start)
        self.total += self.last
        return "interrupted" if interrupted or finished is None else finished.stop

    def _with_question(self, text: str) -> Trajectory:
        """The conversation with a new question; without the round before, where that was left open and the protocol cannot go on."""
        old = self.trajectory
        problem: Refusal | None = None
        for count in (len(old.rounds), max(len(old.rounds) - 1, 0)):
            made = replace(old, rounds=old.rounds[:count]).with_question(text)
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

    def rewind(self, count: int) -> None:
        """Only the first `count` rounds stay. Raises `UserError`."""
        self.trajectory = rewound(self.trajectory, count)

    def judge(self, verdict: Verdict, comment: str = "") -> None:
        """What a person thinks of the last round: see `revision.judged`. Raises `UserError`."""
        self.trajectory = judged(self.trajectory, verdict, _encodable(comment, "comment"))

    def edit(self, answer: str) -> None:
        """Another answer in the place of the last: see `revision.edited`. Raises `UserError`."""
        self.trajectory = edited(self.trajectory, _encodable(answer, "answer"), self.agent.protocol)

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


def new_id() -> str:
    """A name for a new conversation that sorts by time and that no other has."""
    return f"chat-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def resumed(trajectory: Trajectory, agent: Agent) -> Trajectory:
    """A recorded conversation that `agent` can go on with: its tools, and token ids only where its own model made them."""
    same = trajectory.model == agent.model.name
    made = trajectory if same else without_ids(trajectory)
    return agent.signed(replace(made, tools=agent.toolbox.specs))


def signed_round(finished: RunFinished, answered_by: str) -> Trajectory:
    """The trajectory whose last round says how it ended, and who answered."""
    *before, last = finished.trajectory.rounds
    signed = replace(last, stop=finished.stop, answered_by=answered_by)
    return replace(finished.trajectory, rounds=(*before, signed))


def resumable(trajectory: Trajectory, told: Observation = CANCELLED) -> Trajectory:
    """The conversation as it can go on: a question nobody began to answer is dropped, a call that was stopped is answered by `told`."""
    *before, last = trajectory.rounds
    if not last.steps:
        return replace(trajectory, rounds=tuple(before))
    if trajectory.stop != "interrupted":
        return trajectory
    steps = (*last.steps[:-1], _cancelled(last.steps[-1], told))
    return replace(trajectory, rounds=(*before, replace(last, steps=steps)))


def _cancelled(step: Step, told: Observation) -> Step:
    missing = max(len(step.calls) - len(step.observations), 0) if step.usable else 0
    ids = [getattr(call, "id", "") for call in step.calls[len(step.calls) - missing :]]
    return replace(step, observations=(*step.observations, *(replace(told, call_id=one) for one in ids)))


def _encodable(text: str, what: str) -> str:
    """The text itself. Raises `UserError` for one that is not Unicode text (bytes of another encoding on the command line)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"the {what} is not UTF-8 text") from error
    return text
