"""The loop: a model's step, the tools it calls, what they answer, the next step; told as events.

What is sent to the model at each step is the trajectory so far, written by its protocol and rendered by its template, the
way a training example is.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import (
    AgentEvent,
    GuardActed,
    RunFinished,
    StepMade,
    StopReason,
    ToolAnswered,
    ToolCalled,
    ToolPrinted,
    TrajectoryGrown,
)
from agenttune.agent.guards import GuardName, Guards, cut_observation, shortened
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.step import Outputs, StepOptions, stream_steps, take_steps
from agenttune.agent.text_kinds import by_kind
from agenttune.agent.wariness import why_asked
from agenttune.data.render import prompt_ids
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol, write
from agenttune.values.sample import Sample
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall, Trajectory

ATTEMPTS = 2  # replies in a row that could not be read and were answered with what is wrong; the next one ends the run
SAME = "(This is the result of the same call before. It was not made again.)"
SHORTER = (256, 64, 16)  # tokens of one result, tried one after the other where the context is full
ROOM = 256  # tokens that an answer should have
REPEATS = 3  # the same call so many times in a row ends the run


def run(
    trajectory: Trajectory, agent: Agent, *, session: Session | None = None, steered: Callable[[], bool] | None = None
) -> Generator[AgentEvent, None, RunFinished]:
    """Answers the last round of `trajectory`, which has no steps yet. The last event, also returned, is `RunFinished`.

    The run ends with an answer (``answer``); after `max_steps` steps; at the third reply in a row that cannot be read
    (``malformed``); at the third identical call in a row, which is not run (``loop``); when an answer is cut or a call is cut a
    third time in a row (``length``); when the context is full; with `Agent.guards` also after ``run_tokens``; ``steered``, where
    `steered`, asked after the tools of each step, says that a person has something else to say; or ``interrupted``:
    a KeyboardInterrupt, raised here or thrown into the generator, ends the step and leaves what was done before.

    With guards, a run that a limit ends is made to answer first, where it can: the last step's outcome is then ``forced``, and
    `stop` says why. `session` carries the prefix cache over rounds. Token ids that earlier steps carry stand in the prompt, so they
    must be this model's.
    """
    loop = Loop(trajectory, agent, session or Session(agent.model))
    try:
        while loop.stop is None:
            yield from loop.begin()
            step = yield from _streamed(loop)
            yield from _growing(loop, step)
            if loop.stop is None and steered is not None and steered():
                loop.stop = "steered"
    except KeyboardInterrupt:
        loop.stop = "interrupted"
    finished = loop.finished()
    with contextlib.suppress(KeyboardInterrupt):  # it is over already: what was done is returned
        yield finished
    return finished


def _growing(loop: Loop, step: Step) -> Iterator[AgentEvent]:
    """A step that is taken; before what was added to the trajectory is told, the trajectory is."""
    told = loop.trajectory
    for event in loop.take(step):
        if loop.trajectory is not told:
            told = loop.trajectory
            yield TrajectoryGrown(trajectory=told)
        yield event
    if loop.trajectory is not told:  # the model was told what was wrong
        yield TrajectoryGrown(trajectory=loop.trajectory)


def _streamed(loop: Loop) -> Generator[AgentEvent, None, Step]:
    agent = loop.agent
    sample, outputs = loop.asked()
    texts = stream_steps(
        agent.model,
        [sample],
        agent.template,
        agent.sampling,
        sessions=[loop.session],
        outputs=[outputs],
        options=loop.options(),
    )
    (step,) = yield from by_kind(texts, agent.protocol)
    return step


def advance(loops: Sequence[Loop]) -> None:
    """Takes the next step of several runs in one batch, tools included; what `run` does for one, with the events told to nobody.

    The agents may differ in their tools, limits and options; model, template, protocol and sampling are one for all.
    """
    one = loops[0].agent
    assert all((loop.agent.model, loop.agent.template, loop.agent.sampling) == (one.model, one.template, one.sampling) for loop in loops)
    for loop in loops:
        _untold(loop.begin())
    asked = [loop.asked() for loop in loops]
    steps = take_steps(
        one.model,
        [sample for sample, _ in asked],
        one.template,
        one.sampling,
        sessions=[loop.session for loop in loops],
        outputs=[outputs for _, outputs in asked],
        options=[loop.options() for loop in loops],
    )
    for loop, step in zip(loops, steps, strict=True):
        _untold(loop.take(step))


def _untold(events: Iterator[AgentEvent]) -> None:
    for _ in events:
        pass


class Loop:
    """The state of one run: the trajectory as it grows, what repeats, and why it ended (`stop`), once it has.

    A step is `begin`, then the model's reply to what is `asked` under `options`, then `take`.
    """

    def __init__(self, trajectory: Trajectory, agent: Agent, session: Session) -> None:
        assert trajectory.rounds and not trajectory.rounds[-1].steps
        self.trajectory = trajectory
        self.agent, self.session = agent, session
        self.stop: StopReason | None = None if agent.max_steps > 0 else "max_steps"
        self._must_answer: StopReason | None = None  # why the next step may only be an answer
        self._acted: Counter[str] = Counter()
        self._written = 0
        self._failed = 0
        self._last: tuple[ToolCall | Malformed, ...] = ()
        self._same = 0

    def asked(self) -> tuple[Sample, Outputs]:
        """What is sent next, and by turn the ids of what the model said before."""
        return self.shown(self.trajectory)

    def shown(self, trajectory: Trajectory) -> tuple[Sample, Outputs]:
        """A conversation as the model is shown it, and by turn the ids of what it said itself."""
        return write(verbatim(trajectory), self.agent.protocol), generated_ids(trajectory, self.agent.protocol)

    def options(self) -> StepOptions:
        """How the next step is taken: where a limit is reached, only an answer may come."""
        return replace(self.agent.options, tool_choice="none") if self._must_answer else self.agent.options

    def finished(self) -> RunFinished:
        """All that was done, once it has ended."""
        assert self.stop is not None
        return RunFinished(trajectory=replace(self.trajectory, stop=self.stop), stop=self.stop, guards=dict(self._acted))

    def begin(self) -> Iterator[AgentEvent]:
        """Before a step: whether it must be an answer."""
        if self.agent.guards is not None and len(self.trajectory.rounds[-1].steps) == self.agent.max_steps - 1:
            self._must_answer = self._must_answer or "max_steps"
        if self._must_answer is not None:
            yield self._guard("forced_answer", f"the model must answer now ({self._must_answer})")

    def take(self, step: Step) -> Iterator[AgentEvent]:
        """Takes the model's step: runs its calls, tells what was wrong, or ends the run."""
        forced = self._must_answer
        if step.outcome == "context" and forced != "context" and (left := self._make_room()) is not None:
            yield self._guard("context_full", f"the context is full: {left} tokens of earlier results were left out")
            self._must_answer = "context"
            return
        if forced is not None and step.usable and step.answer is not None:
            step = replace(step, outcome="forced")
        if step.outcome == "context" and not step.token_ids:
            self.stop = "context"
            return
        self.trajectory = self.trajectory.with_step(step)
        yield StepMade(step=step)
        if forced is not None:
            self.stop = forced
        elif not step.usable:
            self._unusable(step)
        elif step.answer is not None:
            self.stop = "answer"
        else:
            yield from self._act(step)
        if self.stop is None and len(self.trajectory.rounds[-1].steps) >= self.agent.max_steps:
            self.stop = "max_steps"

    def _act(self, step: Step) -> Iterator[AgentEvent]:
        self._failed = 0
        if self._repeats(step):
            self._end_or_answer("loop", "Error: this call was made before; answer from what is known")
            return
        yield from self._run_calls(step)
        self._written += len(step.token_ids)
        guards = self.agent.guards
        if guards is not None and 0 < guards.run_tokens <= self._written:
            self._must_answer = "run_tokens"

    def _guard(self, name: GuardName, sentence: str) -> GuardActed:
        self._acted[name] += 1
        return GuardActed(guard=name, sentence=sentence)

    def _end_or_answer(self, reason: StopReason, told: str) -> None:
        """Ends the run; with guards the model is told why, and may answer first."""
        if self.agent.guards is None:
            self.stop = reason
            return
        missing = len(self.trajectory.rounds[-1].steps[-1].calls)
        self._observe([Observation(text=told, error=True)] * missing)
        self._must_answer = reason

    def _make_room(self) -> int | None:
        """With guards, shortens what tools answered until an answer fits behind it: tokens left out; None where that is not enough."""
        agent = self.agent
        for limit in SHORTER if agent.guards is not None else ():
            shorter, left = shortened(self.trajectory, limit, agent.model.tokenizer)
            sample, outputs = self.shown(shorter)
            try:
                prompt = prompt_ids(sample, agent.template, agent.model.tokenizer, outputs=outputs)
            except Refusal:  # the chat template does not carry it shortened: no room is made, and the run ends as one that is full
                continue
            if len(prompt) + min(ROOM, agent.sampling.max_new_tokens) <= agent.model.context:
                self.trajectory = shorter
                return left
        return None

    def _observe(self, seen: Sequence[Observation]) -> None:
        self.trajectory = self.trajectory.with_observations(seen)

    def _unusable(self, step: Step) -> None:
        """Tells the model what was wrong, unless it was told before or cannot do better."""
        reason: StopReason = "context" if step.outcome == "context" else "length" if step.outcome == "truncated" else "malformed"
        self._failed += 1
        if reason == "context" or step.answer is not None:
            self.stop = reason
        elif self._failed > ATTEMPTS:
            self._end_or_answer(reason, "Error: the reply could not be used; answer from what is known")
        else:
            self._observe([Observation(text=feedback(step, self.agent.sampling, self.agent.protocol), error=True)])

    def _repeats(self, step: Step) -> bool:
        calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
        self._same = self._same + 1 if calls == self._last and not self._polls(step) else 1
        self._last = calls
        return self._same >= REPEATS

    def _polls(self, step: Step) -> bool:
        """Whether a call may well be made again: its tool says that it polls."""
        guarded = self.agent.guards is not None
        return guarded and any(isinstance(call, ToolCall) and self.agent.toolbox.polls(call.name) for call in step.calls)

    def _known(self, step: Step) -> tuple[Observation, ...]:
        """What the step before saw of the same calls, where all of them only read and none failed; else nothing."""
        if self.agent.guards is None or self._same < 2:
            return ()
        if not all(isinstance(call, ToolCall) and self.agent.toolbox.effect(call.name).reads for call in step.calls):
            return ()
        before = self.trajectory.rounds[-1].steps[-2].observations
        failed = any(seen.error for seen in before)  # what failed may be tried again
        return before if len(before) == len(step.calls) and not failed else ()

    def _run_calls(self, step: Step) -> Iterator[AgentEvent]:
        """Runs the calls; neighbours that only read go to the tools together. The same reading call again is answered from the first."""
        calls = [call for call in step.calls if isinstance(call, ToolCall)]
        if known := self._known(step):
            yield self._guard("repeated_call", "the same call again: answered from the first")
            for call, seen in zip(calls, known, strict=True):
                again = replace(seen, text=f"{seen.text}\n{SAME}", call_id=call.id)
                self._observe([again])
                yield ToolAnswered(call=call, observation=again)
            self._must_answer = "loop"
            return
        for group in self._groups(calls):
            yield from (ToolCalled(call=call) for call in group)
            yield from self._run_group(group)

    def _run_group(self, calls: Sequence[ToolCall]) -> Iterator[AgentEvent]:
        printed: list[ToolPrinted] = []

        def keep(call: ToolCall, text: str) -> None:
            printed.append(ToolPrinted(call=call, text=text))

        seconds = (self.agent.guards or Guards()).tool_seconds
        observed = self.agent.toolbox.run(calls, seconds, keep, self._why_asked)
        yield from printed
        for call, seen in zip(calls, observed, strict=True):
            yield from self._answered(call, seen)

    def _why_asked(self, call: ToolCall) -> str:
        return why_asked(call, self.agent.toolbox.effect(call.name), self.trajectory)

    def _answered(self, call: ToolCall, seen: Observation) -> Iterator[AgentEvent]:
        guards = self.agent.guards
        if guards is not None:
            text, left = cut_observation(seen, guards.observation_tokens, self.agent.model.tokenizer)
            if left:
                seen = replace(seen, text=text)
                yield self._guard("observation_cut", f"{left} tokens of the result were left out (--observation-tokens)")
        self._observe([seen])
        yield ToolAnswered(call=call, observation=seen)

    def _groups(self, calls: Sequence[ToolCall]) -> Iterator[list[ToolCall]]:
        """Calls that run at the same time: neighbours that only read, where guards are on; else each alone."""
        if self.agent.guards is None:
            yield from ([call] for call in calls)
            return
        for reads, group in itertools.groupby(calls, lambda call: self.agent.toolbox.effect(call.name).reads and not self._why_asked(call)):
            several = list(group)
            yield from [several] if reads else [[call] for call in several]


def feedback(step: Step, sampling: SamplingParams, protocol: Protocol) -> str:
    """What a model is told about a reply that cannot be used."""
    if step.outcome == "truncated":
        return f"the reply was cut off after {sampling.max_new_tokens} tokens and was not used; reply with less"
    reason = next(call.reason for call in step.calls if isinstance(call, Malformed))
    return f"the reply could not be read: {reason}; {protocol.reminder}"
