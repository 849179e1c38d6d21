"""Does every value of a raw record stand in what was read of it, or under the name of what was dropped? The law that nothing vanishes.

A text is compared by its words: markers, quotes and escapes around them are a format's own. What is looked at are texts of more than three
characters, numbers and booleans, at every depth of the record, and within texts that are JSON themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agenttune.sources.base import note_name
from agenttune.values.trajectory import Json, ToolCall, Trajectory
from agenttune.values.trajectory_json import trajectory_to_json

_SHORT = 3  # characters: a shorter text says nothing by itself
_WORD = re.compile(r"[^\W_]+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\+[nrtbf]|\\+(?=[\"'/\\])")
_NUMBERING = 2  # digits: the numbers of a list's items
_WITHIN = 6  # letters
_TELLING = 12  # words of a text by which it is looked for
_NESTED = 3  # texts in JSON in texts in JSON
# Words with which wire formats, tool lists and types are written: the trajectory says the same by its shape.
_FORMAT = frozenset(
    word
    for line in (
        "user human assistant gpt agent bot model system developer tool tools function functions call calls use result response",
        "observation environment text thinking prompter object name parameters arguments input output type required description api json",
        "python code thought action final answer finish finished episode give restart return begin question request ai",
        "startofthink endofthink startofexec endofexec from value role content",
        "none null true false str string int integer float number bool boolean list array dict any optional union tuple url",
    )
    for word in line.split()
)
# Keys whose number, true or false is read as something else: a weight, a required name, a flag of a result.
_READ_AS = frozenset(
    ("weight", "loss", "train", "training", "train_on_turn", "loss_weight", "is_error", "isError", "required", "strict", "success")
)
# What a note without names of its own accounts for: the paths of the leaves whose words it changed or left out.
_ACCOUNTED = {
    "format_text_dropped": r"instruction|input|system|.*(?:content|value)",
    "search_prompt_dropped": r"train_messages\..*",
    "finish_as_answer": r".*(?:functions?|available_tools)\..*|.*final_answer.*",
    "finish_tool": r".*(?:functions?|tools)\..*|.*actions\..*",
    "plugin_details": r"conversations\.0\..*",
    "system_dialogue": r"conversations\.0\..*",
    "question_continued": r".*input|.*output",
    "tool_components_left_out": r"Function_Description.*|NLDocumentation|Documentation|external_tools.*",
    "golden_answers_left_out": r"Golden_Answers.*",
    "observation_cut": r".*message",
    "branches_left_out": r"answer_generation.*|tree.*|.*\breplies\..*|messages\..*",
    "action_as_call": r"(?:messages|history)\..*content",
    "stopped_at_limit": r"Instances\..*output",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a record as text, and the keys that lead to it (``messages.3.content``)."""

    path: str
    text: str
    scalar: bool = False  # a number, true or false

    def name(self) -> str:
        """The path without numbers: the same for every message."""
        return ".".join(key for key in self.path.split(".") if not key.isdecimal())


def leaves(value: Json, path: str = "") -> Iterator[Leaf]:
    """Every text of more than three characters, number and boolean of a record, in its order."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}" if path else str(index))
    elif isinstance(value, str):
        if len(value) > _SHORT and value.strip().lower() not in _FORMAT:
            yield Leaf(path, value)
    elif value is not None:
        yield Leaf(path, json.dumps(value), scalar=True)


def vanished(record: Json, read: Sequence[Trajectory]) -> Iterator[Leaf]:
    """What of a record is neither found in the trajectories that were read of it, nor dropped by name; of a long text, the words."""
    known = _Known(read)
    for leaf in leaves(record):
        missing = known.missing(leaf)
        if missing:
            yield Leaf(leaf.path, missing)


class _Known:
    """The words of some trajectories, and the names that their notes give."""

    def __init__(self, read: Sequence[Trajectory]) -> None:
        texts = [text for one in read for text in _texts(trajectory_to_json(replace(one, file="", line=0)))]
        self._text = "\n".join(plain(text) for text in texts)
        self._words = set(_WORD.findall(self._text))
        notes = {note_name(note) for one in read for note in one.notes}
        self._accounted = re.compile("|".join(f"(?:{_ACCOUNTED[name]})" for name in sorted(notes) if name in _ACCOUNTED) or r"(?!)")
        self._dropped = {name.strip() for one in read for note in one.notes for name in note.partition(": ")[2].split(",")} - {""}

    def missing(self, leaf: Leaf) -> str:
        """The words of a leaf that are nowhere, at most 400 characters."""
        if not self._dropped.isdisjoint(leaf.path.split(".")) or self._accounted.fullmatch(leaf.path):
            return ""
        if leaf.scalar:
            return "" if self._knows_scalar(leaf) else leaf.text
        found = (word for word in _WORD.findall(plain(leaf.text)) if not self._knows(word))
        return " ".join(dict.fromkeys(found))[:400]

    def _knows(self, word: str) -> bool:
        """A long word may stand within another: where a text is cut, and in languages that set no blanks between words."""
        if word in self._words or word.lower() in _FORMAT or (word.isdecimal() and len(word) <= _NUMBERING):
            return True
        return (len(word) >= _WITHIN or not word.isascii()) and word in self._text

    def _knows_scalar(self, leaf: Leaf) -> bool:
        key = leaf.name().rpartition(".")[2]
        if leaf.text in ("true", "false"):
            return key in self._words or key in _READ_AS
        return key in _READ_AS or all(word in self._words for word in _WORD.findall(leaf.text))


def misplaced(record: Json, trajectory: Trajectory) -> Iterator[str]:
    """Calls that stand in the record before an earlier one of the trajectory, and results that stand there before their own call.

    Yields what stands in the wrong place. A text that the record does not hold as it is says nothing here: see `vanished`.
    """
    whole = _spaced(" ".join(_texts(record)))
    at = 0
    for step in trajectory.steps():
        start = at
        for call in step.calls:
            if isinstance(call, ToolCall):
                said = [leaf.text for leaf in leaves(dict(call.arguments)) if not leaf.scalar] or [call.name]
                places = [_place(whole, text, start) for text in said]
                if None in places:
                    yield call.name
                start = max([start, *(one for one in places if one)])
        at = start
        for seen in step.observations:
            place = _place(whole, seen.text, start) if len(seen.text) > _SHORT else start
            if place is None:
                yield seen.text[:400]
            at = max(at, place or 0)


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(plain(text)))} "


def _place(whole: str, text: str, start: int) -> int | None:
    """Where a text stands at or after `start`, `start` where it stands nowhere at all; None where it stands before only."""
    words = " ".join(_WORD.findall(plain(text))[:_TELLING])
    found = whole.find(f" {words} ", start)
    return found if found >= 0 else None if f" {words} " in whole else start


def _texts(value: Json) -> Iterator[str]:
    """Every key and value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def plain(text: str) -> str:
    """A text without the escapes that JSON and Python put into it, however often it was quoted."""
    for _ in range(_NESTED):
        if "\\" not in text:
            return text
        text = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)) if found.group(1) else " ", text)
    return text
