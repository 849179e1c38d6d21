"""Cases to finished conversations, side by side: each is what `agent.conversation` would make of it, question by question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from agenttune.agent.agent import Agent
from agenttune.agent.conversation import signed_round
from agenttune.agent.decode import Session
from agenttune.agent.events import RunFinished
from agenttune.agent.react import Loop, advance
from agenttune.agent.step import Outputs
from agenttune.evaluation.live.cases import LiveCase
from agenttune.evaluation.live.judge import answered
from agenttune.evaluation.shots import NONE, Shots
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Trajectory


class _Loop(Loop):
    """A run whose model is shown worked examples before the conversation."""

    def __init__(self, trajectory: Trajectory, agent: Agent, session: Session, shots: Shots) -> None:
        super().__init__(trajectory, agent, session)
        self._shots = shots

    def shown(self, trajectory: Trajectory) -> tuple[Sample, Outputs]:
        sample, outputs = super().shown(trajectory)
        return self._shots.before(sample), self._shots.later(outputs)


class _Talk:
    """One conversation as it grows: a run for each question, the next one after an answer."""

    def __init__(self, case: LiveCase, agent: Agent, shots: Shots) -> None:
        self._shots = shots
        self._agent = replace(agent, toolbox=case.toolbox())
        self._session = Session(agent.model)  # what was read of the conversation so far is not read again
        self._waiting = list(case.users)
        self._guards: Counter[str] = Counter()
        self.finished: RunFinished | None = None
        self._ask(agent.signed(Trajectory(id=case.id, system=case.system, tools=self._agent.toolbox.specs)))

    def _ask(self, before: Trajectory) -> None:
        self.loop = _Loop(before.with_question(self._waiting.pop(0)), self._agent, self._session, self._shots)

    def settle(self) -> None:
        """Asks the next question, if there is one and the one before was answered."""
        if self.loop.stop is None or self.finished is not None:
            return
        ended = self.loop.finished()
        self._guards.update(ended.guards)
        held = signed_round(ended, self._agent.answered_by)
        if self._waiting and answered(held):
            self._ask(held)
        else:
            self.finished = replace(ended, trajectory=held, guards=dict(self._guards))


def converse(cases: Sequence[LiveCase], agent: Agent, shots: Shots = NONE) -> list[RunFinished]:
    """The finished conversations, all advanced one step at a time in one batch; guards are counted over all questions of a case.

    Each case brings its own tools in place of the agent's; the model sees the `shots` before each.
    """
    talks = [_Talk(case, agent, shots) for case in cases]
    while going := [talk for talk in talks if talk.finished is None]:
        advance([talk.loop for talk in going])
        for talk in going:
            talk.settle()
    return [talk.finished for talk in talks if talk.finished is not None]
