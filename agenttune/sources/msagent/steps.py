"""MSAgent-Bench's assistant value: prose, calls between think markers and results between exec markers, in one string, as steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.msagent import markers
from agenttune.sources.reading.json_text import kind_name, read_value, strip_fence, text_of
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, ToolSpec

_OPENS = {markers.CALL: "think", markers.RESULT: "exec"}
_CLOSES = {markers.CALL_END: "think", markers.RESULT_END: "exec"}
_MARK = re.compile("|".join(map(re.escape, (*_OPENS, *_CLOSES))))
# An answer in the words of the set's ReAct edition: read as they mean, since with a second marker before it no one could read it later.
_MARKED = re.compile(r"\AThought:(.*?)\n[ \t]*Final Answer:(.*)\Z", re.DOTALL)
_WORD = re.compile(r"\Ajson\s*(?=[{\[])", re.IGNORECASE)


@dataclass(slots=True)
class RoundReader:
    """What is known while the values of one round are read, in order.

    `calls` and `results` wait until the next prose or call says that their step is over; `said` is prose whose part is not known yet.
    """

    tools: Mapping[str, ToolSpec]
    notes: list[str]
    steps: list[Step] = field(default_factory=list)
    said: str = ""
    thought: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    count: int = 0  # calls so far in this conversation

    def value(self, text: str) -> None:
        """Reads one assistant value. Raises `Refusal`."""
        if not text.strip():
            self.notes.append("empty_assistant")
        for kind, part in segments(text, self.notes):
            getattr(self, kind)(part)
        self._answer()

    def prose(self, text: str) -> None:
        """What follows shows where it belongs: before a call it is a thought, before a result part of that thought, else an answer."""
        text = text.strip()
        if not text:
            return
        if self.results:
            self._close()
        self.said = f"{self.said}\n{text}" if self.said else text

    def think(self, text: str) -> None:
        """A call. It opens a step, or joins the calls that directly precede it."""
        if self.results or self.said:
            self._close()
            self.thought, self.said = self.said, ""
        self.calls += self._calls(text)

    def exec(self, text: str) -> None:
        """A result of the call or calls before it."""
        if not self.calls:
            raise Refusal("orphan", "a result stands where no call was made", text)
        if self.said:
            self.notes.append("prose_after_call")
            self.thought = f"{self.thought}\n{self.said}" if self.thought else self.said
            self.said = ""
        self.results.append(strip_fence(text))

    def end(self) -> tuple[Step, ...]:
        """The round is over: its steps."""
        self._answer()
        self._close()
        steps, self.steps = tuple(self.steps), []
        return steps

    def _answer(self) -> None:
        if self.said:
            said, self.said = self.said, ""
            self._close()
            self.steps.append(self._answered(said))

    def _answered(self, said: str) -> Step:
        marked = _MARKED.match(said)
        if marked is None:
            return Step(answer=said)
        self.notes.append("answer_marked")
        return Step(thought=marked.group(1).strip(), answer=marked.group(2).strip())

    def _close(self) -> None:
        if not self.calls:
            return
        calls, results, thought = self.calls, self.results, self.thought
        self.calls, self.results, self.thought = [], [], ""
        self.steps += paired(thought, calls, results, self.notes)

    def _calls(self, text: str) -> list[ToolCall]:
        value, change = _value(text)
        if change:
            self.notes.append(change)
        return [self._call(one, text) for one in (value if isinstance(value, list) and value else [value])]

    def _call(self, value: Json, text: str) -> ToolCall:
        self.count += 1
        if not isinstance(value, dict):
            raise Refusal("call", f"a call must be an object with api_name and parameters, this is {kind_name(value)}", text)
        name = value.get("api_name")
        if not isinstance(name, str) or not name.strip():
            raise Refusal("call", "a call has no api_name", text)
        for key, detail in value.items():
            if key not in ("api_name", "parameters"):
                self.notes.append(f"call_{'url' if key == 'url' else 'extra'}: {self.count} {_detail(key, detail)}")
        return ToolCall(name=name.strip(), arguments=self._arguments(name.strip(), value, text))

    def _arguments(self, name: str, value: dict[str, Json], text: str) -> dict[str, Json]:
        arguments = value.get("parameters")
        if arguments is None or arguments == [] or arguments == "":
            self.notes.append("parameters_missing")
            return {}
        if isinstance(arguments, str):
            arguments = self._from_text(name, arguments, text)
        if not isinstance(arguments, dict):
            raise Refusal("arguments", f"the parameters of a call must be an object, these are {kind_name(arguments)}", text)
        return arguments

    def _from_text(self, name: str, arguments: str, text: str) -> Json:
        self.notes.append("parameters_text")
        try:
            read, _ = read_value(arguments)
        except Refusal:
            read = None
        if isinstance(read, dict):
            return read
        tool = self.tools.get(name)
        properties = list(tool.parameters.get("properties") or {}) if tool else []
        if len(properties) != 1:
            raise Refusal("arguments", "the parameters of a call are a text, and the tool has not exactly one parameter to hold it", text)
        return {properties[0]: arguments}


def segments(text: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """``prose``, ``think`` and ``exec`` parts in order. A part that is not closed ends at the next one. Raises `Refusal` (``markers``)."""
    at, inside = 0, ""
    for mark in _MARK.finditer(text) if "<|" in text else ():
        opens, closes = _OPENS.get(mark.group(), ""), _CLOSES.get(mark.group(), "")
        if closes and inside != closes:
            raise Refusal("markers", f"{mark.group()} closes nothing", text[max(0, mark.start() - 100) : mark.end() + 100])
        if inside and opens:
            notes.append(f"{inside}_unclosed")
        yield inside or "prose", text[at : mark.start()]
        at, inside = mark.end(), opens
    if inside:
        notes.append(f"{inside}_unclosed")
    yield inside or "prose", text[at:]


def _value(text: str) -> tuple[Json, str]:
    try:
        return read_value(_WORD.sub("", strip_fence(text)))
    except Refusal as error:
        raise Refusal("call", f"a call cannot be read: {error.sentence}", text) from error


def _detail(key: str, value: Json) -> str:
    return text_of(value) if key == "url" else f"{key}={text_of(value)}"


def paired(thought: str, calls: list[ToolCall], results: list[str], notes: list[str]) -> Iterator[Step]:
    """Steps out of calls in a row and the results in a row that follow them.

    As many results as calls, or none at all: one step with parallel calls. Fewer results: they belong to the last calls, each call before
    those being a step that nobody answered. More results: the surplus joins the last one (note ``result_joined``).
    """
    surplus = len(results) - len(calls)
    if surplus > 0:
        notes += ["result_joined"] * surplus
        results = [*results[: len(calls) - 1], "\n".join(results[len(calls) - 1 :])]
    unanswered = len(calls) - len(results) if results else 0
    for call in calls[:unanswered]:
        yield Step(thought=thought, calls=(call,))
        thought = ""
    yield Step(thought=thought, calls=tuple(calls[unanswered:]), observations=tuple(Observation(text=one) for one in results))
