"""MSAgent's ReAct edition (``iic/ms_agent``): one assistant value holds several rounds of Action, Action Input and Observation.

Inputs are often Python literals; they are read as data, never run. Observations stay text.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.sources.base import ReadOptions, as_object, fields_of
from agenttune.sources.messages import listed, messages_of
from agenttune.sources.react import chat
from agenttune.values.trajectory import Json, Trajectory

NAME = "ms_agent"
_LISTS = ("conversations",)


def detect(record: Json) -> str | None:
    """Action Input and Observation lines inside one assistant value."""
    for message in listed(fields_of(record), _LISTS)[1]:
        text = message.get("value") if message.get("from") == "assistant" else None
        if isinstance(text, str) and "\nAction Input:" in text and "\nObservation:" in text:
            return "an assistant value holds Action Input and Observation lines"
    return None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    notes: list[str] = ["conversations_text"] if isinstance(fields.get("conversations"), str) else []
    messages = chat.messages_of(messages_of(fields, _LISTS, notes), notes)
    yield chat.trajectory_of(fields, messages, options, notes, finish=False)
