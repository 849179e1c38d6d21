"""ReAct's few-shot prompts: a table of name → text, each text several worked examples that begin with Question, Claim or a room."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions
from agenttune.sources.react import world
from agenttune.sources.react.text import ReactReader
from agenttune.values.trajectory import Json, Round, Trajectory

_ASKED = re.compile(r"^(?:Question|Claim):", re.MULTILINE)
_SAID = re.compile(r"^(?:Thought|Action)(?: \d+)?:|^Answer:", re.MULTILINE)
_ROOM = "Your task is to:"


def knows(record: Json) -> bool:
    """A table of texts, every one of which holds worked examples."""
    if not isinstance(record, dict) or not record:
        return False
    return all(isinstance(text, str) and (_is_asked(text) or _is_world(text)) for text in record.values())


def _is_asked(text: str) -> bool:
    return _ASKED.search(text) is not None and _SAID.search(text) is not None


def _is_world(text: str) -> bool:
    return _ROOM in text and "\n>" in text


def read(record: dict[str, str], options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """One trajectory for each worked example, named ``prompt/number``; a bad one is a `Refusal` of its own."""
    for name, text in record.items():
        head, examples = ("", [text]) if _is_world(text) else _examples(text)
        for number, example in enumerate(examples, 1):
            try:
                yield _trajectory(f"{name}/{number}", head, example, options)
            except Refusal as problem:
                yield problem


def _examples(text: str) -> tuple[str, list[str]]:
    starts = [found.start() for found in _ASKED.finditer(text)]
    return text[: starts[0]].strip(), [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _trajectory(name: str, head: str, example: str, options: ReadOptions) -> Trajectory:
    if _is_world(example):
        start = example.index("\n>") + 1
        return world.trajectory(example[:start].strip(), example[start:], name, options)
    found = _SAID.search(example)
    if found is None:
        raise Refusal("step", "the example holds neither a thought nor an answer", example)
    notes: list[str] = []
    steps = ReactReader(tools={}, notes=notes, answers=True)
    steps.text(example[found.start() :])
    rounds = (Round(user=example[: found.start()].strip(), steps=tuple(steps.done)),)
    return Trajectory(id=name, file=options.file, line=options.line, group=name, system=head, rounds=rounds, notes=tuple(notes))
