"""A question answered by lagent's ReAct in the place of our loop: its prompts, its reading of replies, its steps; our model and tools.

lagent calls its model and its tools; here it runs in a thread that waits while what it wants is done in the thread of whoever watches,
so that text streams, Ctrl-C stops a step and a person is asked for permission, as with our own loop.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session, stream
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
from agenttune.agent.guards import Guards, cut_observation
from agenttune.agent.lagent_classes import ActionAnswered, ActionRead, Generate, RunAction, make_react
from agenttune.agent.step import read
from agenttune.agent.text_kinds import by_kind
from agenttune.agent.wariness import why_asked
from agenttune.data.render import prompt_ids
from agenttune.protocols.react_zh import REACT_ZH
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Completion
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall, Trajectory

_Wish = Generate | ActionRead | RunAction | ActionAnswered


class _Stopped(BaseException):
    """lagent's thread ends here; it is no `Exception`, so that no action swallows it."""


class _Ended:
    """lagent has nothing more to ask: its last words, or what it failed with."""

    def __init__(self, response: str = "", error: Exception | None = None) -> None:
        self.response, self.error = response, error


def lagent_run(
    trajectory: Trajectory, agent: Agent, *, session: Session | None = None, steered: Callable[[], bool] | None = None
) -> Generator[AgentEvent, None, RunFinished]:
    """Answers the last round of `trajectory` as `react.run` does, with lagent's `ReAct` in the place of the loop.

    Of earlier rounds lagent is given questions and answers, no steps: that is all it keeps. `Agent.max_steps` is its ``max_turn``; in the
    last turn it asks for a final result. Calls are not constrained, and no stop string keeps the model from inventing a response, as in
    lagent. Where it reads a reply otherwise than we do, an event says so. `steered` is asked after each tool.
    """
    run = _Run(trajectory, agent, session or Session(agent.model))
    stop: StopReason = "interrupted"
    try:
        stop = yield from run.served(steered)
    except KeyboardInterrupt:
        stop = "interrupted"
    finally:
        run.end()
    finished = RunFinished(trajectory=replace(run.trajectory, stop=stop), stop=stop)
    with contextlib.suppress(KeyboardInterrupt):
        yield finished
    return finished


class _Run:
    """One question: lagent's thread, and what it has done so far."""

    def __init__(self, trajectory: Trajectory, agent: Agent, session: Session) -> None:
        self.trajectory, self._agent, self._session = trajectory, agent, session
        self._wishes: queue.SimpleQueue[_Wish | _Ended] = queue.SimpleQueue()
        self._granted: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._said: list[Completion] = []
        self._text = ""
        self._seen: Observation | None = None  # what the tool of this turn answered, if one ran
        react = make_react(agent.toolbox.specs, trajectory.system, agent.max_steps, self._ask)
        self._thread = threading.Thread(target=self._work, args=(react,), daemon=True)

    def _ask(self, wish: _Wish) -> object:
        """In lagent's thread: waits until it is done."""
        self._wishes.put(wish)
        granted = self._granted.get()
        if granted is _Stopped:
            raise _Stopped
        return granted

    def _work(self, react: Any) -> None:
        messages = [*self._before(), {"role": "user", "content": self.trajectory.rounds[-1].user}]
        with contextlib.suppress(_Stopped):
            try:
                self._wishes.put(_Ended(react.chat(messages).response))
            except Exception as error:  # a reply can make lagent fail, e.g. an action's name with two dots
                self._wishes.put(_Ended(error=error))

    def _before(self) -> list[dict[str, str]]:
        told = []
        for one in self.trajectory.rounds[:-1]:
            answer = one.steps[-1].answer if one.steps else None
            told += [{"role": "user", "content": one.user}]
            told += [{"role": "assistant", "content": answer}] if answer is not None else []
        return told

    def served(self, steered: Callable[[], bool] | None) -> Generator[AgentEvent, None, StopReason]:
        """Does what lagent wishes until it has ended; returns why it did."""
        self._thread.start()
        while True:
            wish = self._wishes.get()
            if isinstance(wish, _Ended):
                return (yield from self._over(wish))
            if isinstance(wish, Generate):
                reply = yield from self._reply(wish.messages)
                if reply is None:
                    return "context"
                self._granted.put(reply)
            elif isinstance(wish, ActionRead):
                yield from self._read(wish)
                self._granted.put(None)
            elif isinstance(wish, RunAction):
                self._granted.put((yield from self._ran(wish)))
            else:
                self._observed(wish)
                yield TrajectoryGrown(trajectory=self.trajectory)
                if steered is not None and self.trajectory.rounds[-1].steps[-1].answer is None and steered():
                    return "steered"
                self._granted.put(None)

    def _over(self, ended: _Ended) -> Generator[AgentEvent, None, StopReason]:
        last = self.trajectory.rounds[-1].steps
        if ended.error is not None:
            yield _told(f"lagent failed: {type(ended.error).__name__}: {ended.error}")
            return "malformed"
        if last and last[-1].answer is not None:
            return "answer"
        yield _told(f"lagent ends after {self._agent.max_steps} turns and says: {ended.response}")
        return "max_steps"

    def end(self) -> None:
        """Ends lagent's thread, wherever it waits."""
        if self._thread.is_alive():
            self._granted.put(_Stopped)
            self._thread.join()

    # The model

    def _reply(self, messages: Sequence[Mapping[str, str]]) -> Generator[AgentEvent, None, str | None]:
        agent = self._agent
        turns = _turns(messages)
        sample = Sample(id="lagent", protocol=REACT_ZH.name, tools=agent.toolbox.specs, turns=turns, meta={})
        first = len(turns) - 1 - len(self._said)
        ids = {first + at: one.token_ids for at, one in enumerate(self._said)}
        prompt = prompt_ids(sample, agent.template, agent.model.tokenizer, outputs=ids)
        stops = (*agent.sampling.stops, *agent.template.stops)
        bounds = replace(agent.sampling, stops=tuple(dict.fromkeys(stops)), stop_ids=agent.sampling.stop_ids | agent.template.stop_ids)
        (said,) = yield from by_kind(stream(agent.model, [prompt], bounds, sessions=[self._session]), REACT_ZH)
        if said.stop == "context" and not said.token_ids:
            return None
        self._said.append(said)
        self._text = agent.template.read(said.text)
        return self._text

    # The reading

    def _read(self, read_: ActionRead) -> Generator[AgentEvent, None, None]:
        step = replace(_as_read(read_, self._text), token_ids=self._said[-1].token_ids, raw=self._text)
        self.trajectory = self.trajectory.with_step(step)
        yield TrajectoryGrown(trajectory=self.trajectory)
        yield StepMade(step=step)
        ours = self._ours()
        if _meaning(step) != _meaning(ours):
            yield _told(f"lagent reads {_words(step)}; agenttune would read {_words(ours)}")

    def _ours(self) -> Step:
        """The last reply as our loop would have heard it: up to where it begins to invent a response."""
        text = self._said[-1].text
        for stop in REACT_ZH.stops:
            text = text.partition(stop)[0]
        return read(replace(self._said[-1], text=text), REACT_ZH, self._agent.template, self._agent.toolbox.specs)

    # The tools

    def _ran(self, wish: RunAction) -> Generator[AgentEvent, None, Observation]:
        call = ToolCall(name=wish.name, arguments=wish.arguments)
        yield ToolCalled(call=call)
        guards, printed = self._agent.guards, list[str]()
        seconds = (guards or Guards()).tool_seconds
        (seen,) = self._agent.toolbox.run([call], seconds, lambda call, text: printed.append(text), self._why_asked)
        yield from (ToolPrinted(call=call, text=text) for text in printed)
        if guards is not None:
            seen = replace(seen, text=cut_observation(seen, guards.observation_tokens, self._agent.model.tokenizer)[0])
        self._seen = seen
        yield ToolAnswered(call=call, observation=seen)
        return seen

    def _why_asked(self, call: ToolCall) -> str:
        return why_asked(call, self._agent.toolbox.effect(call.name), self.trajectory)

    def _observed(self, answered: ActionAnswered) -> None:
        """What the model is told: a tool's words, with whether strangers can have written them, or lagent's own."""
        seen, self._seen = self._seen or Observation(text=""), None
        if self.trajectory.rounds[-1].steps[-1].answer is None:
            self.trajectory = self.trajectory.with_observations([replace(seen, text=answered.text, error=answered.error)])


def _turns(messages: Sequence[Mapping[str, str]]) -> tuple[Turn, ...]:
    """lagent's messages as turns; two system texts in a row are parted by an empty line."""
    turns: list[Turn] = []
    system, user = "", ""
    for one in messages:
        if one["role"] == "assistant":
            turns.append(Turn(system=system, input=user, output=one["content"]))
            system, user = "", ""
        elif one["role"] == "user":
            user = one["content"]
        else:
            system = f"{system}\n\n{one['content']}" if system else one["content"]
    return (*turns, Turn(system=system, input=user))


def _as_read(found: ActionRead, text: str) -> Step:
    """What lagent took a reply for. Arguments that its parser will not read are no call."""
    thought = text.split("Action:")[0].split("Thought:")[-1].split("Final Answer:")[0].strip()
    if found.answers:
        return Step(thought=thought, answer=found.command.strip(), outcome="final")
    if found.nothing:
        return Step(calls=(Malformed(text=text, reason="lagent finds no action in it"),), outcome="malformed", weight=0.0)
    try:
        arguments = json.loads(found.command)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        reason = f"lagent reads no JSON after the action {found.name}"
        return Step(calls=(Malformed(text=text, reason=reason),), outcome="malformed", weight=0.0)
    return Step(thought=thought, calls=(ToolCall(name=found.name, arguments=arguments),), outcome="call")


def _meaning(step: Step) -> object:
    call = step.calls[0] if step.calls else None
    if isinstance(call, ToolCall):
        return call.name, call.arguments
    return step.answer if call is None else None


def _words(step: Step) -> str:
    call = step.calls[0] if step.calls else None
    if isinstance(call, ToolCall):
        return f"a call of {call.name} with {json.dumps(call.arguments, ensure_ascii=False)}"
    return f"the answer {json.dumps(step.answer, ensure_ascii=False)}" if call is None else f"nothing ({call.reason})"


def _told(sentence: str) -> GuardActed:
    return GuardActed(guard="lagent", sentence=sentence)
