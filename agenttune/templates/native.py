"""Native conversations as messages with tools, calls and results, in the style that a template takes them in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agenttune.templates.messages import Roles, TemplateMessage, add_message
from agenttune.values.sample import Turn, tool_to_json
from agenttune.values.trajectory import Json, Step, ToolCall, ToolSpec


class CallReader(Protocol):
    """What a template needs of a native protocol: how an output and an observation are read back."""

    @property
    def name(self) -> str:
        """The protocol's name."""

    @property
    def lists_tools(self) -> bool:
        """Whether the tools stand in the system text, and not where the template would write them."""

    def parse(self, text: str) -> Step:
        """An output as a step."""

    def write_step(self, step: Step) -> str:
        """A step as an output. Raises `Refusal`."""

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The first system text."""

    def observations(self, text: str, calls: int) -> tuple[str, ...]:
        """The results in the text that follows a step of so many calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStyle:
    """How a template takes what messages leave open: an empty content as null, arguments as JSON text, reasoning inside the content."""

    null_content: bool = False
    text_arguments: bool = False
    reasoning_in_content: bool = False

    def message(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """A message as chat templates take it: OpenAI's form, with the reasoning under each of the names it goes by."""
        content = str(given["content"])
        found: dict[str, Json] = {"role": given["role"], "content": content}
        reasoning = given.get("reasoning")
        if reasoning and self.reasoning_in_content:
            gap = "\n\n" if content else "\n"  # before a call the template begins a line
            found["content"] = f"<think>\n{reasoning}\n</think>{gap}{content}"
        elif reasoning:
            found |= {"reasoning_content": reasoning, "thinking": reasoning}
        if "calls" in given:
            found["tool_calls"] = [self._call(call) for call in given["calls"]]
            if self.null_content and not found["content"]:
                found["content"] = None
        if "call_id" in given:
            found |= {"tool_call_id": given["call_id"], "name": given["name"]}
        return found

    def _call(self, call: Mapping[str, Json]) -> dict[str, Json]:
        arguments = json.dumps(call["arguments"], ensure_ascii=False) if self.text_arguments else call["arguments"]
        return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}


STYLES = tuple(MessageStyle(null_content=null, text_arguments=text) for text, null in itertools.product((False, True), repeat=2))


def tools_of(tools: Sequence[ToolSpec]) -> list[dict[str, Json]]:
    """The tools as chat templates take them."""
    return [{"type": "function", "function": tool_to_json(tool)} for tool in tools]


def native_messages(turns: Sequence[Turn], roles: Roles, reader: CallReader) -> list[TemplateMessage]:
    """The turns as messages: an output as the step that the family reads in it, an observation as the results of that step's calls.

    A call without an id is given one of nine letters, by its place. What answers no call is the user's: a sentence on a reply that
    could not be read, say.
    """
    found: list[TemplateMessage] = []
    numbers = itertools.count(1)
    open_calls: tuple[ToolCall, ...] = ()
    for index, turn in enumerate(turns):
        user = turn.input
        if index and turn.system and open_calls:
            for text, call in zip(reader.observations(turn.system, len(open_calls)), open_calls, strict=False):
                found.append(TemplateMessage(role="tool", content=text, kind="system", turn=index, call_id=call.id, name=call.name))
        elif turn.system and not index and roles.system:
            found.append(TemplateMessage(role="system", content=turn.system, kind="system", turn=0))
        elif turn.system:
            user = f"{turn.system}\n\n{user}" if user else turn.system
        if user:
            add_message(found, TemplateMessage(role="user", content=user, kind="user", turn=index))
        if turn.output:
            found.append(_output(turn.output, index, reader, numbers))
            open_calls = found[-1].calls
    return found


def _output(text: str, turn: int, reader: CallReader, numbers: Iterator[int]) -> TemplateMessage:
    step = reader.parse(text)
    made = TemplateMessage(role="assistant", content=text, kind="output", turn=turn, said=text)
    calls = tuple(call for call in step.calls if isinstance(call, ToolCall))
    if len(calls) < len(step.calls):  # it cannot be read: its words are all that there is
        return made
    named = tuple(replace(call, id=call.id or f"call{next(numbers):05d}") for call in calls)
    return replace(made, content=step.answer if step.answer is not None else step.thought, reasoning=step.reasoning, calls=named)
