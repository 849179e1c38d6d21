"""A conversation as a Markdown page for a reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from agenttune.screens.inert import inert
from agenttune.values.trajectory import Malformed, Round, Step, Trajectory


def transcript(trajectory: Trajectory) -> str:
    """Questions as headings' text, thoughts as quotes, calls and results as code, answers as they were said."""
    parts = [f"# {trajectory.id}"]
    if trajectory.model:
        parts.append(f"{trajectory.model}{' + ' + trajectory.adapter if trajectory.adapter else ''}, protocol {trajectory.protocol}")
    if trajectory.system:
        parts += ["## System", trajectory.system]
    for one in trajectory.rounds:
        parts += _round(one)
    return inert("\n\n".join(parts)) + "\n"


def _round(one: Round) -> Iterator[str]:
    yield "## You"
    yield one.user
    yield "## Agent"
    for step in one.steps:
        yield from _step(step)
    if one.verdict:
        yield f"*judged {one.verdict}{': ' + one.comment if one.comment else ''}*"


def _step(step: Step) -> Iterator[str]:
    for text in filter(None, (step.reasoning, step.thought)):
        yield "\n".join(f"> {line}" for line in text.splitlines())
    for number, call in enumerate(step.calls):
        if isinstance(call, Malformed):
            yield _fenced(call.text, "text")
        else:
            yield _fenced(f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}", "text")
        if number < len(step.observations):
            yield _fenced(step.observations[number].text, "text")
    if step.answer is not None:
        yield step.answer


def _fenced(text: str, language: str) -> str:
    """Code with a fence that is longer than any in the text."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
