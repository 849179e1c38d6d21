"""``<tool_call>`` blocks of JSON: Hermes 2 Pro, Qwen2.5, Qwen3 and others, as their chat templates write them."""

from __future__ import annotations

import json
import re

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax, think_text
from agenttune.protocols.native.base import NativeProtocol, calls_of
from agenttune.protocols.native.scan import Scanned, ScannedCall, call_of, json_at, scan_blocks, skip_space
from agenttune.values.trajectory import Step, ToolCall

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_NAME = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*')


def _write(step: Step) -> str:
    said = step.answer if step.answer is not None else step.thought
    return think_text(step.reasoning) + "\n".join([*([said] if said else []), *map(_block, calls_of(step))])


def _block(call: ToolCall) -> str:
    return f'{_OPEN}\n{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {arguments_text(call.arguments)}}}\n{_CLOSE}'


def _scan(text: str) -> Scanned:
    """The first ``<tool_call>`` after the reasoning decides; only white space may stand between and after calls."""
    return scan_blocks(text, _OPEN, _call, alone=True)


def _call(text: str, start: int) -> ScannedCall:
    """The block at `start`. JSON decides where a call ends, so a tag inside a string is text."""
    at = skip_space(text, start + len(_OPEN))
    found = json_at(text, at)
    name, given = _NAME.match(text, at), _ARGUMENTS.search(text, at)
    known = json.loads(name.group(1)) if name and given else ""
    if found is None:
        close = text.find(_CLOSE, at)
        last = close if close >= 0 else len(text)
        first = given.end() if given and given.end() <= last else last
        value = json_at(text, first)
        arguments = (first, value[1] if value is not None else last)
        return ScannedCall(
            start=start, arguments=arguments, end=min(last + len(_CLOSE), len(text)), read="the call is not JSON", name=known
        )
    end = skip_space(text, found[1])
    read = call_of(found[0], "arguments")
    first = given.end() if given and given.end() < end else end
    inner = json_at(text, first)
    arguments = (first, inner[1] if inner is not None else end)
    if text.startswith(_CLOSE, end):
        return ScannedCall(start=start, arguments=arguments, end=end + len(_CLOSE), read=read, name=known)
    why = read if end == len(text) else f"text follows the call's JSON before {_CLOSE}"
    return ScannedCall(start=start, arguments=arguments, end=len(text), read=why, name=known)


HERMES = NativeProtocol(
    family="hermes",
    write=_write,
    scan=_scan,
    reminder="reply with a <tool_call> block, or with the answer",
    stops=("\n<tool_response>",),
    call_syntax=CallSyntax(
        trigger=_OPEN, before_name='\n{"name": "', between='", "arguments": ', end=f"}}\n{_CLOSE}", joint="\n", json_name=True
    ),
)
