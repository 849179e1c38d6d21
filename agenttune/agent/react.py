"""The loop: a model's step, the tools it calls, what they answer, the next step; told as events.

What is sent to the model at each step is the trajectory so far, written by its protocol and rendered by its template, the
way a training example is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Protocol as Interface

from agenttune.agent.decode import Session
from agenttune.agent.events import AgentEvent, RunFinished, StepMade, Stop, Text, ToolAnswered, ToolCalled
from agenttune.agent.step import stream_steps
from agenttune.models.base import Model
from agenttune.protocols.base import Protocol, write
from agenttune.templates import Template
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall, Trajectory

ATTEMPTS = 2  # replies in a row that could not be read and were answered with what is wrong; the next one ends the run
REPEATS = 3  # the same call so many times in a row ends the run
_MARKER = 24  # characters; longer than any protocol's marker, so a line this long has shown what it is


class Tools(Interface):
    """What runs the calls: see `agenttune.agent.toolbox.Toolbox`."""

    def run(self, calls: Sequence[ToolCall | Malformed], deadline: float = ...) -> tuple[Observation, ...]:
        """An observation for each call; never raises for a tool's failure."""


def run(
    trajectory: Trajectory,
    *,
    model: Model,
    template: Template,
    protocol: Protocol,
    toolbox: Tools,
    sampling: SamplingParams,
    max_steps: int = 8,
    session: Session | None = None,
) -> Generator[AgentEvent, None, None]:
    """Answers the last round of `trajectory`, which has no steps yet. The last event is `RunFinished`, with every step in it.

    The run ends with an answer (``answer``); after `max_steps` steps; at the third reply in a row that cannot be read
    (``malformed``); at the third identical call in a row, which is not run (``loop``); when an answer is cut or a call is cut a
    third time in a row (``length``); when the context is full; or ``interrupted``: a KeyboardInterrupt, raised here or
    thrown into the generator, ends the step and leaves what was done before. `session` carries the prefix cache over rounds.
    Token ids that earlier steps carry stand in the prompt, so they must be this model's.
    """
    assert trajectory.rounds and not trajectory.rounds[-1].steps
    loop = _Loop(trajectory, model, template, protocol, toolbox, sampling, session or Session(model))
    stop: Stop = "max_steps"
    try:
        for _ in range(max_steps):
            ended = yield from loop.step()
            if ended is not None:
                stop = ended
                break
    except KeyboardInterrupt:
        stop = "interrupted"
    yield RunFinished(trajectory=replace(loop.trajectory, stop=stop), stop=stop)


class _Loop:
    """The state of one run: the trajectory as it grows, and what repeats."""

    def __init__(
        self,
        trajectory: Trajectory,
        model: Model,
        template: Template,
        protocol: Protocol,
        toolbox: Tools,
        sampling: SamplingParams,
        session: Session,
    ) -> None:
        self.trajectory = trajectory
        self._model, self._template, self._protocol = model, template, protocol
        self._toolbox, self._sampling, self._session = toolbox, sampling, session
        self._failed = 0
        self._last: tuple[ToolCall | Malformed, ...] = ()
        self._same = 0

    def step(self) -> Generator[AgentEvent, None, Stop | None]:
        """One step and its tools. Returns why the run ends, or None."""
        step = yield from self._say()
        if step.outcome == "context" and not step.token_ids:
            return "context"
        self._add(step)
        yield StepMade(step=step)
        if step.outcome != "ok":
            return self._unusable(step)
        self._failed = 0
        if step.answer is not None:
            return "answer"
        if self._repeats(step):
            return "loop"
        yield from self._act(step)
        return None

    def _say(self) -> Generator[AgentEvent, None, Step]:
        sample = write(said(self.trajectory), self._protocol)
        outputs = token_ids(self.trajectory) if self._template.prefix_stable else {}
        kinds = Kinds(self._protocol)
        steps: list[Step] = []

        def events() -> Iterator[tuple[int, str]]:
            said_now = stream_steps(self._model, [sample], self._template, self._sampling, sessions=[self._session], outputs=[outputs])
            steps.extend((yield from said_now))

        for _, text in events():
            yield from kinds.push(text)
        yield from kinds.flush()
        return steps[0]

    def _add(self, step: Step) -> None:
        self._replace_steps((*self.trajectory.rounds[-1].steps, step))

    def _observe(self, seen: Sequence[Observation]) -> None:
        *before, last = self.trajectory.rounds[-1].steps
        self._replace_steps((*before, replace(last, observations=(*last.observations, *seen))))

    def _replace_steps(self, steps: tuple[Step, ...]) -> None:
        rounds = self.trajectory.rounds
        self.trajectory = replace(self.trajectory, rounds=(*rounds[:-1], replace(rounds[-1], steps=steps)))

    def _unusable(self, step: Step) -> Stop | None:
        """Tells the model what was wrong, unless it was told before or cannot do better."""
        reason: Stop = "context" if step.outcome == "context" else "length" if step.outcome == "length" else "malformed"
        self._failed += 1
        if reason == "context" or step.answer is not None or self._failed > ATTEMPTS:
            return reason
        self._observe([Observation(text=feedback(step, self._sampling, self._protocol), error=True)])
        return None

    def _repeats(self, step: Step) -> bool:
        calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
        self._same = self._same + 1 if calls == self._last else 1
        self._last = calls
        return self._same >= REPEATS

    def _act(self, step: Step) -> Iterator[AgentEvent]:
        for call in step.calls:
            assert isinstance(call, ToolCall)
            yield ToolCalled(call=call)
            seen = self._toolbox.run([call])
            self._observe(seen)
            for one in seen:
                yield ToolAnswered(call=call, observation=one)


def feedback(step: Step, sampling: SamplingParams, protocol: Protocol) -> str:
    """What a model is told about a reply that cannot be used."""
    if step.outcome == "length":
        return f"the reply was cut off after {sampling.max_new_tokens} tokens and was not used; reply with less"
    reason = next(call.reason for call in step.calls if isinstance(call, Malformed))
    return f"the reply could not be read: {reason}; {protocol.reminder}"


def said(trajectory: Trajectory) -> Trajectory:
    """The trajectory with every step that a model made in its own words: a prompt holds what was said, not how it was read."""
    rounds = tuple(replace(one, steps=tuple(map(_as_said, one.steps))) for one in trajectory.rounds)
    return replace(trajectory, rounds=rounds)


def _as_said(step: Step) -> Step:
    if not step.token_ids:
        return step
    return replace(step, reasoning="", thought="", answer=None, calls=(Malformed(text=step.raw, reason="as it was said"),))


def token_ids(trajectory: Trajectory) -> dict[int, tuple[int, ...]]:
    """By turn of the written sample, the ids of the outputs that a model made. Its steps are one turn each."""
    found: dict[int, tuple[int, ...]] = {}
    turn = 0
    for one in trajectory.rounds:
        for step in one.steps:
            if step.token_ids:
                found[turn] = step.token_ids
            turn += 1 if step.token_ids else max(1, len(step.calls))
        turn += 0 if one.steps else 1
    return found


class Kinds:
    """Tells growing text apart by kind. The start of a line is held back while it may still become a marker."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._text = ""
        self._shown = 0

    def push(self, text: str) -> Iterator[Text]:
        """The pieces of the text so far whose kind is certain and which were not told yet."""
        self._text += text
        line = self._text.rfind("\n") + 1
        yield from self._until(line if len(self._text) - line < _MARKER else len(self._text))

    def flush(self) -> Iterator[Text]:
        """The rest."""
        yield from self._until(len(self._text))

    def _until(self, end: int) -> Iterator[Text]:
        if end <= self._shown:
            return
        for span in self._protocol.spans(self._text):
            start, stop = max(span.start, self._shown), min(span.end, end)
            if start < stop:
                yield Text(delta=self._text[start:stop], kind=span.kind)
        self._shown = end
