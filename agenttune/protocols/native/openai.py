"""gpt-oss: harmony's channels.

Reasoning is an ``analysis`` message, a call a ``commentary`` message to ``functions.NAME``, an answer a ``final`` one. The format is
OpenAI's (github.com/openai/harmony, docs/format.md); the spelling is that of the chat template of the published models, which writes one
call a message. What a model says in the other order of the header (``<|channel|>commentary to=functions.NAME``) is read too.
"""

from __future__ import annotations

import json
import re

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax
from agenttune.protocols.native.base import NativeProtocol, calls_of
from agenttune.protocols.native.scan import Scanned, ScannedCall, json_at, named_call
from agenttune.values.trajectory import Step

_ANALYSIS, _FINAL, _MESSAGE = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|message|>"
_NEXT = "<|end|><|start|>assistant"
_CALL = re.compile(r" to=functions\.([^\s<]+)<\|channel\|>commentary(?: (?:<\|constrain\|>)?json)?<\|message\|>")
_OTHER = re.compile(r"<\|channel\|>commentary to=functions\.([^\s<]+) ?(?:(?:<\|constrain\|>)?json)?<\|message\|>")
_ENDS = ("<|call|>", "<|return|>", "<|end|>")


def _write(step: Step) -> str:
    head = f"{_ANALYSIS}{step.reasoning}{_NEXT}" if step.reasoning else ""
    if step.answer is not None:
        return f"{head}{_FINAL}{step.answer}"
    (call,) = calls_of(step)
    return f"{head} to=functions.{call.name}<|channel|>commentary json{_MESSAGE}{arguments_text(call.arguments)}"


def _scan(text: str) -> Scanned:
    """Messages one after the other: analysis, then a call or an answer. Words without a channel are the answer."""
    reasoning, start = "", 0
    if text.startswith(_ANALYSIS):
        end = text.find(_NEXT, len(_ANALYSIS))
        if end < 0:
            return Scanned(words=text, words_at=len(text), open=True)
        reasoning, start = text[len(_ANALYSIS) : end], end + len(_NEXT)
    call = _CALL.match(text, start) or _OTHER.match(text, start)
    if call is not None:
        return Scanned(reasoning=reasoning, words_at=start, calls=(_read(text, start, call),))
    if text.startswith(_FINAL, start):
        start += len(_FINAL)
    rest = text[start:]
    if rest.startswith(("<|channel|>", " to=")):
        why = "no message of the channels analysis, commentary to a function, or final"
        cut = ScannedCall(start=start, arguments=(len(text), len(text)), end=len(text), read=why)
        return Scanned(reasoning=reasoning, words_at=start, calls=(cut,))
    opening = bool(rest) and (_FINAL.startswith(rest) or " to=functions.".startswith(rest))
    return Scanned(reasoning=reasoning, words=_without_end(rest).strip(), words_at=start, open=opening)


def _read(text: str, start: int, call: re.Match[str]) -> ScannedCall:
    first = call.end()
    found = json_at(text, first)
    last = found[1] if found is not None else len(text)
    rest = _without_end(text[last:]).strip()
    read = "the arguments are not JSON" if found is None else named_call(call.group(1), found[0])
    return ScannedCall(
        start=start,
        arguments=(first, last),
        end=len(text),
        read=f"text follows the arguments: {json.dumps(rest[:40])}" if rest else read,
        name=call.group(1),
    )


def _without_end(text: str) -> str:
    return next((text.removesuffix(end) for end in _ENDS if text.endswith(end)), text)


OPENAI = NativeProtocol(
    family="openai",
    write=_write,
    scan=_scan,
    reminder="reply with a commentary message to functions.NAME that is a JSON object, or with a final message",
    parallel_calls=False,
    thoughts="nowhere",
    thought_channel="reasoning_content",
    call_syntax=CallSyntax(trigger=" to=functions.", before_name="", between=f"<|channel|>commentary json{_MESSAGE}", answer=_FINAL),
)
