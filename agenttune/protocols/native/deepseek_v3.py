"""DeepSeek V3 and R1: calls between markers, their arguments as fenced JSON.

The templates of these models write no tools, so the system text lists them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax, think_text
from agenttune.protocols.native.base import NativeProtocol, calls_of
from agenttune.protocols.native.scan import Scanned, ScannedCall, after_think, json_at, named_call, skip_space
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import Step, ToolCall, ToolSpec

_OPEN, _CLOSE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_FIRST, _LAST, _BETWEEN = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_SPEAKER = "<｜Assistant｜>"  # which the template writes between a result and a call, so that the model must say it
_HEAD = re.compile(rf"{re.escape(_FIRST)}function{re.escape(_BETWEEN)}([^\n<]+)\n```json\n")
_TAIL = f"\n```{_LAST}"


def _write(step: Step) -> str:
    head = think_text(step.reasoning)
    if step.answer is not None:
        return head + step.answer
    return f"{head}{step.thought}{_OPEN}" + "\n".join(map(_call_text, calls_of(step))) + _CLOSE


def _call_text(call: ToolCall) -> str:
    return f"{_FIRST}function{_BETWEEN}{call.name}\n```json\n{arguments_text(call.arguments)}{_TAIL}"


def _scan(text: str) -> Scanned:
    """The first marker of calls decides."""
    skipped = len(_SPEAKER) if text.startswith(_SPEAKER) else 0
    reasoning, start, thinking = after_think(text[skipped:])
    start += skipped
    begin = -1 if thinking else text.find(_OPEN, start)
    if begin < 0:
        return Scanned(reasoning=reasoning, words=text[start:].strip(), words_at=start, open=thinking)
    calls: list[ScannedCall] = []
    at = begin + len(_OPEN)
    while not calls or not isinstance(calls[-1].read, str):
        calls.append(_read(text, at, begin if not calls else at))
        at = skip_space(text, calls[-1].end)
        if text.startswith(_CLOSE, at):
            rest = text[at + len(_CLOSE) :].strip()
            if rest:
                calls.append(ScannedCall(start=at, arguments=(at, at), end=len(text), read="text follows the calls"))
            break
        if at >= len(text):
            break
    return Scanned(reasoning=reasoning, words=text[start:begin].strip(), words_at=start, calls=tuple(calls))


def _read(text: str, at: int, start: int) -> ScannedCall:
    head = _HEAD.match(text, at)
    if head is None:
        return ScannedCall(start=start, arguments=(len(text), len(text)), end=len(text), read=f"no {_FIRST} with a name and fenced JSON")
    found = json_at(text, head.end())
    last = found[1] if found is not None else len(text)
    if found is None or not text.startswith(_TAIL, last):
        why = "the arguments are not JSON" if found is None else f"no {_LAST} behind the arguments"
        return ScannedCall(start=start, arguments=(head.end(), last), end=len(text), read=why, name=head.group(1))
    read = named_call(head.group(1), found[0])
    return ScannedCall(start=start, arguments=(head.end(), last), end=last + len(_TAIL), read=read, name=head.group(1))


def _listing(tools: Sequence[ToolSpec]) -> str:
    lines = [json.dumps({"type": "function", "function": tool_to_json(tool)}, ensure_ascii=False) for tool in tools]
    return "\n".join(["# Tools", "", "You may call one or more of these functions:", *lines])


DEEPSEEK_V3 = NativeProtocol(
    family="deepseek_v3",
    write=_write,
    scan=_scan,
    listing=_listing,
    reminder="reply with calls between the markers, their arguments as fenced JSON, or with the answer",
    call_syntax=CallSyntax(
        trigger=_OPEN,
        once=True,
        before_name=f"{_FIRST}function{_BETWEEN}",
        between="\n```json\n",
        end=_TAIL,
        joint="\n",
        close=_CLOSE,
    ),
)
