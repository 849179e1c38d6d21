"""Messages in order as rounds of steps, for every format whose calls and results are messages of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.act_text import LINE_OF_ACTION, read_act, tells_to_act
from agenttune.sources.base import ReadOptions, tool_group
from agenttune.sources.call_text import Said, read_said
from agenttune.sources.reading.json_text import read_value, text_of
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

_THINK = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
_RESULT = re.compile(r"\s*(?:EXECUTION RESULT of \[|OBSERVATION:|Observation:|<function_results>)")  # of OpenHands, SWE-agent and others
_ID_KEYS = ("tool_call_id", "call_id", "tool_use_id", "id")
_CONTENT_KEYS = ("content", "result", "output", "response", "results", "value")
_ENVELOPE = frozenset(("name", "role", "type", *_ID_KEYS))


@dataclass(slots=True)
class _Asked:
    """One message that makes calls."""

    thought: str
    reasoning: str
    calls: list[ToolCall]
    weight: float


@dataclass(slots=True)
class _Seen:
    """One result, and which call or tool it says it answers."""

    text: str
    call_id: str
    name: str
    error: bool


@dataclass(slots=True)
class _Words:
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
    that call's thought. A call that stands as text in known words is a call (``call_from_text``), and an answer in the words of a model
    that acts is one (``answer_from_text``). Messages with calls in a row whose
    results follow them all are one step of parallel calls (``calls_joined``). A result goes to its call by id, else by name, else by place
    (``results_by_position`` where more than one call waits). Each method raises `Refusal` for an order of messages that a `Trajectory`
    cannot hold; what is wrong about a result may be told only by a later one.
    """

    notes: list[str] = field(default_factory=list)
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)  # the declared ones by name, where they are known before the messages
    _systems: list[str] = field(default_factory=list)
    _users: list[str] = field(default_factory=list)
    _steps: list[list[Step]] = field(default_factory=list)
    _asked: list[_Asked] = field(default_factory=list)
    _seen: list[_Seen] = field(default_factory=list)
    _words: _Words | None = None
    _acts: bool = False  # the user's next message is the result of the call that waits
    _acted: bool = False  # the model has spoken in lines of action

    def system(self, text: str) -> None:
        """A system message, which must come before all others; several are joined (note ``system_joined``)."""
        if self._users and text:
            raise Refusal("order", "a system message stands inside the conversation", text)
        if text:
            self._systems.append(text)

    def user(self, text: str) -> None:
        """A user message opens a round."""
        if self.waiting() and (self._acts or _RESULT.match(text)):
            self.notes += [] if self._acts else ["user_as_result"]
            self.sees(text)
            return
        self._close()
        self._users.append(text)
        self._steps.append([])

    def says(
        self, text: str, *, thought: str = "", reasoning: str = "", calls: Sequence[ToolCall] = (), weight: float = 1.0, acts: bool = False
    ) -> None:
        """What the assistant says in one message: a text, calls, or both; `thought` is one that stands before an answer.

        `acts`: what the user says next is the result of the calls.
        """
        text, reasoning = self._clean(text, reasoning)
        said = self._read(text) if text and not calls else None
        if said is not None:
            self.notes += ["call_from_text"] * len(said.calls) + ["text_after_call"] * bool(said.after)
            self.notes += ["answer_from_text"] * (said.thought != "")
            text, thought = _joined((said.before.strip(), said.after)), _joined((thought, said.thought))
            reasoning, calls, acts = _joined((reasoning, said.reasoning)), said.calls, said.acts
        self._acts, self._acted = acts, self._acted or acts
        if not self._users:
            self.notes.append("assistant_first")
            self.user("")
        self._close(keep=weight, calls=bool(calls))
        words = self._words = self._words or _Words(weight)
        words.add(text, thought.strip(), reasoning)
        if not calls:
            return
        self._words = None
        parts = [one for pair in zip(words.thoughts, words.texts, strict=True) for one in pair if one]
        self.notes += ["answers_joined"] if len(parts) > 1 else []
        self._asked.append(_Asked("\n\n".join(parts), _joined(words.reasoning), self._with_ids(calls), weight))

    def _read(self, text: str) -> Said | None:
        """The calls that a text holds; lines of action among them, where somebody told the model to act so."""
        said = read_said(text, self.notes, self.tools)
        if said is not None or not LINE_OF_ACTION.search(text):
            return said
        return read_act(text, told=any(map(tells_to_act, (*self._systems, *self._users))), acted=self._acted)

    def sees(self, text: str, *, call_id: str = "", name: str = "", error: bool = False) -> None:
        """The result of a call before it. Raises `Refusal` (``orphan``) where no call was made."""
        if not self._asked:
            raise Refusal("orphan", "a result stands where no call was made", text)
        self._seen.append(_Seen(text, call_id, name, error))

    def waiting(self) -> bool:
        """Whether some call before has no result yet."""
        return sum(len(one.calls) for one in self._asked) > len(self._seen)

    def rounds(self, *, unanswered: bool = False) -> tuple[Round, ...]:
        """All rounds. Raises `Refusal` (``empty``) where the assistant never speaks, unless `unanswered` allows it."""
        self._close()
        if not any(self._steps) and not (unanswered and self._users):
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
        rounds = self.rounds(unanswered=options.unanswered)
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

    def _close(self, keep: float = -1.0, *, calls: bool = False) -> None:
        """Ends the step under way. What was said with the weight `keep` stays open for more, and so do calls before `calls` if none of
        them has a result yet: the results of all may follow."""
        words = self._words
        if words is not None and words.weight != keep:
            self._words = None
            self.notes += ["answers_joined"] if len(words.texts) > 1 else []
            parts = (_joined(words.reasoning), _joined(words.thoughts), _joined(words.texts))
            self._steps[-1].append(Step(reasoning=parts[0], thought=parts[1], answer=parts[2], weight=words.weight))
        if self._asked and not (calls and not self._seen and words is None):
            asked, seen, self._asked, self._seen = self._asked, self._seen, [], []
            self._steps[-1] += self._answered(asked, seen)

    def _answered(self, asked: list[_Asked], seen: list[_Seen]) -> list[Step]:
        """Messages of calls in a row as steps. The last message takes the results; more of them do, as one step of parallel calls, where
        results answer their calls too. Raises `Refusal`."""
        problem: Refusal | None = None
        for first in range(len(asked) - 1, -1, -1):
            try:
                step = self._step(asked[first:], seen)
            except Refusal as error:
                problem = problem or error
                continue
            return [*(self._step([one], []) for one in asked[:first]), step]
        assert problem is not None
        raise problem

    def _step(self, asked: list[_Asked], seen: list[_Seen]) -> Step:
        calls = [call for one in asked for call in one.calls]
        if len(asked) > 1:
            calls = self._with_ids(calls)
            if len({one.weight for one in asked}) > 1:
                raise Refusal("weight", "calls that were made together have different weights")
            if not any(one.call_id or one.name for one in seen) and len(seen) != len(calls):
                raise Refusal("orphan", "whose results these are cannot be told", seen[-1].text)
        notes: list[str] = []
        placed = _placed(calls, _apart(seen, calls, notes), notes)
        order = sorted(placed)
        if order != list(range(len(order))) and not all(calls[index].id for index in order):
            calls = [ToolCall(name=call.name, arguments=call.arguments, id=f"call_{n}") for n, call in enumerate(calls, 1)]
            notes.append("call_ids_made")
        self.notes += [*notes, *["calls_joined"] * (len(asked) > 1)]
        found = tuple(Observation(text=placed[n].text, call_id=calls[n].id, error=placed[n].error) for n in order)
        thought, reasoning = _joined(one.thought for one in asked), _joined(one.reasoning for one in asked)
        return Step(reasoning=reasoning, thought=thought, calls=tuple(calls), observations=found, weight=asked[0].weight)


def _placed(calls: Sequence[ToolCall], seen: Sequence[_Seen], notes: list[str]) -> dict[int, _Seen]:
    """The results by the number of their call. Raises `Refusal` (``orphan``)."""
    placed: dict[int, _Seen] = {}
    by_place = False
    for one in seen:
        pending = [index for index in range(len(calls)) if index not in placed]
        by_id = one.call_id and any(call.id for call in calls)
        if by_id:
            pending = [index for index in pending if calls[index].id == one.call_id]
            if not pending:
                raise Refusal("orphan", f'a result answers the call "{one.call_id}", which waits for none', one.text)
        elif one.name:
            pending = [index for index in pending if calls[index].name == one.name]
            if not pending:
                raise Refusal("orphan", f'a result is from the tool "{one.name}", which was not called before it', one.text)
        if not pending:
            raise Refusal("orphan", "more results than calls", one.text)
        by_place = by_place or (len(calls) > 1 and not by_id and not one.name)
        placed[pending[0]] = one
    notes += ["results_by_position"] if by_place else []
    return placed


def _apart(seen: list[_Seen], calls: Sequence[ToolCall], notes: list[str]) -> list[_Seen]:
    """One result that is a list of as many as there are calls, taken apart (note ``results_split``)."""
    if len(calls) < 2 or len(seen) != 1 or seen[0].call_id or seen[0].name:
        return seen
    listed = _listed(seen[0].text)
    if len(listed) != len(calls):
        return seen
    notes.append("results_split")
    return [_element(one, calls, seen[0].error) for one in listed]


def _listed(text: str) -> list[Json]:
    try:
        value, _ = read_value(text) if text.lstrip()[:1] in ("[", "`") else (None, "")
    except Refusal:
        return []
    return value if isinstance(value, list) else []


def _element(value: Json, calls: Sequence[ToolCall], error: bool) -> _Seen:
    """One of several results: its id or its tool's name if it has one, and its content if it is an envelope around that."""
    if not isinstance(value, dict):
        return _Seen(text_of(value), "", "", error)
    given = next((str(value[key]) for key in _ID_KEYS if isinstance(value.get(key), str | int)), "")
    call_id = given if any(call.id == given for call in calls) else ""
    name = next((call.name for call in calls if call.name == value.get("name")), "")
    rest = value.keys() - _ENVELOPE
    content = value[rest.pop()] if call_id and len(rest) == 1 and rest <= set(_CONTENT_KEYS) else value
    return _Seen(text_of(content), call_id, name, error)


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)
