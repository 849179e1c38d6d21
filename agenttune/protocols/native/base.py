"""A native protocol: the words in which a family of models calls tools by its own chat template.

One file a family writes and reads those words; tools, calls and results are handed to the tokenizer's template, whose text for them must
be exactly what the family wrote (`templates.jinja`). The families carry the names of vLLM's tool parsers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agenttune.errors import Refusal
from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import CallSyntax, PartialStep, Span, Thoughts, bare, refuse_other
from agenttune.protocols.native.scan import Scanned
from agenttune.values.trajectory import Observation, Step, ToolCall, ToolSpec

NATIVE = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeProtocol:
    """One family: `write` makes a step's text of it, `scan` reads a reply, which may still grow.

    `listing` writes the tools into the system text where the family's templates do not. Observations are the `system` of the next turn:
    the text itself, or a JSON list of texts where a step made several calls (`observation_text`).
    """

    family: str
    write: Callable[[Step], str]
    scan: Callable[[str], Scanned]
    call_syntax: CallSyntax
    reminder: str
    parallel_calls: bool = True
    thoughts: Thoughts = "calls"
    stops: tuple[str, ...] = ()
    listing: Callable[[Sequence[ToolSpec]], str] | None = None
    observation_field: Literal["system", "input"] = "system"
    thought_channel: Literal["reasoning_content", "content"] = "content"

    @property
    def name(self) -> str:
        """``native/FAMILY``."""
        return f"{NATIVE}/{self.family}"

    @property
    def lists_tools(self) -> bool:
        """Whether the tools stand in the system text, and not where the template would write them."""
        return self.listing is not None

    def call_start(self, text: str) -> int | None:
        """See `Protocol.call_start`."""
        calls = self.scan(text).calls
        return calls[0].start if calls else None

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The conversation's own text: the template writes the tools."""
        if self.listing is None or not tools:
            return system
        return (f"{system}\n\n" if system else "") + self.listing(tools)

    def observation_text(self, observations: Sequence[Observation]) -> str:
        """One text as it is; several, none but white space, or one that reads like such a list, as a JSON list."""
        texts = [seen.text for seen in observations]
        if len(texts) == 1 and texts[0].strip() and not _listed(texts[0], 1):
            return texts[0]
        return json.dumps(texts, ensure_ascii=False)

    def observations(self, text: str, calls: int) -> tuple[str, ...]:
        """The texts that `observation_text` wrote for a step of so many calls."""
        return _listed(text, calls) or (text,)

    def write_step(self, step: Step) -> str:
        """See `Protocol.write_step`."""
        if len(step.calls) == 1 and not isinstance(step.calls[0], ToolCall):
            return step.calls[0].text
        if bool(step.calls) == (step.answer is not None):
            raise Refusal("empty", "a step must either call a tool or answer")
        if len(step.calls) > 1 and not self.parallel_calls:
            raise Refusal("parallel", f"{self.name} is one call a step")
        if any(not isinstance(call, ToolCall) for call in step.calls):
            raise Refusal("unwritable", f"{self.name} cannot hold a malformed call beside others")
        text = self.write(step)
        refuse_other(self.name, bare(self.parse(text)), bare(step), text)
        return text

    def parse(self, text: str) -> Step:
        """See `Protocol.parse`."""
        return self.scan(text).step(text)

    def partial(self, text: str) -> PartialStep:
        """See `Protocol.partial`."""
        found = self.scan(text)
        told = found.partial(text, self.call_syntax.trigger)
        if not self.call_syntax.tagged or not found.calls:
            return told
        read = found.calls[0].read  # arguments that are no JSON are told as JSON when they are whole
        return replace(told, arguments=arguments_text(read.arguments) if isinstance(read, ToolCall) else "")

    def spans(self, output: str) -> tuple[Span, ...]:
        """See `Protocol.spans`."""
        return self.scan(output).spans(output)


def _listed(text: str, most: int) -> tuple[str, ...]:
    """The texts of a JSON list of one to `most` texts; nothing for any other text."""
    if not text.startswith('["'):
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(found) if 0 < len(found) <= most and all(isinstance(one, str) for one in found) else ()


def refuse_words(protocol: str, step: Step) -> None:
    """Raises `Refusal` (``thought``) for a call with reasoning or a thought beside it, for families whose templates leave those out."""
    words = step.reasoning or step.thought
    if step.calls and words:
        raise Refusal("thought", f"{protocol} has no place for a thought beside a call: the chat template would leave it out", words)


def calls_of(step: Step) -> list[ToolCall]:
    """The calls of a step that has been found to hold no other."""
    return [call for call in step.calls if isinstance(call, ToolCall)]
