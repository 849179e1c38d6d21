"""Messages in order as rounds of steps, for every format whose calls and results are messages of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, tool_group
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

_THINK = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)


@dataclass(slots=True)
class _Open:
    """A step that made calls and may still be answered; `seen` maps the number of a call to its observation."""

    thought: str
    reasoning: str
    calls: list[ToolCall]
    weight: float
    seen: dict[int, Observation] = field(default_factory=dict)


@dataclass(slots=True)
class _Said:
    """What the assistant says without a call, message by message, until what follows shows whether it is an answer or a thought."""

    weight: float
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)

    def add(self, text: str, thought: str, reasoning: str) -> None:
        self.texts.append(text)
        self.thoughts.append(thought)
        self.reasoning.append(reasoning)


@dataclass(slots=True)
class Chat:
    """Collects a conversation message by message.

    White space at the ends of what the assistant says is trimmed (note ``trimmed``), a leading ``<think>`` block becomes the step's
    reasoning (``think_tags``), two texts of the assistant in a row become one (``answers_joined``), and a text directly before a call is
    that call's thought. Each method raises `Refusal` for an order of messages that a `Trajectory` cannot hold.
    """

    notes: list[str] = field(default_factory=list)
    _systems: list[str] = field(default_factory=list)
    _users: list[str] = field(default_factory=list)
    _steps: list[list[Step]] = field(default_factory=list)
    _open: _Open | None = None
    _said: _Said | None = None

    def system(self, text: str) -> None:
        """A system message, which must come before all others; several are joined (note ``system_joined``)."""
        if self._users:
            raise Refusal("order", "a system message stands inside the conversation", text)
        if text:
            self._systems.append(text)

    def user(self, text: str) -> None:
        """A user message opens a round."""
        self._close()
        self._users.append(text)
        self._steps.append([])

    def says(self, text: str, *, thought: str = "", reasoning: str = "", calls: Sequence[ToolCall] = (), weight: float = 1.0) -> None:
        """What the assistant says in one message: a text, calls, or both; `thought` is one that stands before an answer."""
        text, reasoning = self._clean(text, reasoning)
        if not self._users:
            self.notes.append("assistant_first")
            self.user("")
        self._close(keep=weight)
        said = self._said = self._said or _Said(weight)
        said.add(text, thought.strip(), reasoning)
        if not calls:
            return
        self._said = None
        words = [one for pair in zip(said.thoughts, said.texts, strict=True) for one in pair if one]
        self.notes += ["answers_joined"] if len(words) > 1 else []
        self._open = _Open("\n\n".join(words), _joined(said.reasoning), self._with_ids(calls), weight)

    def sees(self, text: str, *, call_id: str = "", name: str = "", error: bool = False) -> None:
        """The result of a call of the step before it, found by `call_id` where calls have ids, else by `name` and order."""
        if self._open is None:
            raise Refusal("orphan", "a result stands where no call was made", text)
        index = self._answered(call_id, name, text)
        self._open.seen[index] = Observation(text=text, call_id=self._open.calls[index].id, error=error)

    def waiting(self) -> tuple[ToolCall, ...]:
        """The calls of the last step that nobody has answered yet."""
        return tuple(call for index, call in enumerate(self._open.calls) if index not in self._open.seen) if self._open else ()

    def rounds(self) -> tuple[Round, ...]:
        """All rounds. Raises `Refusal` (``empty``) where the assistant never says anything."""
        self._close()
        if not any(self._steps):
            raise Refusal("empty", "no assistant message says anything")
        return tuple(Round(user=user, steps=tuple(steps)) for user, steps in zip(self._users, self._steps, strict=True))

    def trajectory(
        self,
        options: ReadOptions,
        *,
        id: str = "",
        tools: tuple[ToolSpec, ...] = (),
        group: str = "",
        stop: str = "",
    ) -> Trajectory:
        """The whole conversation; its group is its tool set unless another is named. Raises `Refusal` (``empty``)."""
        rounds = self.rounds()
        self.notes += ["system_joined"] if len(self._systems) > 1 else []
        return Trajectory(
            id=id,
            file=options.file,
            line=options.line,
            group=group or tool_group(tools),
            system=_joined(self._systems),
            tools=tools,
            rounds=rounds,
            stop=stop,
            notes=tuple(self.notes),
        )

    def _clean(self, text: str, reasoning: str) -> tuple[str, str]:
        found = _THINK.match(text)
        if found and (not reasoning.strip() or found.group(1).strip() == reasoning.strip()):
            self.notes.append("think_tags")
            reasoning, text = found.group(1), text[found.end() :].lstrip()
        if text != text.strip() or (reasoning != reasoning.strip() and not found):
            self.notes.append("trimmed")
        return text.strip(), reasoning.strip()

    def _with_ids(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        ids = [call.id for call in calls if call.id]
        if len(ids) == len(set(ids)):
            return list(calls)
        self.notes.append("call_ids_dropped")
        return [ToolCall(name=call.name, arguments=call.arguments) for call in calls]

    def _answered(self, call_id: str, name: str, text: str) -> int:
        assert self._open is not None
        calls, seen = self._open.calls, self._open.seen
        pending = [index for index in range(len(calls)) if index not in seen]
        if call_id and any(call.id for call in calls):
            pending = [index for index in pending if calls[index].id == call_id]
            if not pending:
                raise Refusal("orphan", f'a result answers the call "{call_id}", which waits for none', text)
        elif name:
            pending = [index for index in pending if calls[index].name == name]
            if not pending:
                raise Refusal("orphan", f'a result is from the tool "{name}", which was not called before it', text)
        if not pending:
            raise Refusal("orphan", "more results than calls", text)
        return pending[0]

    def _close(self, keep: float = -1.0) -> None:
        """Ends the step under way. What was said with the weight `keep` stays open for more."""
        said = self._said
        if said is not None and said.weight != keep:
            self._said = None
            self.notes += ["answers_joined"] if len(said.texts) > 1 else []
            parts = (_joined(said.reasoning), _joined(said.thoughts), _joined(said.texts))
            self._steps[-1].append(Step(reasoning=parts[0], thought=parts[1], answer=parts[2], weight=said.weight))
        step, self._open = self._open, None
        if step is None:
            return
        order = sorted(step.seen)
        if order != list(range(len(order))) and not all(step.calls[index].id for index in order):
            step.calls = [ToolCall(name=call.name, arguments=call.arguments, id=f"call_{n}") for n, call in enumerate(step.calls, 1)]
            self.notes.append("call_ids_made")
        seen = [Observation(text=step.seen[n].text, call_id=step.calls[n].id, error=step.seen[n].error) for n in order]
        self._steps[-1].append(
            Step(reasoning=step.reasoning, thought=step.thought, calls=tuple(step.calls), observations=tuple(seen), weight=step.weight)
        )


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def arguments_of(value: Json, notes: list[str]) -> dict[str, Json]:
    """A call's arguments: an object, a text that holds one (once or twice encoded), or nothing. Raises `Refusal` (``arguments``)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        notes.append("arguments_missing")
        return {}
    if isinstance(value, str):
        value = _decoded(value, notes)
        if isinstance(value, str):
            notes.append("arguments_encoded_twice")
            value = _decoded(value, notes)
        if value is None:
            notes.append("arguments_missing")
            return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Refusal("arguments", f"a call's arguments must be an object, these are {kind_name(value)}", excerpt(value))
    return value


def _decoded(text: str, notes: list[str]) -> Json:
    try:
        value, change = read_value(text)
    except Refusal as error:
        raise Refusal("arguments", f"a call's arguments cannot be read: {error.sentence}", text) from error
    if change:
        notes.append(change)
    return value


def call_of(value: Json, notes: list[str], *, id: str = "") -> ToolCall:
    """``{"name", "arguments"}`` (or ``parameters``, ``input``; or a text that holds it) as a call. Raises `Refusal` (``call``)."""
    if isinstance(value, str):
        value = _call_text(value, notes)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"].strip():
        raise Refusal("call", "a call must be an object with a name and arguments", excerpt(value))
    key = next((one for one in ("arguments", "parameters", "input") if one in value), "")
    if dropped := sorted(one for one in value if one not in ("name", "id", "type", key) and value[one] is not None):
        notes.append(f"call_extra: {', '.join(dropped)}")
    given = value.get("id")
    name = id or (given if isinstance(given, str) else "")
    return ToolCall(name=value["name"].strip(), arguments=arguments_of(value.get(key), notes), id=name)


def _call_text(text: str, notes: list[str]) -> Json:
    try:
        value, change = read_value(text)
    except Refusal as error:
        raise Refusal("call", f"a call cannot be read: {error.sentence}", text) from error
    if change:
        notes.append(change)
    return value
