"""ReAct text (Thought / Action / Action Input or ``Action: name[text]``) in the forms that public data comes in.

Conversations with function, observation or tool roles (RoTBench's GPT-4 trajectories, ``system`` texts by scenario through
`ReadOptions.systems`); whole trajectories as one output (FireAct, KnowAgent); FireAct's evaluated runs (``traj``); ToolAlpaca's runs and
golden calls; ReAct's few-shot prompts. ``name[text]`` becomes a call with the one argument ``input``; ``finish`` is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, fields_of, record_id
from agenttune.sources.messages import listed, messages_of
from agenttune.sources.react import chat, fewshot, toolalpaca, world
from agenttune.sources.react.text import ReactReader
from agenttune.sources.reading.json_text import text_of
from agenttune.sources.schemas import unused
from agenttune.values.trajectory import Json, Round, Trajectory

NAME = "react"
_SPOKEN = re.compile(r"^(?:Action[ _]Input:|Action(?: \d+)?: ?[A-Za-z_][\w.\- ]*\[)", re.MULTILINE)
_LISTS = ("conversations", "messages", "traj")


def detect(record: Json) -> str | None:
    """Action lines where a model speaks."""
    if fewshot.knows(record):
        return "a table of ReAct prompts"
    record = fields_of(record)
    if toolalpaca.knows(record):
        return "ToolAlpaca's Function_Description beside Instances or Golden_Answers"
    output = record.get("output")
    if isinstance(output, str) and (_SPOKEN.search(output) or world.knows(output)):
        return '"output" holds Action lines'
    for key in _LISTS:
        for message in listed(record, (key,))[1]:
            speaker = str(message.get("from", message.get("role")))
            if speaker in ("assistant", "gpt", "agent") and any(_SPOKEN.search(text) for text in _said(message)):
                return f'the assistant in "{key}" speaks in Action lines'
    return None


def _said(message: Mapping[str, Json]) -> list[str]:
    """What one message says, or could say."""
    value = message.get("value") or message.get("content")
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """The conversations of a record, in whichever form it has. Raises `Refusal`."""
    if fewshot.knows(record):
        yield from fewshot.read(record, options)
        return
    fields = as_object(record)
    if toolalpaca.knows(fields):
        yield from toolalpaca.read(fields, options)
        return
    for key in _LISTS:
        if fields.get(key) is not None:
            notes: list[str] = []
            messages = chat.messages_of(messages_of(fields, (key,), notes), notes)
            yield chat.trajectory_of(fields, messages, options, notes, finish=True)
            return
    if not isinstance(fields.get("output"), str):
        raise Refusal("shape", f"a record needs one of {', '.join(_LISTS)}, or an output text", str(record)[:400])
    yield whole(fields, fields["output"], options)


def whole(fields: dict[str, Json], output: str, options: ReadOptions) -> Trajectory:
    """A question and the whole trajectory as one text. Raises `Refusal`."""
    notes: list[str] = []
    question = "\n".join(text for text in (text_of(fields.get("instruction")), text_of(fields.get("input"))) if text)
    if world.knows(output):
        return world.trajectory(question, output, record_id(fields), options)
    head, text = _split(output)
    if head:
        notes.append("question_continued")  # FireAct's choices of an answer stand before the first thought
        question = f"{question}\n{head}"
    steps = ReactReader(tools={}, notes=notes)
    steps.text(text)
    if dropped := unused(fields, ("id", "instruction", "input", "output")):
        notes.append(f"fields_dropped: {', '.join(dropped)}")
    rounds = (Round(user=question, steps=tuple(steps.done)),)
    return Trajectory(id=record_id(fields), file=options.file, line=options.line, rounds=rounds, notes=tuple(notes))


_FIRST = re.compile(r"^(?:Thought|ActionPath|Action)(?: \d+)?:", re.MULTILINE)


def _split(output: str) -> tuple[str, str]:
    found = _FIRST.search(output)
    if found is None:
        raise Refusal("step", "the output holds neither a thought nor an action", output)
    return output[: found.start()].strip(), output[found.start() :]
