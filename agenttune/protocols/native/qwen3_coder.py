"""Qwen3-Coder and Qwen3.5: calls as tags, ``<function=NAME>`` and one ``<parameter=NAME>`` an argument, inside ``<tool_call>``.

A text stands as it is, another value as the template prints it: a number, ``True``, ``None``, JSON for lists and objects. A text that
reads like such a value is refused, because it would be read back as that value.
"""

from __future__ import annotations

import json
import re

from agenttune.errors import Refusal
from agenttune.protocols.base import CallSyntax, think_text
from agenttune.protocols.native.base import NativeProtocol, calls_of
from agenttune.protocols.native.scan import Scanned, ScannedCall, scan_blocks
from agenttune.values.trajectory import Json, Step, ToolCall

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_HEAD = re.compile(r"<tool_call>\s*<function=([^>\n]+)>\n?")
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n(.*?)\n</parameter>\n?", re.DOTALL)
_TAGS = ("<parameter=", ">\n", "\n</parameter>\n")
_TAIL = re.compile(r"</function>\s*</tool_call>")
_WORDS: dict[str, Json] = {"True": True, "False": False, "None": None}


def _write(step: Step) -> str:
    said = step.answer if step.answer is not None else step.thought
    blocks = "\n".join(map(_block, calls_of(step)))
    return think_text(step.reasoning) + said + ("\n\n" if said and blocks else "") + blocks


def _block(call: ToolCall) -> str:
    lines = "".join(f"<parameter={name}>\n{_value_text(value)}\n</parameter>\n" for name, value in call.arguments.items())
    return f"{_OPEN}\n<function={call.name}>\n{lines}</function>\n{_CLOSE}"


def _value_text(value: Json) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict | list) else str(value)
    except ValueError as error:
        raise Refusal("arguments", f"the arguments are not JSON: {error}", repr(value)[:200]) from error


def _value(text: str) -> Json:
    if text in _WORDS:
        return _WORDS[text]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    plain = isinstance(found, dict | list) or (isinstance(found, int | float) and not isinstance(found, bool))
    return found if plain and _value_text(found) == text else text


def _scan(text: str) -> Scanned:
    """The first ``<tool_call>`` after the reasoning decides; only white space may stand between and after calls."""
    return scan_blocks(text, _OPEN, _call)


def _call(text: str, start: int) -> ScannedCall:
    head = _HEAD.match(text, start)
    if head is None:
        return ScannedCall(start=start, arguments=(len(text), len(text)), end=len(text), read=f"no <function=NAME> behind {_OPEN}")
    arguments: dict[str, Json] = {}
    at = head.end()
    while found := _PARAMETER.match(text, at):
        arguments[found.group(1)] = _value(found.group(2))
        at = found.end()
    tail = _TAIL.match(text, at)
    if tail is None:
        why = "the parameters do not end in </function>"
        return ScannedCall(start=start, arguments=(head.end(), len(text)), end=len(text), read=why, name=head.group(1))
    read = ToolCall(name=head.group(1), arguments=arguments)
    return ScannedCall(start=start, arguments=(head.end(), at), end=tail.end(), read=read, name=head.group(1))


QWEN3_CODER = NativeProtocol(
    family="qwen3_coder",
    write=_write,
    scan=_scan,
    reminder="reply with <tool_call>, <function=NAME> and its parameters, or with the answer",
    stops=("\n<tool_response>",),
    call_syntax=CallSyntax(
        trigger=_OPEN, before_name="\n<function=", between=">\n", end=f"</function>\n{_CLOSE}", joint="\n", tagged=True, tags=_TAGS
    ),
)
