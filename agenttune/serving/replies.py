"""What a client is given: messages, choices, chunks and usage in OpenAI's form (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import PartialStep, Protocol, think_text
from agenttune.serving.prompts import Speaker
from agenttune.serving.requests import ChatRequest
from agenttune.values.tokens import Completion
from agenttune.values.trajectory import Json, Step, ToolCall

NO_PARITY = "not guaranteed"  # of prompts that an upstream's template lays out: they may not be the tokens that were trained


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMessage:
    """What the model said, as a client reads it. `finish` is stop, length or tool_calls."""

    content: str | None
    reasoning: str
    calls: tuple[ToolCall, ...]
    finish: str

    def to_json(self) -> Json:
        """The assistant's message of a choice."""
        made: dict[str, Json] = {"role": "assistant", "content": self.content}
        if self.reasoning:
            made["reasoning_content"] = self.reasoning
        if self.calls:
            made["tool_calls"] = [call_json(call) for call in self.calls]
        return made


def message_of(step: Step, completion: Completion, protocol: Protocol, *, parallel: bool = True) -> ReplyMessage:
    """A step as a message. Calls carry new ids; a call that was cut, or cannot be read, is no call. Where there is no other, its text
    is the content; calls that were whole before the cut are calls."""
    cut = completion.stop in ("length", "context")
    step = _before_the_cut(step, protocol) if cut and step.calls else step
    calls = tuple(call for call in step.calls if isinstance(call, ToolCall))
    if calls:
        named = tuple(ToolCall(name=call.name, arguments=call.arguments, id=new_id("call")) for call in calls)
        private = protocol.thought_channel == "reasoning_content"
        reasoning = think_text(step.reasoning) + step.thought if private and step.reasoning else step.reasoning
        return ReplyMessage(
            content=None if private else step.thought or None,
            reasoning=(reasoning or step.thought) if private else step.reasoning,
            calls=named if parallel else named[:1],
            finish="length" if cut else "tool_calls",
        )
    if step.answer is not None:
        reasoning = think_text(step.reasoning) + step.thought if step.reasoning and step.thought else step.reasoning or step.thought
        return ReplyMessage(content=step.answer, reasoning=reasoning, calls=(), finish="length" if cut else "stop")
    return ReplyMessage(content=completion.text, reasoning="", calls=(), finish="length" if cut else "stop")


def _before_the_cut(step: Step, protocol: Protocol) -> Step:
    """A reply that was cut, up to the end of its last whole call; itself where no call was whole."""
    end = protocol.call_syntax.end
    at = step.raw.rfind(end) if end else -1
    read = protocol.parse(step.raw[: at + len(end)]) if at >= 0 else replace(step, calls=())
    return read if read.calls and all(isinstance(call, ToolCall) for call in read.calls) else replace(step, calls=())


def remembered(speaker: Speaker, completion: Completion, asked: ChatRequest) -> ReplyMessage:
    """What was said as a message; the speaker remembers the step that its calls were made in."""
    step = speaker.step(completion, asked.trajectory.tools)
    message = message_of(step, completion, speaker.protocol, parallel=asked.parallel)
    if message.calls and len(message.calls) == len(step.calls):
        speaker.memory.keep([call.id for call in message.calls], step)
    return message


def finish_reason(completion: Completion) -> str:
    """``length`` for an output that was cut, else ``stop``."""
    return "length" if completion.stop in ("length", "context") else "stop"


def call_json(call: ToolCall) -> Json:
    """One entry of ``tool_calls``."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_text(call.arguments)}}


def new_id(kind: str) -> str:
    """An id that no other has, such as ``call_…``."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"


def usage(completions: list[Completion]) -> Json:
    """Tokens read, of which some were kept from before, and written. The prompt counts once, however many choices were asked for.

    None where an upstream did not tell its counts.
    """
    prompt = completions[0].prompt_tokens
    if not prompt:
        return None
    written = sum(len(one.token_ids) if one.written_tokens is None else one.written_tokens for one in completions)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": prompt - completions[0].prefilled_tokens},
    }


@dataclass(slots=True, kw_only=True)
class Envelope:
    """What all parts of one reply have in common."""

    model: str
    kind: str = "chat.completion"
    parity: bool = True
    id: str = field(default_factory=lambda: new_id("chatcmpl"))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[Json], used: Json) -> Json:
        """A reply in one piece."""
        return {**self._head(self.kind), "choices": choices, "usage": used}

    def chunk(self, choices: list[Json], used: Json | None = None, *, with_usage: bool = False) -> Json:
        """A piece of a streamed reply."""
        kind = f"{self.kind}.chunk" if self.kind == "chat.completion" else self.kind
        made = {**self._head(kind), "choices": choices}
        return {**made, "usage": used} if with_usage else made

    def _head(self, kind: str) -> dict[str, Json]:
        head: dict[str, Json] = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head if self.parity else {**head, "parity": NO_PARITY}


class Deltas:
    """A message in pieces while its text comes. The arguments of a first call are told as they are written where `exact` says that
    they are certain to be JSON (a grammar sees to it); else, like all further calls, in one piece when the call is whole."""

    def __init__(self, protocol: Protocol, *, exact: bool) -> None:
        self._protocol, self._exact = protocol, exact
        self._text = ""
        self._told = PartialStep()
        self._call = ""

    def push(self, text: str) -> Iterator[Json]:
        """The deltas that a new piece of text makes certain."""
        self._text += text
        now, before = self._protocol.partial(self._text), self._told
        if now.thought != before.thought:
            yield {"reasoning_content": now.thought[len(before.thought) :]}
        if now.answer != before.answer:
            yield {"content": now.answer[len(before.answer) :]}
        if self._exact and now.name:
            if not self._call:
                self._call = new_id("call")
                yield self._opened(0, self._call, now.name, "")
            if now.arguments != before.arguments:
                yield {"tool_calls": [{"index": 0, "function": {"arguments": now.arguments[len(before.arguments) :]}}]}
        self._told = now

    def finish(self, message: ReplyMessage) -> tuple[list[Json], ReplyMessage]:
        """What was not told yet, and the message with the ids of the calls as they were told."""
        found: list[Json] = []
        calls = list(message.calls)
        if calls and self._call:
            calls[0] = ToolCall(name=calls[0].name, arguments=calls[0].arguments, id=self._call)
        for index, call in enumerate(calls):
            if index or not self._call:
                found.append(self._opened(index, call.id, call.name, arguments_text(call.arguments)))
        if not calls and not self._call:
            content = message.content or ""
            if content != self._told.answer and content.startswith(self._told.answer):
                found.append({"content": content[len(self._told.answer) :]})
        return found, ReplyMessage(content=message.content, reasoning=message.reasoning, calls=tuple(calls), finish=message.finish)

    def _opened(self, index: int, call_id: str, name: str, arguments: str) -> Json:
        return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]}
