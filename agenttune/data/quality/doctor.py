"""The checks of one trajectory, before it is trained on: what is wrong, how grave it is, and the text that shows it.

A reader has already refused what cannot be read at all (bad JSON, a result without a call, a wrong order of roles).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from agenttune.data.quality.finding import Finding, finding
from agenttune.data.quality.schema_check import mismatches, plainly_fits
from agenttune.errors import nearest
from agenttune.sources.call_text import looks_like_call
from agenttune.values.trajectory import Malformed, Step, ToolCall, ToolSpec, Trajectory

_CONTROL = re.compile(
    r"<\|[A-Za-z0-9_]{2,40}\|>|</?s>|<eo[acmsu]>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{1,40}｜>|<unk>|<pad>"
)
_INVENTED = re.compile(
    r"^(?:ASSISTANT )?(?:Observation|Action Input|Action)(?: \d{1,3})?[ \t]*[:：]|<\|startofexec\|>|<tool_response>", re.MULTILINE
)
_REACT_CALL = re.compile(
    r"^(?:ASSISTANT )?Action(?: \d{1,3})?[ \t]*[:：][^\n]*\n\s*(?:ASSISTANT )?Action Input(?: \d{1,3})?[ \t]*[:：]", re.MULTILINE
)
# What a model wraps its words in for a program to take apart. A reader that does has taken it away; quoted as code it is talked about.
_STRAY = re.compile(
    r"(?<!`)</?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|user_visible|answer|final_answer|"
    r"tool_calls?|tool_results?|function_calls?)>|(?<!`)</tool_response>",
    re.IGNORECASE,
)
_DIALOGUE = re.compile(r"<\|(?:user|assistant|human|bot|im_start)\|>|^(?:USER|User|Human|Assistant|ASSISTANT)[ \t]*[:：]", re.MULTILINE)


def examine(trajectory: Trajectory) -> list[Finding]:
    """Every finding of one trajectory, each with its file, line and id."""
    found = (*_tools(trajectory), *_texts(trajectory), *_steps(trajectory), *_whole(trajectory))
    return [replace(one, file=trajectory.file, line=trajectory.line, id=trajectory.id) for one in found]


def _tools(trajectory: Trajectory) -> Iterator[Finding]:
    declared = {tool.name: tool for tool in trajectory.tools}
    calls = [call for round_ in trajectory.rounds for step in round_.steps for call in step.calls]
    if not declared and any(isinstance(call, ToolCall) for call in calls):
        yield finding("undeclared_tools", "calls are made, and no tool is declared", next(c.name for c in calls if isinstance(c, ToolCall)))
    unknown = 0
    large: set[str] = set()  # tools whose schemas take too long to look at once, let alone at every call
    for call in calls:
        if isinstance(call, Malformed):
            yield finding("malformed_call", f"a call cannot be read: {call.reason}", call.text)
        elif declared and call.name not in declared:
            unknown += 1
            near = nearest(call.name, declared) if unknown <= _HINTS else ""
            yield finding("unknown_tool", f'the tool "{call.name}" is not declared{near}', call.name)
        elif declared and call.name not in large:
            for found in _arguments(call, declared[call.name]):
                large |= {call.name} if found.code == _LARGE else set()
                yield found


_HINTS = 20  # names of one conversation that are compared with those of its tools
_TOLD = 20  # mismatches of one call, each with a finding of its own
_LARGE = "arguments_unchecked"
_KINDS = {
    "unknown": "argument_unknown",
    "missing": "argument_missing",
    "type": "argument_type",
    "enum": "argument_choice",
    "unchecked": _LARGE,
}


def _arguments(call: ToolCall, tool: ToolSpec) -> Iterator[Finding]:
    """A finding for each of the first mismatches, and one that counts the others."""
    if plainly_fits(call.arguments, tool.parameters):
        return
    found = mismatches(dict(call.arguments), tool.parameters)
    first = list(islice(found, _TOLD))
    said = json.dumps(dict(call.arguments), ensure_ascii=False) if first else ""
    for one in first:
        yield finding(_KINDS[one.kind], f'{one.sentence} (tool "{call.name}")', said)
    rest = next(found, None)
    if rest is not None:
        count = 1 + sum(1 for _ in found)
        yield finding(_KINDS[rest.kind], f'{count:,} more arguments do not fit (tool "{call.name}")', said)


def _texts(trajectory: Trajectory) -> Iterator[Finding]:
    said = _dialogue(trajectory.system)
    if said:
        yield finding("system_dialogue", "the system text holds a dialogue", said)
    for round_ in trajectory.rounds:
        if found := _control(round_.user, "the user's text"):
            yield found
        for step in round_.steps:
            for seen in step.observations:
                if found := _control(seen.text, "a tool's text"):
                    yield found


@functools.lru_cache(maxsize=512)  # thousands of records share one system text
def _dialogue(text: str) -> str:
    found = _DIALOGUE.search(text)
    return text[found.start() : found.start() + 400] if found else ""


def _control(text: str, what: str) -> Finding | None:
    found = _CONTROL.search(text) if "<" in text or "INST]" in text else None
    if not found:
        return None
    return finding("control_tokens", f"{what} holds a control token", text[max(0, found.start() - 80) : found.end() + 80])


def _steps(trajectory: Trajectory) -> Iterator[Finding]:
    for round_ in trajectory.rounds:
        for index, step in enumerate(round_.steps):
            yield from _step(step, last=index == len(round_.steps) - 1)


def _step(step: Step, *, last: bool) -> Iterator[Finding]:
    if len(step.observations) < len(step.calls):
        names = ", ".join(call.name for call in step.calls if isinstance(call, ToolCall))
        yield finding("call_without_result", "nobody answered a call", names)
    elif len(step.observations) > len(step.calls):
        yield finding("result_without_call", "a step has more results than calls", step.observations[-1].text)
    elif last and step.calls:
        yield finding("result_unread", "a result is the last thing of its round", step.observations[-1].text)
    answer = (step.answer or "").strip()
    if not answer and (step.answer is not None or not (step.calls or step.thought.strip())):
        yield finding("empty_answer", "a step neither calls nor answers", step.thought)
    if answer and step.weight > 0 and (found_call := looks_like_call(answer)):
        yield finding("call_as_text", "an answer looks like a call and was read as text", found_call)
    for text in (step.thought, step.answer or ""):
        found = _INVENTED.search(text) if "Action" in text or "Observation" in text or "<" in text else None
        call = _REACT_CALL.search(text) if found and step.weight > 0 else None
        if call:
            yield finding("call_as_text", "the model's words hold a call as text", text[max(0, call.start() - 80) :])
        elif found:
            yield finding("invented_observation", "the model's words hold a call or a result as text", text[max(0, found.start() - 80) :])
        elif "<" in text:
            yield from _markup(text)
    if "<" in step.reasoning:
        yield from _markup(step.reasoning)


def _markup(text: str) -> Iterator[Finding]:
    """What a chat format or a program leaves in the model's words, one finding for each text."""
    token = _control(text, "the model's text")
    found = None if token else _STRAY.search(text)
    if token:
        yield token
    elif found:
        around = text[max(0, found.start() - 80) : found.end() + 80]
        yield finding("stray_markup", f"the model's words hold {found.group()}, which belongs to no text", around)


def _whole(trajectory: Trajectory) -> Iterator[Finding]:
    for index, round_ in enumerate(trajectory.rounds):
        if not round_.steps and index < len(trajectory.rounds) - 1:
            yield finding("unanswered_user", "nobody answered a user's message, and the conversation goes on", round_.user)
    if not any(step.weight > 0 for step in trajectory.steps()):
        yield finding("empty_supervision", "no step is to be learned", trajectory.rounds[0].user if trajectory.rounds else "")
