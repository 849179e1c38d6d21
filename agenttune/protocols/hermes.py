"""Hermes tool calling: ``<tool_call>`` blocks of JSON, one or several a step, answered by ``<tool_response>`` blocks in a user turn.

The format is that of NousResearch's Hermes 2 Pro; the system text, the tool list and the placing of observations are those of the chat
template that Qwen2.5 ships. A thought stands before the calls as plain text. Before an answer it stands in ``<scratch_pad>``, which is
Hermes' own tag for it, because an answer has no marker of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agenttune.errors import Refusal
from agenttune.protocols.arguments import arguments_text, read_arguments
from agenttune.protocols.base import (
    THINK,
    CallSyntax,
    Kind,
    PartialStep,
    Span,
    Thoughts,
    bare,
    covering,
    in_think,
    read_think,
    refuse_other,
    think_text,
)
from agenttune.protocols.native.scan import skip_space
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import Json, Malformed, Observation, Step, ToolCall, ToolSpec

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_SCRATCH = re.compile(r"<scratch_pad>\n(.*?)\n</scratch_pad>\n", re.DOTALL)
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*')
_NAME = re.compile(r'"name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_PAD = "<scratch_pad>\n"
_SEEN_OPEN, _SEEN_CLOSE = "<tool_response>\n", "\n</tool_response>"
_SEEN_JOINT = f"{_SEEN_CLOSE}\n{_SEEN_OPEN}"
_DECODER = json.JSONDecoder()

_HEAD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


_SYNTAX = CallSyntax(trigger=_OPEN, before_name='\n{"name": "', between='", "arguments": ', end=f"}}\n{_CLOSE}", joint="\n", json_name=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hermes:
    """The protocol; it has no settings."""

    name: str = "hermes"
    stops: tuple[str, ...] = ("\n<tool_response>",)
    reminder: str = "reply with a <tool_call> block, or with the answer"
    observation_field: Literal["system", "input"] = "input"
    parallel_calls: bool = True
    thoughts: Thoughts = "anywhere"
    thought_channel: Literal["reasoning_content", "content"] = "content"
    call_syntax: CallSyntax = _SYNTAX

    def call_start(self, text: str) -> int | None:
        """The first ``<tool_call>`` after the reasoning decides, as in `parse`."""
        at = -1 if in_think(text) else text.find(_OPEN, read_think(text)[1])
        return at if at >= 0 else None

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The conversation's own text, then Qwen2.5's tool section with one JSON signature a line; only the own text without tools."""
        if not tools:
            return system
        listed = "".join("\n" + json.dumps({"type": "function", "function": tool_to_json(tool)}, ensure_ascii=False) for tool in tools)
        return (f"{system}\n\n" if system else "") + _HEAD + listed + _TAIL

    def observation_text(self, observations: Sequence[Observation]) -> str:
        """One ``<tool_response>`` block for each."""
        return _responses([seen.text for seen in observations])

    def observations(self, text: str, calls: int) -> tuple[str, ...]:
        """The texts of the blocks; the whole where their tags are not those of so many calls."""
        texts = text.removeprefix(_SEEN_OPEN).removesuffix(_SEEN_CLOSE).split(_SEEN_JOINT)
        return tuple(texts) if len(texts) == calls and text == _responses(texts) else (text,)

    def write_step(self, step: Step) -> str:
        """The step's text; a step that `parse` would read otherwise is refused by name."""
        if len(step.calls) == 1 and isinstance(step.calls[0], Malformed):
            return step.calls[0].text
        text = think_text(step.reasoning) + _body(step)
        refuse_other(self.name, self.parse(text), bare(step), text)
        return text

    def parse(self, text: str) -> Step:
        """One reading: the first ``<tool_call>`` decides; only white space may stand between and after calls. The last may lack its end."""
        reasoning, start = read_think(text)
        begin = text.find(_OPEN, start)
        if begin < 0:
            scratch = _SCRATCH.match(text, start)
            thought = scratch.group(1) if scratch else ""
            answer = text[scratch.end() if scratch else start :].strip()
            if not answer and not thought:
                return Step(reasoning=reasoning, calls=(Malformed(text=text, reason="neither a call nor an answer"),))
            return Step(reasoning=reasoning, thought=thought, answer=answer)
        calls: list[ToolCall] = []
        for _, _, read in _blocks(text, begin):
            if isinstance(read, str):
                return Step(calls=(Malformed(text=text, reason=read),))
            calls.append(read)
        return Step(reasoning=reasoning, thought=text[start:begin].strip(), calls=tuple(calls))

    def partial(self, text: str) -> PartialStep:
        """See `Protocol.partial`. Text before a call is told as the answer, because nothing shows yet that a call will follow."""
        _, start = read_think(text)
        if start == 0 and text and (text.startswith(THINK) or THINK.startswith(text)):
            return PartialStep()
        begin = text.find(_OPEN, start)
        if begin < 0:
            return self._growing_answer(text[start:].lstrip())
        said = text[start:begin].strip()
        name, found = _NAME.search(text, begin), _ARGUMENTS.search(text, begin)
        if name is None or found is None:
            return PartialStep(answer=said)
        end = _value_end(text, found.end(), len(text))
        return PartialStep(answer=said, name=json.loads(f'"{name.group(1)}"'), arguments=text[found.end() : end].strip())

    def _growing_answer(self, text: str) -> PartialStep:
        thought = ""
        if text.startswith(_PAD) or (text and _PAD.startswith(text)):
            scratch = _SCRATCH.match(text)
            if scratch is None:
                return PartialStep()
            thought, text = scratch.group(1), text[scratch.end() :].lstrip()
        held = next((size for size in range(min(len(text), len(_OPEN) - 1), 0, -1) if _OPEN.startswith(text[-size:])), 0)
        return PartialStep(thought=thought, answer=text[: len(text) - held].strip())

    def spans(self, output: str) -> tuple[Span, ...]:
        """Thought up to the first call; of each call the arguments object, and the rest as action. Or a scratch pad and the answer."""
        _, start = read_think(output)
        begin = output.find(_OPEN, start)
        if begin < 0:
            scratch = _SCRATCH.match(output, start)
            return covering([(scratch.end() if scratch else start, "thought"), (len(output), "answer")])
        marks: list[tuple[int, Kind]] = [(begin, "thought")]
        for at, end, _ in _blocks(output, begin):
            found = _ARGUMENTS.search(output, at, end)
            if found:
                marks += [(found.end(), "action"), (_value_end(output, found.end(), end), "arguments")]
            marks.append((end, "action"))
        return covering([*marks, (len(output), "action")])


def _responses(texts: Sequence[str]) -> str:
    return f"{_SEEN_OPEN}{_SEEN_JOINT.join(texts)}{_SEEN_CLOSE}" if texts else ""


def _body(step: Step) -> str:
    if bool(step.calls) == (step.answer is not None):
        raise Refusal("empty", "a step must either call a tool or answer")
    if step.answer is not None:
        return (f"<scratch_pad>\n{step.thought}\n</scratch_pad>\n" if step.thought else "") + step.answer
    return "\n".join([*([step.thought] if step.thought else []), *map(_call_text, step.calls)])


def _call_text(call: ToolCall | Malformed) -> str:
    if isinstance(call, Malformed):
        raise Refusal("unwritable", "hermes cannot hold a malformed call beside others", call.text)
    return f'{_OPEN}\n{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {arguments_text(call.arguments)}}}\n{_CLOSE}'


def _blocks(text: str, begin: int) -> Iterator[tuple[int, int, ToolCall | str]]:
    """(start, end, the call or why it cannot be read) for each block from `begin` on; the first that cannot be read is the last."""
    while begin < len(text):
        end, read = _block(text, begin)
        yield begin, end, read
        begin = skip_space(text, end)
        if isinstance(read, str):
            return
        if begin < len(text) and not text.startswith(_OPEN, begin):
            yield begin, len(text), f"text stands where only another {_OPEN} may"
            return


def _block(text: str, begin: int) -> tuple[int, ToolCall | str]:
    """The end of the block at `begin`, and its call. JSON decides where a call ends, so a tag inside a string is text."""
    start = skip_space(text, begin + len(_OPEN))
    try:
        value, at = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return _literal_block(text, start)
    at = skip_space(text, at)
    if text.startswith(_CLOSE, at):
        return at + len(_CLOSE), _call(value)
    return len(text), _call(value) if at == len(text) else f"text follows the call's JSON before {_CLOSE}"


def _literal_block(text: str, start: int) -> tuple[int, ToolCall | str]:
    end = text.find(_CLOSE, start)
    body = text[start : end if end >= 0 else len(text)].strip()
    value = read_arguments(body)
    after = end + len(_CLOSE) if end >= 0 else len(text)
    return after, value.replace("the arguments are", "the call is") if isinstance(value, str) else _call(value)


def _call(value: Json) -> ToolCall | str:
    if not isinstance(value, Mapping):
        return "the call is not a JSON object"
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not name:
        return "the call has no name"
    if isinstance(arguments, str):
        arguments = read_arguments(arguments)
    if isinstance(arguments, str):
        return arguments
    if not isinstance(arguments, dict):
        return "the arguments are not a JSON object"
    return ToolCall(name=name, arguments=arguments)


def _value_end(text: str, at: int, limit: int) -> int:
    try:
        return min(_DECODER.raw_decode(text, at)[1], limit)
    except (ValueError, RecursionError):
        close = text.find(_CLOSE, at, limit)
        return close if close >= 0 else limit


HERMES = Hermes()
