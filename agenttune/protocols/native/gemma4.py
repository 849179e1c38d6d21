"""Gemma 4: ``<|tool_call>call:NAME{…}<tool_call|>``, whose texts stand between quotation tokens. Gemma 3's template writes no calls.

Keys come in the order in which the template sorts them. Reasoning is a ``thought`` channel, which the template keeps beside calls only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agenttune.errors import Refusal
from agenttune.protocols.base import CallSyntax
from agenttune.protocols.native.base import NativeProtocol, calls_of
from agenttune.protocols.native.scan import Scanned, ScannedCall, calls_from
from agenttune.values.trajectory import Json, Step, ToolCall

_OPEN, _CLOSE, _QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_THINK, _THOUGHT = "<|channel>thought\n", "\n<channel|>"
_HEAD = re.compile(r"<\|tool_call>call:([^{\s<]+)\{")
_KEY = re.compile(r"([^:{}\[\],<]+):")
_PLAIN = re.compile(r"[^,{}\[\]<]+")
_WORDS: dict[str, Json] = {"true": True, "false": False, "None": None}


def _write(step: Step) -> str:
    head = f"{_THINK}{step.reasoning}{_THOUGHT}" if step.reasoning else ""
    if step.answer is not None:
        return head + step.answer
    return head + step.thought + "".join(f"{_OPEN}call:{call.name}{_written(dict(call.arguments))}{_CLOSE}" for call in calls_of(step))


def _written(value: Json) -> str:
    """A value as the template's ``format_argument`` writes it."""
    if isinstance(value, str):
        return f"{_QUOTE}{value}{_QUOTE}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        rows = sorted(value.items(), key=lambda item: str(item[0]).lower())
        return "{" + ",".join(f"{name}:{_written(one)}" for name, one in rows) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is not None and not isinstance(value, int | float):
        raise Refusal("arguments", "the arguments are not JSON", repr(value)[:200])
    return str(value)


def _scan(text: str) -> Scanned:
    """The first call's marker decides; calls follow each other at once."""
    reasoning, start, thinking = "", 0, text.startswith("<|channel>")
    end = text.find(_THOUGHT, len(_THINK)) if text.startswith(_THINK) else -1
    if end >= 0:
        reasoning, start, thinking = text[len(_THINK) : end], end + len(_THOUGHT), False
    begin = -1 if thinking else text.find(_OPEN, start)
    if begin < 0:
        opening = thinking or (bool(text) and _THINK.startswith(text))
        return Scanned(reasoning=reasoning, words="" if thinking else text[start:].strip(), words_at=start, open=opening)
    return Scanned(reasoning=reasoning, words=text[start:begin].strip(), words_at=start, calls=calls_from(text, begin, _call))


def _call(text: str, start: int) -> ScannedCall:
    head = _HEAD.match(text, start)
    if head is None:
        return ScannedCall(start=start, arguments=(len(text), len(text)), end=len(text), read=f"no call:NAME{{ behind {_OPEN}")
    first = head.end() - 1
    try:
        value, end = _value(text, first)
    except (ValueError, RecursionError):
        why = "the arguments are not an object"
        return ScannedCall(start=start, arguments=(first, len(text)), end=len(text), read=why, name=head.group(1))
    if not text.startswith(_CLOSE, end):
        why = f"no {_CLOSE} behind the arguments"
        return ScannedCall(start=start, arguments=(first, end), end=len(text), read=why, name=head.group(1))
    read = ToolCall(name=head.group(1), arguments=value)
    return ScannedCall(start=start, arguments=(first, end), end=end + len(_CLOSE), read=read, name=head.group(1))


def _value(text: str, at: int) -> tuple[Json, int]:
    """The value that begins at `at`, and where it ends. Raises `ValueError`."""
    if text.startswith(_QUOTE, at):
        end = text.index(_QUOTE, at + len(_QUOTE))
        return text[at + len(_QUOTE) : end], end + len(_QUOTE)
    if text.startswith(("{", "["), at):
        return _several(text, at)
    plain = _PLAIN.match(text, at)
    if plain is None:
        raise ValueError("no value")
    word = plain.group()
    return (_WORDS[word] if word in _WORDS else float(word) if any(one in word for one in ".eE") else int(word)), plain.end()


def _several(text: str, at: int) -> tuple[Json, int]:
    named, close = text[at] == "{", "}" if text[at] == "{" else "]"
    rows: dict[str, Json] = {}
    items: list[Json] = []
    at += 1
    while not text.startswith(close, at):
        if named:
            key = _KEY.match(text, at)
            if key is None:
                raise ValueError("no key")
            rows[key.group(1)], at = _value(text, key.end())
        else:
            item, at = _value(text, at)
            items.append(item)
        if text.startswith(",", at):
            at += 1
        elif not text.startswith(close, at):
            raise ValueError("no comma")
    return (rows if named else items), at + 1


GEMMA4 = NativeProtocol(
    family="gemma4",
    write=_write,
    scan=_scan,
    thoughts="nowhere",
    reminder="reply with <|tool_call>call:NAME{…}<tool_call|>, or with the answer",
    call_syntax=CallSyntax(trigger=_OPEN, before_name="call:", between="", end=_CLOSE, tagged=True),
)
