"""ReAct text: Thought / Action / Action Input, then an observation, until Final Answer.

The line format is that of Yao et al., "ReAct" (arXiv 2210.03629), in the JSON-input form that LangChain and lagent made common.
Here the tool list is compact, one line a tool, because a full JSON Schema costs two to three times the tokens.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from agenttune.errors import Refusal
from agenttune.protocols.arguments import arguments_text, only_texts, read_arguments
from agenttune.protocols.base import THINK, CallSyntax, PartialStep, Span, Thoughts, bare, in_think, read_think, refuse_other, think_text
from agenttune.values.trajectory import Json, Malformed, Observation, Step, ToolCall, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactText:
    """The words of one language's ReAct. `gap` is what stands between a marker and its text."""

    name: str
    observation: str
    gap: str
    end: str
    system: Any  # (system, tools) -> str
    observation_field: Literal["system", "input"] = "system"
    parallel_calls: bool = False
    thoughts: Thoughts = "anywhere"
    thought_channel: Literal["reasoning_content", "content"] = "reasoning_content"
    thought: str = "Thought:"
    action: str = "Action:"
    action_input: str = "Action Input:"
    final: str = "Final Answer:"

    @property
    def stops(self) -> tuple[str, ...]:
        """The observation header at the start of a line."""
        return (f"\n{self.observation}",)

    @property
    def reminder(self) -> str:
        """In the words of this language's markers."""
        return f"reply with {self.action.rstrip(':')} and {self.action_input.rstrip(':')}, or with {self.final.rstrip(':')}"

    @property
    def call_syntax(self) -> CallSyntax:
        """Two lines: the action, and its input."""
        return CallSyntax(
            trigger=self.action,
            before_name=self.gap,
            between=f"\n{self.action_input}{self.gap}",
            thought=f"{self.thought}{self.gap}",
            answer=f"{self.final}{self.gap}",
        )

    def call_start(self, text: str) -> int | None:
        """The first line that begins with a marker decides, as in `parse`."""
        found = None if in_think(text) else _marks(self.final, self.action).search(text, read_think(text)[1])
        return found.start(1) if found and found.group(1) == self.action else None

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The conversation's own text, then the tools and the format; a conversation without tools keeps only its own text."""
        text: str = self.system(system, tools)
        return text

    def observation_text(self, observations: Sequence[Observation]) -> str:
        """``Observation: text`` for each."""
        return self.end.join(f"{self.observation}{self.gap}{seen.text}" for seen in observations)

    def observations(self, text: str, calls: int) -> tuple[str, ...]:
        """The text behind the header: a step has one call."""
        header = f"{self.observation}{self.gap}"
        return (text.removeprefix(header),) if text.startswith(header) else (text,)

    def write_step(self, step: Step) -> str:
        """The step's text; a step that `parse` would read otherwise is refused by name."""
        text = self._text(step)
        if (step.calls and isinstance(step.calls[0], Malformed)) or self._is_plain(step, text):
            return text
        refuse_other(self.name, self.parse(text), bare(step), text)
        return text

    def _is_plain(self, step: Step, text: str) -> bool:
        """Whether `parse` surely reads this text of the step as the step: the usual case, told at a tenth of the cost of reading it.

        True only if no marker stands in the thought, nothing begins or ends in white space that `parse` takes away, and the arguments are
        the same data when they are read.
        """
        thought, answer = step.thought, step.answer
        if step.reasoning or thought != thought.strip() or self.action in thought or self.final in thought:
            return False
        if answer is not None:
            return answer == answer.strip()
        call = step.calls[0]
        assert isinstance(call, ToolCall)
        if not call.name or call.name != call.name.strip() or "\n" in call.name:
            return False
        if only_texts(call.arguments):
            return True
        try:
            read: Json = orjson.loads(text[text.rindex("\n") + 1 + len(self.action_input) :])  # JSON's own line breaks are escaped
        except ValueError:
            return False
        return bool(read == call.arguments)

    def _text(self, step: Step) -> str:
        if len(step.calls) > 1:
            raise Refusal("parallel", f"{self.name} is one call a step")
        if step.calls and isinstance(step.calls[0], Malformed):
            return step.calls[0].text
        if bool(step.calls) == (step.answer is not None):
            raise Refusal("empty", "a step must either call a tool or answer")
        head = think_text(step.reasoning)
        lines = [f"{self.thought}{self.gap}{step.thought}"] if step.thought else []
        if step.answer is not None:
            lines.append(f"{self.final}{self.gap}{step.answer}")
        else:
            call = step.calls[0]
            assert isinstance(call, ToolCall)
            lines += [f"{self.action}{self.gap}{call.name}", f"{self.action_input}{self.gap}{arguments_text(call.arguments)}"]
        return head + "\n".join(lines)

    def parse(self, text: str) -> Step:
        """One reading: the first line that starts with Action or Final Answer decides; text after a call's JSON is malformed."""
        reasoning, start = read_think(text)
        mark = self._mark(text, start)
        if mark is None:
            return _malformed(text, f"neither {self.action} nor {self.final} begins a line")
        begin, after, final = mark
        thought = text[start:begin].strip()
        if thought.startswith(self.thought):
            thought = thought[len(self.thought) :].strip()
        if final:
            return Step(reasoning=reasoning, thought=thought, answer=text[after:].strip())
        name, separator, rest = text[after:].partition("\n")
        rest = rest.lstrip()
        if not separator or not rest.startswith(self.action_input):
            return _malformed(text, f"no {self.action_input} line follows {self.action}")
        if not name.strip():
            return _malformed(text, "the action has no name")
        read = read_arguments(rest[len(self.action_input) :].strip())
        if isinstance(read, str):
            return _malformed(text, read)
        return Step(reasoning=reasoning, thought=thought, calls=(ToolCall(name=name.strip(), arguments=read),))

    def partial(self, text: str) -> PartialStep:
        """See `Protocol.partial`. A line that may still become a marker is held back."""
        if text.startswith(THINK) or THINK.startswith(text):
            reasoning, start = read_think(text)
            if not reasoning:
                return PartialStep()
        else:
            start = 0
        mark = self._mark(text, start)
        if mark is None:
            return PartialStep(thought=self._growing_thought(text[start:]))
        begin, after, final = mark
        thought = text[start:begin].strip().removeprefix(self.thought).strip()
        if final:
            return PartialStep(thought=thought, answer=text[after:].strip())
        name, separator, rest = text[after:].partition("\n")
        body = rest.lstrip()
        given = body[len(self.action_input) :].strip() if body.startswith(self.action_input) else ""
        return PartialStep(thought=thought, name=name.strip() if separator else "", arguments=given)

    def _growing_thought(self, text: str) -> str:
        head, _, line = text.rpartition("\n")
        start = line.lstrip(" \t")
        may_be = any(marker.startswith(start) for marker in (self.action, self.final)) if start else True
        certain = (head if may_be else text).lstrip()
        if self.thought.startswith(certain):
            return ""
        return certain.removeprefix(self.thought).strip()

    def _mark(self, text: str, start: int) -> tuple[int, int, bool] | None:
        """(start of the line, end of its marker, whether it is the final one) of the first line that begins with a marker."""
        found = _marks(self.final, self.action).search(text, start)
        return (found.start(), found.end(), found.group(1) == self.final) if found else None

    def spans(self, output: str) -> tuple[Span, ...]:
        """Thought up to the first marker; then the action line, and the arguments after their header; or the answer."""
        _, start = read_think(output)
        mark = self._mark(output, start)
        if mark is None:
            return (Span(kind="thought", start=0, end=len(output)),) if output else ()
        begin, _, final = mark
        head = (Span(kind="thought", start=0, end=begin),) if begin else ()
        if final:
            return (*head, Span(kind="answer", start=begin, end=len(output)))
        header = output.find(self.action_input, begin)
        if header < 0:
            return (*head, Span(kind="action", start=begin, end=len(output)))
        body = header + len(self.action_input)
        return (*head, Span(kind="action", start=begin, end=body), Span(kind="arguments", start=body, end=len(output)))


@functools.cache
def _marks(final: str, action: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*({re.escape(final)}|{re.escape(action)})", re.MULTILINE)


def _malformed(text: str, reason: str) -> Step:
    return Step(calls=(Malformed(text=text, reason=reason),))


_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true/false", "array": "list", "object": "object"}


def tool_line(tool: ToolSpec) -> str:
    """``- name: description {"parameter": type, …}``; optional parameters end in ``?``, choices stand in place of the type.

    The dash puts a space before the name, as ``Action: name`` has it: byte-level tokenizers then give the name the same ids in
    both places, and a small model can copy it.
    """
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    required = required if isinstance(required, list) else []
    parts = []
    for name, schema in (properties if isinstance(properties, Mapping) else {}).items():
        parts.append(f"{json.dumps(name, ensure_ascii=False)}: {_type_text(schema)}{'' if name in required else '?'}")
    described = f"- {tool.name}: {' '.join(tool.description.split())}" if tool.description else f"- {tool.name}:"
    return f"{described} {{{', '.join(parts)}}}"


def _type_text(schema: Any) -> str:
    if not isinstance(schema, (dict, Mapping)):  # the usual type is asked for first: an abstract one takes ten times as long
        return "text"
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and len(choices) <= 12:
        text = "|".join(str(choice) for choice in choices)
    else:
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        text = "|".join(_TYPES.get(str(one), str(one)) for one in kinds if one is not None and one != "null") or "text"
    described = schema.get("description")
    return f"{text} ({' '.join(described.split())})" if isinstance(described, str) and described.strip() else text


def _system(system: str, tools: Sequence[ToolSpec]) -> str:
    if not tools:
        return system
    listed = "\n".join(tool_line(tool) for tool in tools)
    head = f"{system}\n\n" if system else ""
    return (
        f"{head}Tools:\n{listed}\n\n"
        'To use a tool, reply:\nThought: what to do next\nAction: one tool name\nAction Input: {"argument": value}\n'
        "To answer, or if no tool fits, reply:\nThought: why\nFinal Answer: the answer"
    )


REACT = ReactText(name="react", observation="Observation:", gap=" ", end="\n", system=_system)
