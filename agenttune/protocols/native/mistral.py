"""Mistral: ``[TOOL_CALLS]`` and a JSON list of calls with ids of nine letters, nothing beside it.

Two spellings: that of the sentencepiece tokenizers (v3: a space behind the marker), and that of tekken.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax, think_text
from agenttune.protocols.native.base import NativeProtocol, calls_of, refuse_words
from agenttune.protocols.native.scan import Scanned, ScannedCall, after_think, call_of, json_at, skip_space
from agenttune.values.trajectory import Step, ToolCall

_OPEN = "[TOOL_CALLS]"
_ID = re.compile(r"[A-Za-z0-9]{9}")
_HEAD = re.compile(r'\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*')


def _writer(family: str, gap: str) -> Callable[[Step], str]:
    def write(step: Step) -> str:
        if step.answer is not None:
            return think_text(step.reasoning) + step.answer
        refuse_words(f"native/{family}", step)
        return f"{_OPEN}{gap}[" + ", ".join(_object(index, call) for index, call in enumerate(calls_of(step))) + "]"

    return write


def _object(index: int, call: ToolCall) -> str:
    arguments = arguments_text(call.arguments)
    name = call.id if _ID.fullmatch(call.id) else _id_of(f"{index} {call.name} {arguments}")
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {arguments}, "id": "{name}"}}'


def _id_of(text: str) -> str:
    """Nine letters that are the same for the same call at the same place of a step."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _scan(text: str) -> Scanned:
    """The first marker decides; behind it stands one JSON list."""
    reasoning, start, thinking = after_think(text)
    begin = -1 if thinking else text.find(_OPEN, start)
    if begin < 0:
        return Scanned(reasoning=reasoning, words=text[start:].strip(), words_at=start, open=thinking)
    words = text[start:begin].strip()
    at = skip_space(text, begin + len(_OPEN))
    found = json_at(text, at)
    if found is None or not isinstance(found[0], list) or not found[0] or text[found[1] :].strip():
        return Scanned(reasoning=reasoning, words=words, words_at=start, calls=(_broken(text, begin, at),))
    calls: list[ScannedCall] = []
    for value in found[0]:
        at = text.index("{", at)
        head, whole = _HEAD.match(text, at), json_at(text, at)
        assert whole is not None
        inner = json_at(text, head.end()) if head else None
        arguments = (head.end(), inner[1]) if head and inner else (whole[1], whole[1])
        read = call_of(value, "arguments")
        calls.append(
            ScannedCall(start=at if calls else begin, arguments=arguments, end=whole[1], read=read, name=head.group(1) if head else "")
        )
        at = whole[1]
    return Scanned(reasoning=reasoning, words=words, words_at=start, calls=tuple(calls))


def _broken(text: str, begin: int, at: int) -> ScannedCall:
    head = _HEAD.match(text, skip_space(text, at + 1)) if text.startswith("[", at) else None
    first = head.end() if head else len(text)
    inner = json_at(text, first)
    why = f"no JSON list of calls behind {_OPEN}"
    return ScannedCall(
        start=begin,
        arguments=(first, inner[1] if inner else len(text)),
        end=len(text),
        read=why,
        name=head.group(1) if head else "",
    )


def _family(family: str, gap: str) -> NativeProtocol:
    return NativeProtocol(
        family=family,
        write=_writer(family, gap),
        scan=_scan,
        reminder=f"reply with {_OPEN} and a JSON list of calls, or with the answer",
        thoughts="nowhere",
        call_syntax=CallSyntax(
            trigger=_OPEN,
            once=True,
            opening=f"{gap}[",
            before_name='{"name": "',
            between='", "arguments": ',
            end=', "id": "',
            id_letters=9,
            id_end='"}',
            joint=", ",
            close="]",
            json_name=True,
        ),
    )


MISTRAL = _family("mistral", " ")
MISTRAL_TEKKEN = _family("mistral_tekken", "")
