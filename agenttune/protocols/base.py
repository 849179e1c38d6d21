"""What a wire protocol can do, and the one way from a trajectory to a sample."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agenttune.errors import Refusal
from agenttune.values.sample import Sample, Turn
from agenttune.values.trajectory import Malformed, Observation, Step, ToolCall, ToolSpec, Trajectory

Kind = Literal["thought", "action", "arguments", "answer"]
Parallel = Literal["split", "reject"]
Thoughts = Literal["anywhere", "calls", "nowhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters ``start:end`` of an output are of this kind."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialStep:
    """What is certain of a step whose text is still coming; each text only ever grows. `name` is empty until it is whole.

    `arguments` is the text of one call's arguments as it is written, white space at its ends left out.
    """

    thought: str = ""
    name: str = ""
    arguments: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSyntax:
    """How calls and answers are spelled, as data for a grammar.

    A call is ``trigger before_name NAME between ARGUMENTS end``, and `joint` stands between parallel calls (None: one call a step).
    Example, react: ``Action:`` + `` `` + NAME + ``\\nAction Input: `` + ARGUMENTS. With `json_name` the name stands inside a JSON string.
    A thought before a call is ``thought TEXT newline``; an answer is ``answer TEXT``. Both markers may be empty.

    With `once` the trigger and `opening` stand before the first of several calls only, and `close` behind the last. `id_letters` letters
    and `id_end` may stand behind `end`. With `tagged` the arguments are no JSON: each is ``tag NAME tag TEXT tag`` where there are three
    tags, else they are written otherwise.
    """

    trigger: str
    before_name: str
    between: str
    end: str = ""
    joint: str | None = None
    json_name: bool = False
    once: bool = False
    opening: str = ""
    close: str = ""
    id_letters: int = 0
    id_end: str = ""
    tagged: bool = False
    tags: tuple[str, ...] = ()
    thought: str = ""
    answer: str = ""


class Protocol(typing.Protocol):
    """Write, parse and spans of one wire format."""

    @property
    def name(self) -> str:
        """The name in configs and cards."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which generation ends besides the template's stop token: where the model starts to invent a tool's answer."""

    @property
    def reminder(self) -> str:
        """How a reply that could not be read should have looked: the end of the sentence that tells the model so."""

    @property
    def observation_field(self) -> Literal["system", "input"]:
        """The field of a turn that carries an observation."""

    @property
    def parallel_calls(self) -> bool:
        """Whether one step may hold several calls."""

    @property
    def thoughts(self) -> Thoughts:
        """Beside what a thought has a place of its own: calls and answers, calls, nothing. Elsewhere it is written as reasoning."""

    @property
    def thought_channel(self) -> Literal["reasoning_content", "content"]:
        """The field of a chat message in which a client of the server is given a thought before a call."""

    @property
    def call_syntax(self) -> CallSyntax:
        """How a call is spelled, the way `write_step` writes it."""

    def call_start(self, text: str) -> int | None:
        """Where the first call of an output begins: the place of its trigger. None while the text, which may grow, has none.

        Text that `parse` reads as something else (reasoning, an answer) holds no call.
        """

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The first system turn: the conversation's own text, the tools, and how to call them."""

    def write_step(self, step: Step) -> str:
        """A step as the model must say it; several calls only where `parallel_calls`. Raises `Refusal` for what `parse` reads otherwise."""

    def observation_text(self, observations: Sequence[Observation]) -> str:
        """What the tools answered, as the next turn's text."""

    def observations(self, text: str, calls: int) -> tuple[str, ...]:
        """The texts that `observation_text` wrote after a step of so many calls; all of it as one where they cannot be told apart."""

    def parse(self, text: str) -> Step:
        """A model's words as a step. Never raises: what cannot be read is a `Malformed` call."""

    def partial(self, text: str) -> PartialStep:
        """What is certain of a step of which `text` is the beginning; never more than `parse` will find in the whole text."""

    def spans(self, output: str) -> tuple[Span, ...]:
        """Which characters of an output are thought, action, arguments, answer; together they cover it, in order.

        >>> from agenttune.protocols import get
        >>> output = 'Thought: go\\nAction: look\\nAction Input: {"at": 1}'
        >>> [(span.kind, output[span.start : span.end]) for span in get("react").spans(output)]
        [('thought', 'Thought: go\\n'), ('action', 'Action: look\\nAction Input:'), ('arguments', ' {"at": 1}')]
        """


def covering(marks: Sequence[tuple[int, Kind]]) -> tuple[Span, ...]:
    """Spans up to each mark in turn; empty ones are left out, neighbours of one kind joined."""
    spans: list[Span] = []
    start = 0
    for end, kind in marks:
        if end > start:
            first = start
            if spans and spans[-1].kind == kind:
                first = spans.pop().start
            spans.append(Span(kind=kind, start=first, end=end))
            start = end
    return tuple(spans)


THINK = "<think>\n"  # what opens a block of reasoning
_THINK = re.compile(r"\A<think>\n(.*?)\n</think>\n\n", re.DOTALL)


def think_text(reasoning: str) -> str:
    """Reasoning as the block that opens an output, in the form of today's reasoning models; empty for none."""
    return f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""


def read_think(text: str) -> tuple[str, int]:
    """The reasoning that opens an output, and where the rest begins; the inverse of `think_text`."""
    found = _THINK.match(text)
    return (found.group(1), found.end()) if found else ("", 0)


def in_think(text: str) -> bool:
    """Whether an output that may grow is still inside the reasoning that opens it."""
    return text.startswith("<think>\n") and not _THINK.match(text)


def bare(step: Step) -> Step:
    """The step without what a protocol does not write: observations, call ids, weight and how a model made it."""
    named = any(isinstance(call, ToolCall) and call.id for call in step.calls)
    if not named and not (step.observations or step.token_ids or step.raw or step.outcome) and step.weight == 1.0:
        return step
    calls = tuple(replace(call, id="") if isinstance(call, ToolCall) and call.id else call for call in step.calls) if named else step.calls
    return Step(reasoning=step.reasoning, thought=step.thought, calls=calls, answer=step.answer)


def refuse_other(protocol: str, seen: Step, wanted: Step, text: str) -> None:
    """Raises `Refusal` (``unwritable``) where the step that was read of a written text is not the one that was written."""
    if seen != wanted:
        fields = ("reasoning", "thought", "answer", "calls")
        field = next((one for one in fields if getattr(seen, one) != getattr(wanted, one)), "text")
        raise Refusal("unwritable", f"{protocol} cannot hold the {field} of this step exactly", text)


def placed(step: Step, thoughts: Thoughts) -> Step:
    """The step with a thought that has no place of its own joined to its reasoning."""
    if not step.thought or thoughts == "anywhere" or (thoughts == "calls" and step.calls):
        return step
    return replace(step, thought="", reasoning=_joined(step.reasoning, step.thought))


def single_calls(step: Step) -> Iterator[Step]:
    """A step with parallel calls as consecutive steps of one call each; the thought stays with the first."""
    if len(step.calls) < 2:
        yield step
        return
    by_id = {seen.call_id: seen for seen in step.observations if seen.call_id}
    for index, call in enumerate(step.calls):
        paired = by_id.get(call.id) if not isinstance(call, Malformed) and call.id else None
        if paired is None and index < len(step.observations) and not step.observations[index].call_id:
            paired = step.observations[index]
        first = index == 0
        yield replace(
            step,
            reasoning=step.reasoning if first else "",
            thought=step.thought if first else "",
            calls=(call,),
            observations=(paired,) if paired else (),
        )


def write(trajectory: Trajectory, protocol: Protocol, *, parallel: Parallel = "split") -> Sample:
    """The trajectory as turns: what a tool answered opens the next turn, what the model must say is its output.

    Raises `Refusal` where the protocol cannot hold a step. Where it holds one call a step, parallel calls become consecutive steps
    under ``parallel="split"``, and then ``meta["changes"]["parallel_split"]`` counts the steps this was done to; ``thought_as_reasoning``
    counts those whose thought has no place of its own. A turn that nobody answered has an empty output: a user's text, and where `input`
    carries observations an observation that a user's text follows. ``meta["accepted"]`` maps the
    number of a turn (from 0, as text) to the other outputs that count as right there.
    """
    turns: list[Turn] = []
    system = protocol.system_text(trajectory.system, trajectory.tools)
    waiting = ""
    split = moved = 0
    accepted: dict[str, list[str]] = {}
    for round_ in trajectory.rounds:
        user = round_.user
        if waiting and protocol.observation_field == "input":
            turns.append(Turn(input=waiting))
            waiting = ""
        pending = True
        for step in round_.steps:
            together = protocol.parallel_calls
            if len(step.calls) > 1 and not together:
                if parallel == "reject":
                    raise Refusal("parallel", f"a step makes {len(step.calls)} calls at once; {protocol.name} is one call a step")
                split += 1
            for single in (step,) if together or len(step.calls) < 2 else single_calls(step):
                if step.alternatives:
                    accepted[str(len(turns))] = [protocol.write_step(placed(one, protocol.thoughts)) for one in step.alternatives]
                own = placed(single, protocol.thoughts)
                moved += own is not single
                turns.append(_turn(protocol, system, user if pending else "", waiting, own))
                system, waiting, pending = "", "", False
                if single.observations:
                    waiting = protocol.observation_text(single.observations)
        if pending:
            turns.append(Turn(system=_joined(system, waiting), input=user))
            system, waiting = "", ""
    if waiting:
        turns.append(_entry(protocol, "", "", waiting))
    if not turns:
        raise Refusal("empty", "the conversation holds no turn")
    meta: dict[str, object] = {"source": trajectory.file, "line": trajectory.line, "group": trajectory.group}
    made = {"parallel_split": split, "thought_as_reasoning": moved}
    changes = {**{name: count for name, count in made.items() if count}, **dict.fromkeys(trajectory.notes, 1)}
    if changes:
        meta["changes"] = changes
    if accepted:
        meta["accepted"] = accepted
    return Sample(id=trajectory.id, protocol=protocol.name, tools=trajectory.tools, turns=tuple(turns), meta=meta)


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first and second else first or second


def _entry(protocol: Protocol, system: str, user: str, waiting: str) -> Turn:
    if protocol.observation_field == "system":
        return Turn(system=_joined(system, waiting), input=user)
    return Turn(system=system, input=waiting or user)


def _turn(protocol: Protocol, system: str, user: str, waiting: str, step: Step) -> Turn:
    output = protocol.write_step(step)
    if protocol.observation_field == "system":
        return Turn(system=_joined(system, waiting), input=user, output=output, weight=step.weight)
    return Turn(system=system, input=waiting or user, output=output, weight=step.weight)
