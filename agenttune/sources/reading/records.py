"""Raw records: the lines, elements or members of a file of JSON text, one at a time, each with the place where it stood."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

from agenttune.errors import Refusal
from agenttune.sources.reading.json_array import LIMIT, TOO_LONG, elements
from agenttune.sources.reading.json_text import is_json, loads_record
from agenttune.values.trajectory import Json

# A .json object that has one of these is one record; without them, an object of objects or of lists is a table of records by name.
_FIELDS = {
    "id", "conversations", "conversation", "messages", "tools", "rounds", "steps", "system", "instruction", "input", "output",
    "query", "question", "answers", "prompt", "text",
}  # fmt: skip
_WHOLE = {"messages", "conversations", "conversation", "instruction", "message_id"}  # what has one of these is more than one message
# Names under which a file keeps lists of records, perhaps beside a word or a number about them.
_CONTAINERS = {
    "data", "rows", "records", "examples", "samples", "items", "instances", "train", "test", "dev", "valid", "validation", "eval",
}  # fmt: skip
_MAX_KEPT = 1 << 20  # bytes of a record that could not be parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record not yet understood: bytes of JSON (`raw`), or a `value` that is one already, or a `problem` that kept it from being read.

    `line` is the line of a ``.jsonl`` file, else the number of the record in its file; both count from 1. `table`: it is or was the row of
    a table, whose columns make nulls that nobody wrote.
    """

    file: str
    line: int
    raw: bytes = b""
    value: Json = None
    problem: Refusal | None = None
    table: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way to a worker as a plain tuple, which costs a quarter of what field by field does."""
        return _record, (self.file, self.line, self.raw, self.value, self.problem, self.table)


def _record(file: str, line: int, raw: bytes, value: Json, problem: Refusal | None, table: bool) -> RawRecord:
    return RawRecord(file=file, line=line, raw=raw, value=value, problem=problem, table=table)


def parse(record: RawRecord) -> Json:
    """The record as JSON data. Raises its problem, or `Refusal` with code ``json``, ``key_twice``, ``encoding`` or ``surrogate``."""
    if record.problem is not None:
        raise record.problem
    return loads_record(record.raw) if record.raw else record.value


def record_of(raw: RawRecord) -> Json:
    """What a reject keeps of a record: its data, or the first MiB of its text where it could not be parsed."""
    if raw.raw:
        return raw.raw[:_MAX_KEPT].decode("utf-8", "replace")
    return raw.value if raw.value is not None else ""


def text_records(name: str, kind: str, stream: IO[bytes]) -> Iterator[RawRecord]:
    """JSON text of either kind: what the first line holds decides, since many a ``.json`` file holds a record a line."""
    start, first = _first_line(stream, _SKIP)
    if kind in (".json", "stdin") and (found := _OPENS_ARRAY.match(first)):
        yield from _array(name, first[found.end() - 1 :], stream)
        return
    if len(first) == _SKIP and not first.endswith(b"\n"):
        first += stream.readline(LIMIT + 1 - len(first))
    if len(first) > LIMIT:
        yield from _lines(name, start, first, stream)  # too long to be a record: no copy of it is made
        return
    body = first.strip().removeprefix(b"\xef\xbb\xbf").lstrip()
    head = body + first[len(first.rstrip()) :]
    whole = kind == ".json"
    if not body:
        return
    if body == b"[":
        yield from _array(name, head, stream)
    elif whole and not is_json(body):
        yield from _object(name, _rest(head, stream))
    elif body == b"{":
        yield from _object_or_lines(name, start, _rest(head, stream), stream)
    elif whole:
        yield from _lines_or_object(name, start, body, stream)
    else:
        yield from _lines(name, start, first, stream)


_OPENS_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")
_SKIP = 1 << 20


def _first_line(stream: IO[bytes], limit: int) -> tuple[int, bytes]:
    """The first line that is not blank, or its first `limit` bytes, and its number."""
    number = 0
    while line := stream.readline(limit):
        number += 1
        if line.strip(b"\xef\xbb\xbf \t\r\n"):
            return number, line
    return number, b""


def _lines_or_object(name: str, number: int, body: bytes, stream: IO[bytes]) -> Iterator[RawRecord]:
    second, line = _first_line(stream, LIMIT + 1)
    if not line:
        yield from _object(name, body)
        return
    yield RawRecord(file=name, line=number, raw=body)
    yield from _lines(name, number + second, line, stream)


def _lines(name: str, number: int, line: bytes, stream: IO[bytes] | _Joined) -> Iterator[RawRecord]:
    """`line` is line `number`; blank lines are no records."""
    while line:
        if len(line) > LIMIT:
            yield RawRecord(file=name, line=number, problem=Refusal("size", TOO_LONG, line[:400].decode("utf-8", "replace")))
            while line and not line.endswith(b"\n"):
                line = stream.readline(_SKIP)
        elif body := line.strip():
            yield RawRecord(file=name, line=number, raw=body.removeprefix(b"\xef\xbb\xbf"))
        line = stream.readline(LIMIT + 1)
        number += 1


def _array(name: str, head: bytes, stream: IO[bytes]) -> Iterator[RawRecord]:
    """Each element is a record, unless the first is a message: then the whole array is one conversation, and one record."""
    found = elements(head, stream)
    first = next(found, None)
    if isinstance(first, bytes) and _is_message(first):
        yield _conversation(name, chain((first,), found))
        return
    for number, element in enumerate(found if first is None else chain((first,), found), 1):
        if isinstance(element, Refusal):
            yield RawRecord(file=name, line=number, problem=element)
        else:
            yield RawRecord(file=name, line=number, raw=element)


def _is_message(element: bytes) -> bool:
    try:
        value = loads_record(element)
    except Refusal:
        return False
    return _speaks(value) and any(key in value for key in ("content", "value", "parts", "tool_calls", "function_call"))


def _speaks(value: Json) -> bool:
    """Whether it is one message: it says who speaks, and holds no conversation of its own."""
    return isinstance(value, dict) and isinstance(value.get("role", value.get("from")), str) and not _WHOLE & value.keys()


def _conversation(name: str, found: Iterator[bytes | Refusal]) -> RawRecord:
    parts: list[bytes] = []
    size = 0
    for element in found:
        if isinstance(element, Refusal):
            return RawRecord(file=name, line=1, problem=element)
        size += len(element) + 1
        if size > LIMIT:
            return RawRecord(file=name, line=1, problem=Refusal("size", TOO_LONG, parts[0][:400].decode("utf-8", "replace")))
        parts.append(element)
    return RawRecord(file=name, line=1, raw=b"[" + b",".join(parts) + b"]")


def _rest(head: bytes, stream: IO[bytes]) -> bytes | bytearray:
    """All that is left, or as much of it as shows that it is too long."""
    body = bytearray(head)
    while len(body) <= LIMIT and (more := stream.read(_SKIP)):
        body += more
    return body if len(body) > LIMIT else bytes(body)


def _object_or_lines(name: str, number: int, body: bytes | bytearray, stream: IO[bytes]) -> Iterator[RawRecord]:
    """A file of lines whose first is a brace alone: one object over several lines, or a record a line of which the first is torn."""
    if len(body) <= LIMIT and is_json(bytes(body)):
        yield from _object(name, body)
    else:
        rest = _Joined(bytes(body), stream)
        yield from _lines(name, number, rest.readline(LIMIT + 1), rest)


class _Joined:
    """The lines of what was read already, then those of the stream it was read from."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = io.BytesIO(head), stream

    def readline(self, limit: int) -> bytes:
        line = self._head.readline(limit)
        return line if line.endswith(b"\n") or len(line) == limit else line + self._stream.readline(limit - len(line))


def _object(name: str, body: bytes | bytearray) -> Iterator[RawRecord]:
    if len(body) > LIMIT:
        sentence = f"{TOO_LONG}, and this file is one JSON object; write what it holds as JSONL, one record a line"
        yield RawRecord(file=name, line=1, problem=Refusal("size", sentence, body[:400].decode("utf-8", "replace")))
        return
    try:
        value = loads_record(bytes(body))
    except Refusal as problem:
        yield RawRecord(file=name, line=1, problem=problem)
        return
    for number, member in enumerate(_members(value), 1):
        yield RawRecord(file=name, line=number, value=member)


def _members(value: Json) -> Iterator[Json]:
    """The records of a whole ``.json`` file that is one object: itself, or those that it holds by name or in lists."""
    if not isinstance(value, dict) or not value or _FIELDS & value.keys():
        yield value
    elif len(value) == 1 and isinstance(inner := next(iter(value.values())), dict) and _CONTAINERS & value.keys():
        yield from _members(inner)
    elif all(isinstance(one, dict) for one in value.values()):
        yield from ({"id": key, **one} for key, one in value.items())
    elif all(_holds_records(one) for one in value.values()):
        for key, one in value.items():
            yield from _listed(key, one)
    elif lists := [(key, one) for key, one in value.items() if isinstance(one, dict | list)]:
        if all(key in _CONTAINERS and isinstance(one, list) and _holds_records(one) for key, one in lists):
            for key, one in lists:
                yield from _listed(key, list(one))
        else:
            yield value
    else:
        yield value


def _holds_records(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict | list)


def _listed(key: str, value: list[Json]) -> Iterator[Json]:
    """The records of a list under a name: each element, or the conversation that its messages are."""
    if value and _speaks(value[0]):
        yield {"id": key, "messages": value}
    else:
        yield from value
