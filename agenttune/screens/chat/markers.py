"""What a protocol writes around thoughts, calls and answers, learned from the protocol itself, so that a screen can put labels there."""

from __future__ import annotations

from dataclasses import dataclass

from agenttune.protocols.base import Kind, Protocol, placed
from agenttune.values.trajectory import Step, ToolCall

_WORD = "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolMarkers:
    """Markers without the white space around them; any may be empty.

    `thought` and `answer` open such a text, `pad` and `pad_end` enclose a thought that comes before an answer; `head` stands before
    a tool's name, `middle` between name and arguments, `tail` after them.
    """

    thought: str
    answer: str
    pad: str
    pad_end: str
    head: str
    middle: str
    tail: str

    @classmethod
    def of(cls, protocol: Protocol) -> ProtocolMarkers:
        """Writes two steps and looks at what stands around their words."""
        beside = "" if protocol.thoughts == "nowhere" else _WORD
        call = protocol.write_step(Step(thought=beside, calls=(ToolCall(name=_WORD, arguments={}),)))
        spans = protocol.spans(call)
        at = next(index for index, span in enumerate(spans) if span.kind == "arguments")
        head, _, middle = _joined(call, protocol, "action", end=spans[at].start).partition(_WORD)
        answer = protocol.write_step(Step(answer=_WORD))
        both = protocol.write_step(placed(Step(thought=_WORD, answer=_WORD), protocol.thoughts))
        pad, _, pad_end = _joined(both, protocol, "thought").partition(_WORD)
        return cls(
            thought=_joined(call, protocol, "thought").partition(_WORD)[0].strip(),
            answer=_joined(answer, protocol, "answer").partition(_WORD)[0].strip(),
            pad=pad.strip(),
            pad_end=pad_end.strip(),
            head=head.strip(),
            middle=middle.strip(),
            tail=_joined(call, protocol, "action", start=spans[at].end).strip(),
        )

    def call_name(self, action: str) -> str:
        """The tool's name in the text of kind action before some arguments; all of that text where it is written otherwise."""
        text = self.after(action)
        return text.removeprefix(self.head).removesuffix(self.middle).strip()

    def after(self, action: str) -> str:
        """What is left of text of kind action after some arguments; usually nothing."""
        return action.strip().removeprefix(self.tail).strip()


def _joined(text: str, protocol: Protocol, kind: Kind, start: int = 0, end: int | None = None) -> str:
    last = len(text) if end is None else end
    return "".join(text[span.start : span.end] for span in protocol.spans(text) if span.kind == kind and start <= span.start < last)
