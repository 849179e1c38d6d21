"""Alpaca rows (Stanford): an instruction, an optional input, an output; with LLaMA-Factory's ``system`` and ``history``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat
from agenttune.sources.marks import foreign
from agenttune.sources.reading.json_text import excerpt, kind_name
from agenttune.sources.schemas import unused
from agenttune.values.trajectory import Json, Trajectory

NAME = "alpaca"
_FIELDS = ("id", "instruction", "input", "output", "system", "history")
_API_BANK = "API-Request: ["


def detect(record: Json) -> str | None:
    """An instruction and an output, both text, that are in no text format of their own."""
    if not isinstance(record, Mapping) or not all(isinstance(record.get(key), str) for key in ("instruction", "output")):
        return None
    if not isinstance(record.get("input", ""), str | None) or _API_BANK in record["instruction"]:
        return None
    if foreign([{"role": "output", "content": record["output"]}, {"role": "system", "content": record["instruction"]}]):
        return None
    return 'it holds "instruction" and "output"'


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """History, then the instruction with its input on the next line, and the output as the answer. Raises `Refusal`."""
    fields = as_object(record)
    for key in ("instruction", "input", "output", "system"):
        if not isinstance(fields.get(key, ""), str | None):
            raise Refusal("shape", f'"{key}" must be text, this is {kind_name(fields[key])}', excerpt(fields[key]))
    if "instruction" not in fields and "output" not in fields:
        raise Refusal("shape", 'a row needs "instruction" and "output"', excerpt(fields))
    if not fields.get("output"):
        raise Refusal("empty", "the output is empty", excerpt(fields))
    chat = Chat()
    chat.system(fields.get("system") or "")
    for asked, answered in _history(fields.get("history")):
        chat.user(asked)
        chat.says(answered)
    chat.user("\n".join(part for part in (fields.get("instruction"), fields.get("input")) if part))
    chat.says(fields["output"])
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields))


def _history(value: Json) -> list[tuple[str, str]]:
    pairs = value if isinstance(value, list) else [] if value in (None, "") else [value]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise Refusal("shape", "each entry of the history must be a pair of texts", excerpt(pair))
    return [(first, second) for first, second in pairs]
