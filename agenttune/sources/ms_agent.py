"""MSAgent's ReAct edition (``iic/ms_agent``): one assistant value holds several rounds of Action, Action Input and Observation.

Inputs are often Python literals; they are read as data, never run. Observations stay text.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object
from agenttune.sources.react import chat
from agenttune.sources.reading.json_text import read_value
from agenttune.values.trajectory import Json, Trajectory

NAME = "ms_agent"


def detect(record: Json) -> str | None:
    """Action Input and Observation lines inside one assistant value."""
    messages = record.get("conversations") if isinstance(record, dict) else None
    for message in messages if isinstance(messages, list) else []:
        text = message.get("value") if isinstance(message, dict) and message.get("from") == "assistant" else None
        if isinstance(text, str) and "\nAction Input:" in text and "\nObservation:" in text:
            return "an assistant value holds Action Input and Observation lines"
    return None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    notes: list[str] = []
    value = fields.get("conversations")
    if isinstance(value, str):
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("shape", f'"conversations" is a text that holds no list: {error.sentence}', error.excerpt) from error
        notes.append(change or "conversations_text")
    messages = chat.messages_of(value, notes)
    yield chat.trajectory_of(fields, messages, options, notes, finish=False)
