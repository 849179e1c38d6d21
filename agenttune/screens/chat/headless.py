"""One question without a person at the screen: the answer on standard output, all else on standard error, and an exit code."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Literal

from rich.console import Console

from agenttune.agent.conversation import Conversation
from agenttune.agent.events import (
    AgentEvent,
    GuardActed,
    RunFinished,
    StepMade,
    StopReason,
    TextDelta,
    ToolAnswered,
    ToolCalled,
    ToolPrinted,
    TrajectoryGrown,
)
from agenttune.agent.usage import Usage
from agenttune.errors import UserError
from agenttune.screens.blocks import note
from agenttune.screens.chat.keyboard import utf8
from agenttune.screens.chat.permission import CountedAsk
from agenttune.screens.chat.session_file import NOT_KEPT, SessionFile
from agenttune.screens.chat.trace import Trace
from agenttune.screens.inert import inert, inert_json
from agenttune.values.trajectory import Json, JsonObject, Round, Step, ToolCall
from agenttune.values.trajectory_json import call_to_json, observation_to_json, step_to_json

OutputFormat = Literal["text", "json", "stream-json"]
FORMATS: tuple[OutputFormat, ...] = ("text", "json", "stream-json")
ANSWERED, FAILED, LIMIT, TOOL_FAILED, CONTEXT_FULL, TIME_OVER, INTERRUPTED = 0, 1, 3, 4, 5, 124, 130
_CODES: dict[StopReason, int] = {
    "answer": ANSWERED,
    "malformed": FAILED,
    "steered": FAILED,
    "max_steps": LIMIT,
    "run_tokens": LIMIT,
    "length": LIMIT,
    "loop": LIMIT,
    "context": CONTEXT_FULL,
    "interrupted": INTERRUPTED,
}
WAIT = 3.0  # seconds for the first byte of a pipe that somebody left open


def answer_once(
    conversation: Conversation,
    question: str,
    out: Console,
    trace: Console,
    *,
    output_format: OutputFormat = "text",
    seconds: float = 0.0,
    permissions: CountedAsk | None = None,
    session: SessionFile = NOT_KEPT,
) -> int:
    """Asks and prints. Returns an exit code: 0 answered, 1 no usable answer, 3 a limit was reached (an answer that it forced is printed),
    4 the last tool failed or a call was refused, 5 the context is full, 124 `seconds` are over, 130 interrupted.
    """
    screen = Trace(trace, conversation.agent, answers=False)

    def watch(event: AgentEvent) -> None:
        session.watch(conversation, event)
        screen.on(event)
        if output_format == "stream-json" and not isinstance(event, RunFinished | TrajectoryGrown):
            _write_json(out, event_to_json(event))

    screen.start()
    with TimeLimit(seconds) as limit:
        try:
            stop = conversation.ask(question, watch)
        finally:
            screen.close()
    if limit.over:
        note(trace, f"stopped after {seconds:g} s (--max-seconds)", style="yellow")
    note(trace, conversation.last.sentence())
    refused = permissions is not None and permissions.refused > 0
    code = (
        TIME_OVER
        if limit.over
        else exit_code(stop, conversation.trajectory.rounds[-1] if conversation.trajectory.rounds else None, refused)
    )
    _print(conversation, stop if not limit.over else "time", out, output_format)
    session.keep(conversation)
    return code


def _asked_round(conversation: Conversation) -> Round | None:
    """The round of the newest question; one that was stopped before its first step is no round of the conversation."""
    last = conversation.trajectory.rounds[-1:]
    return last[0] if last and last[0].user == conversation.asked else None


def exit_code(stop: StopReason, last: Round | None, refused: bool) -> int:
    """See `answer_once`."""
    if stop == "answer" and last is not None and (refused or _tool_failed(last.steps)):
        return TOOL_FAILED
    return _CODES[stop]


def _tool_failed(steps: tuple[Step, ...]) -> bool:
    """Whether the newest call that could be read was answered by an error: what was said after it rests on nothing."""
    called = [step for step in steps if step.usable and any(isinstance(call, ToolCall) for call in step.calls)]
    return bool(called) and any(seen.error for seen in called[-1].observations)


def _print(conversation: Conversation, stop: str, out: Console, output_format: OutputFormat) -> None:
    last = _asked_round(conversation)
    steps = last.steps if last is not None else ()
    answer = steps[-1].answer if steps and steps[-1].usable else None
    if output_format == "text":
        if answer is not None:
            out.out(inert(answer), highlight=False)
        return
    made: dict[str, Json] = {"type": "result"} if output_format == "stream-json" else {}
    made |= {"answer": answer, "stop": stop, "steps": [step_to_json(one) for one in steps], "usage": usage_to_json(conversation.last)}
    _write_json(out, {**made, "session": conversation.trajectory.id})


def _write_json(out: Console, value: JsonObject) -> None:
    """One line. Where the file cannot hold every letter, those beyond ASCII are escaped: nothing becomes a question mark."""
    text = json.dumps(value, ensure_ascii=out.encoding.lower().replace("-", "") != "utf8")
    out.out(inert_json(text), highlight=False)
    out.file.flush()


def usage_to_json(used: Usage) -> dict[str, Json]:
    """Counts under the names that OpenAI's protocol has for them, with steps and seconds."""
    return {
        "prompt_tokens": used.prompt,
        "cached_tokens": used.prompt - used.read,
        "completion_tokens": used.written,
        "steps": used.steps,
        "seconds": round(used.seconds, 3),
    }


def event_to_json(event: AgentEvent) -> dict[str, Json]:
    """An event as one object, whose ``type`` is ``text``, ``step``, ``call``, ``observation``, ``printed`` or ``guard``."""
    if isinstance(event, TextDelta):
        return {"type": "text", "kind": event.kind, "delta": event.delta}
    if isinstance(event, StepMade):
        return {"type": "step", **step_to_json(event.step)}
    if isinstance(event, ToolCalled):
        return {"type": "call", **call_to_json(event.call)}
    if isinstance(event, ToolAnswered):
        return {"type": "observation", "tool": event.call.name, **observation_to_json(event.observation)}
    if isinstance(event, ToolPrinted):
        return {"type": "printed", "tool": event.call.name, "text": event.text}
    assert isinstance(event, GuardActed)
    return {"type": "guard", "guard": event.guard, "sentence": event.sentence}


class TimeLimit:
    """Ends the block like a Ctrl-C after so many seconds (0: never), and says afterwards whether it did. In the main thread only."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._seconds = seconds if threading.current_thread() is threading.main_thread() else 0.0
        self._before: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> TimeLimit:
        if self._seconds:
            self._before = signal.signal(signal.SIGALRM, self._on)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.over = True
        raise KeyboardInterrupt


def whole_question(prompt: str, tell: Callable[[str], object]) -> str:
    """The text after ``-p`` and what stands on standard input, joined by a blank line; ``-`` is standard input alone.

    `tell` is given a sentence where a pipe is open and says nothing. Raises `UserError` where there is no question, or no UTF-8.
    """
    if prompt == "-":
        text = utf8(sys.stdin.buffer.read(), "standard input")
        if not text.strip():
            raise UserError("standard input is empty; give a question after -p")
        return text
    if not prompt.strip():
        raise UserError("the question is empty; give a text after -p")
    piped = utf8(_piped(tell), "standard input")
    return f"{prompt}\n\n{piped}" if piped.strip() else prompt


def _piped(tell: Callable[[str], object]) -> bytes:
    """What a pipe or a file brings; nothing from a terminal or the null device."""
    try:
        handle = sys.stdin.fileno()
        mode = os.fstat(handle).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or no file at all
        return b""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return b""
    if not select.select([handle], [], [], WAIT)[0]:
        tell(f"nothing came on standard input within {WAIT:g} s: only the text after -p is asked (</dev/null says so at once)")
        return b""
    return sys.stdin.buffer.read()
