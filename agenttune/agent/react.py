"""The loop: a model's step, the tools it calls, what they answer, the next step; told as events.

What is sent to the model at each step is the trajectory so far, written by its protocol and rendered by its template, the
way a training example is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StepMade, StopReason, ToolAnswered, ToolCalled
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.step import stream_steps
from agenttune.agent.text_kinds import by_kind
from agenttune.protocols.base import Protocol, write
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall, Trajectory

ATTEMPTS = 2  # replies in a row that could not be read and were answered with what is wrong; the next one ends the run
REPEATS = 3  # the same call so many times in a row ends the run


def run(trajectory: Trajectory, agent: Agent, *, session: Session | None = None) -> Generator[AgentEvent, None, RunFinished]:
    """Answers the last round of `trajectory`, which has no steps yet. The last event, also returned, is `RunFinished`.

    The run ends with an answer (``answer``); after `max_steps` steps; at the third reply in a row that cannot be read
    (``malformed``); at the third identical call in a row, which is not run (``loop``); when an answer is cut or a call is cut a
    third time in a row (``length``); when the context is full; or ``interrupted``: a KeyboardInterrupt, raised here or
    thrown into the generator, ends the step and leaves what was done before. `session` carries the prefix cache over rounds.
    Token ids that earlier steps carry stand in the prompt, so they must be this model's.
    """
    assert trajectory.rounds and not trajectory.rounds[-1].steps
    loop = _Loop(trajectory, agent, session or Session(agent.model))
    stop: StopReason = "max_steps"
    try:
        for _ in range(agent.max_steps):
            ended = yield from loop.step()
            if ended is not None:
                stop = ended
                break
    except KeyboardInterrupt:
        stop = "interrupted"
    finished = RunFinished(trajectory=replace(loop.trajectory, stop=stop), stop=stop)
    with contextlib.suppress(KeyboardInterrupt):  # it is over already: what was done is returned
        yield finished
    return finished


class _Loop:
    """The state of one run: the trajectory as it grows, and what repeats."""

    def __init__(self, trajectory: Trajectory, agent: Agent, session: Session) -> None:
        self.trajectory = trajectory
        self._agent, self._session = agent, session
        self._failed = 0
        self._last: tuple[ToolCall | Malformed, ...] = ()
        self._same = 0

    def step(self) -> Generator[AgentEvent, None, StopReason | None]:
        """One step and its tools. Returns why the run ends, or None."""
        step = yield from self._next_step()
        if step.outcome == "context" and not step.token_ids:
            return "context"
        self._add(step)
        yield StepMade(step=step)
        if not step.usable:
            return self._unusable(step)
        self._failed = 0
        if step.answer is not None:
            return "answer"
        if self._repeats(step):
            return "loop"
        yield from self._run_calls(step)
        return None

    def _next_step(self) -> Generator[AgentEvent, None, Step]:
        agent = self._agent
        sample = write(verbatim(self.trajectory), agent.protocol)
        outputs = generated_ids(self.trajectory)
        texts = stream_steps(
            agent.model, [sample], agent.template, agent.sampling, sessions=[self._session], outputs=[outputs], options=agent.options
        )
        (step,) = yield from by_kind(texts, agent.protocol)
        return step

    def _add(self, step: Step) -> None:
        self._replace_steps((*self.trajectory.rounds[-1].steps, step))

    def _observe(self, seen: Sequence[Observation]) -> None:
        *before, last = self.trajectory.rounds[-1].steps
        self._replace_steps((*before, replace(last, observations=(*last.observations, *seen))))

    def _replace_steps(self, steps: tuple[Step, ...]) -> None:
        rounds = self.trajectory.rounds
        self.trajectory = replace(self.trajectory, rounds=(*rounds[:-1], replace(rounds[-1], steps=steps)))

    def _unusable(self, step: Step) -> StopReason | None:
        """Tells the model what was wrong, unless it was told before or cannot do better."""
        reason: StopReason = "context" if step.outcome == "context" else "length" if step.outcome == "truncated" else "malformed"
        self._failed += 1
        if reason == "context" or step.answer is not None or self._failed > ATTEMPTS:
            return reason
        self._observe([Observation(text=feedback(step, self._agent.sampling, self._agent.protocol), error=True)])
        return None

    def _repeats(self, step: Step) -> bool:
        calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
        self._same = self._same + 1 if calls == self._last else 1
        self._last = calls
        return self._same >= REPEATS

    def _run_calls(self, step: Step) -> Iterator[AgentEvent]:
        for call in step.calls:
            assert isinstance(call, ToolCall)
            yield ToolCalled(call=call)
            seen = self._agent.toolbox.run([call])
            self._observe(seen)
            for one in seen:
                yield ToolAnswered(call=call, observation=one)


def feedback(step: Step, sampling: SamplingParams, protocol: Protocol) -> str:
    """What a model is told about a reply that cannot be used."""
    if step.outcome == "truncated":
        return f"the reply was cut off after {sampling.max_new_tokens} tokens and was not used; reply with less"
    reason = next(call.reason for call in step.calls if isinstance(call, Malformed))
    return f"the reply could not be read: {reason}; {protocol.reminder}"
