"""xLAM function calling rows (Salesforce, APIGen, arXiv 2406.18518): one query, its tools, and the calls that answer it at once."""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.calls import call_of
from agenttune.sources.chat import Chat
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value
from agenttune.sources.schemas import tools_of, unused
from agenttune.values.trajectory import Json, Trajectory

NAME = "xlam"
_FIELDS = ("id", "query", "tools", "answers", "system")


def detect(record: Json) -> str | None:
    """A query, tools and answers side by side."""
    if not isinstance(record, dict) or not isinstance(record.get("query"), str):
        return None
    if not all(isinstance(record.get(key), str | list) for key in ("tools", "answers")):
        return None
    return 'it holds "query", "tools" and "answers"'


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """One round with one step of calls that nobody answered. Raises `Refusal`; an empty list of answers trains nothing and is one."""
    fields = as_object(record)
    if not isinstance(fields.get("query"), str):
        raise Refusal("shape", f'"query" must be text, this is {kind_name(fields.get("query"))}', excerpt(fields))
    chat = Chat()
    if isinstance(fields.get("system"), str):
        chat.system(fields["system"])
    chat.user(fields["query"])
    answers = _answers(fields.get("answers"), chat.notes)
    if answers:
        chat.says("", calls=[call_of(one, chat.notes) for one in answers])
    tools = tools_of(fields.get("tools"), chat.notes)
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


def _answers(value: Json, notes: list[str]) -> list[Json]:
    if isinstance(value, str):
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("call", f"the answers cannot be read: {error.sentence}", value) from error
        notes += [change] if change else []
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise Refusal("call", f"the answers must be a list of calls, this is {kind_name(value)}", excerpt(value))
    return value
