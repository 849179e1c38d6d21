"""What a family finds in a model's words: reasoning, words, calls; one reading from which parsing, colours and streaming follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agenttune.protocols.arguments import read_arguments
from agenttune.protocols.base import THINK, Kind, PartialStep, Span, covering, in_think, read_think
from agenttune.values.trajectory import Json, JsonObject, Malformed, Step, ToolCall

_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedCall:
    """Characters ``start:end`` are a call, of which ``arguments`` are the arguments' text; `read` is the call, or why there is none.

    `name` is the tool's name as soon as it is whole.
    """

    start: int
    arguments: tuple[int, int]
    end: int
    read: ToolCall | str
    name: str = ""


CallAt = Callable[[str, int], ScannedCall]  # (the reply, where a call may begin) to that call


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A reply as a family reads it. Where it has `calls`, `words` stand beside them; else `words`, from `words_at` on, are the answer.

    `open` is a block of reasoning without its end, or what may become one.
    """

    reasoning: str = ""
    words: str = ""
    words_at: int = 0
    calls: tuple[ScannedCall, ...] = ()
    open: bool = False

    def step(self, text: str) -> Step:
        """The step. What cannot be read is a `Malformed` call."""
        calls = []
        for call in self.calls:
            if isinstance(call.read, str):
                return Step(calls=(Malformed(text=text, reason=call.read),))
            calls.append(call.read)
        if self.open and in_think(text):
            return Step(calls=(Malformed(text=text, reason="the reasoning does not end"),))
        if calls:
            return Step(reasoning=self.reasoning, thought=self.words, calls=tuple(calls))
        if not self.words:
            return Step(reasoning=self.reasoning, calls=(Malformed(text=text, reason="neither a call nor an answer"),))
        return Step(reasoning=self.reasoning, answer=self.words)

    def partial(self, text: str, trigger: str) -> PartialStep:
        """What is certain of a step that grows. Words before a call are told as the answer: nothing shows yet that a call will follow."""
        if not self.calls:
            return PartialStep(answer="" if self.open else without_beginning(self.words, trigger).strip())
        first = self.calls[0]
        start, end = first.arguments
        return PartialStep(answer=self.words, name=first.name, arguments=text[start:end].strip() if first.name else "")

    def spans(self, text: str) -> tuple[Span, ...]:
        """Thought up to the first call; of each call the arguments, and the rest as action. Or reasoning and the answer."""
        if not self.calls:
            return covering([(self.words_at, "thought"), (len(text), "answer")])
        marks: list[tuple[int, Kind]] = [(self.calls[0].start, "thought")]
        for call in self.calls:
            marks += [(call.arguments[0], "action"), (call.arguments[1], "arguments"), (call.end, "action")]
        return covering([*marks, (len(text), "action")])


def after_think(text: str) -> tuple[str, int, bool]:
    """(the reasoning that opens a reply, where the rest begins, whether that block is still open)."""
    reasoning, start = read_think(text)
    return reasoning, start, start == 0 and bool(text) and (in_think(text) or THINK.startswith(text))


def scan_blocks(text: str, opening: str, call_at: CallAt, *, alone: bool = False) -> Scanned:
    """A reply in which the first `opening` after the reasoning decides; see `calls_from`."""
    reasoning, start, thinking = after_think(text)
    begin = -1 if thinking else text.find(opening, start)
    if begin < 0:
        return Scanned(reasoning=reasoning, words=text[start:].strip(), words_at=start, open=thinking)
    calls = calls_from(text, begin, call_at, opening if alone else "")
    return Scanned(reasoning=reasoning, words=text[start:begin].strip(), words_at=start, calls=calls)


def calls_from(text: str, begin: int, call_at: CallAt, opening: str = "") -> tuple[ScannedCall, ...]:
    """Calls one after the other with white space between, up to the first that cannot be read.

    With `opening`, what stands between and does not begin with it is such a one, and `call_at` need not look for its beginning.
    """
    calls: list[ScannedCall] = []
    at = begin
    while at < len(text):
        calls.append(call_at(text, at))
        at = skip_space(text, calls[-1].end)
        if isinstance(calls[-1].read, str):
            break
        if at < len(text) and not text.startswith(opening, at):
            why = f"text stands where only another {opening} may"
            calls.append(ScannedCall(start=at, arguments=(at, at), end=len(text), read=why))
            break
    return tuple(calls)


def without_beginning(text: str, marker: str) -> str:
    """A growing text without an end that may become `marker`."""
    held = next((size for size in range(min(len(text), len(marker) - 1), 0, -1) if marker.startswith(text[-size:])), 0)
    return text[: len(text) - held]


def skip_space(text: str, at: int) -> int:
    """The next character from `at` on that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def json_at(text: str, at: int) -> tuple[Json, int] | None:
    """The JSON value that begins at `at`, and where it ends; None where there is none, or it is not whole."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return value, end


def call_of(value: Json, key: str) -> ToolCall | str:
    """``{"name": …, KEY: {…}}`` as a call, or why it is none. Arguments that are JSON inside a string are read too."""
    if not isinstance(value, Mapping):
        return "the call is not a JSON object"
    name, arguments = value.get("name"), value.get(key)
    if not isinstance(name, str) or not name:
        return "the call has no name"
    return named_call(name, arguments, str(value.get("id") or ""))


def named_call(name: str, arguments: Json, call_id: str = "") -> ToolCall | str:
    """A call of a tool, or why its arguments cannot be read."""
    if isinstance(arguments, str):
        arguments = read_arguments(arguments)
        if isinstance(arguments, str):
            return arguments
    if not isinstance(arguments, Mapping):
        return "the arguments are not a JSON object"
    found: JsonObject = arguments
    return ToolCall(name=name, arguments=found, id=call_id)
