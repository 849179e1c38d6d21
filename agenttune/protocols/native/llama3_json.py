"""Llama 3.1 and 3.2: one call a step, ``{"name": …, "parameters": {…}}`` and nothing beside it."""

from __future__ import annotations

import re

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax, think_text
from agenttune.protocols.native.base import NativeProtocol, calls_of, refuse_words
from agenttune.protocols.native.scan import Scanned, ScannedCall, after_think, call_of, json_at
from agenttune.values.trajectory import Step

_TRIGGER = '{"name": "'
_HEAD = re.compile(r'<\|python_tag\|>|\s*\{\s*"name"\s*:\s*"')
_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"(?:parameters|arguments)"\s*:\s*')


def _write(step: Step) -> str:
    if not step.calls:
        return think_text(step.reasoning) + (step.answer or "")
    refuse_words("native/llama3_json", step)
    (call,) = calls_of(step)
    return f'{_TRIGGER}{call.name}", "parameters": {arguments_text(call.arguments)}}}'


def _scan(text: str) -> Scanned:
    """A reply that begins like a call is one; any other is an answer."""
    reasoning, start, thinking = after_think(text)
    head = None if thinking else _HEAD.match(text, start)
    if head is None:
        opening = bool(text[start:].strip()) and _TRIGGER.startswith(text[start:].strip())
        return Scanned(reasoning=reasoning, words=text[start:].strip(), words_at=start, open=thinking or opening)
    at = head.end() if head.group().startswith("<") else start
    name = _NAME.match(text, at)
    first = name.end() if name else len(text)
    found = json_at(text, text.index("{", at)) if "{" in text[at:] else None
    inner = json_at(text, first)
    last = inner[1] if inner is not None else len(text)
    read = "the call is not JSON" if found is None else call_of(found[0], "parameters")
    if found is not None and text[found[1] :].strip():
        read = "text follows the call"
    known = name.group(1) if name else ""
    call = ScannedCall(start=start, arguments=(first, last), end=len(text), read=read, name=known)
    return Scanned(reasoning=reasoning, words_at=start, calls=(call,))


LLAMA3_JSON = NativeProtocol(
    family="llama3_json",
    write=_write,
    scan=_scan,
    reminder='reply with {"name": …, "parameters": {…}} alone, or with the answer',
    parallel_calls=False,
    thoughts="nowhere",
    call_syntax=CallSyntax(trigger=_TRIGGER, before_name="", between='", "parameters": ', end="}"),
)
