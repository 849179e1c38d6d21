"""Raw records out of files of many kinds, one at a time, each with the place where it stood."""

from __future__ import annotations

import glob
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from agenttune.errors import Refusal, UserError
from agenttune.sources.reading.compression import BROKEN, opened
from agenttune.sources.reading.json_array import LIMIT, TOO_LONG, elements
from agenttune.values.trajectory import Json

KINDS = (".jsonl", ".ndjson", ".json", ".parquet")
PACKED = (".gz", ".zst")
# A .json object that has one of these is one record; without them, an object of objects or of lists is a table of records by name.
_FIELDS = {
    "id", "conversations", "conversation", "messages", "tools", "rounds", "steps", "system", "instruction", "input", "output",
    "query", "question", "answers", "prompt", "text",
}  # fmt: skip
# orjson turns integers beyond 64 bits into floats: a line with 19 digits in a row is read by the slower parser.
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_BIG = b"0" * 19
_KEY = b'":'
_QUOTED_KEY = b'\\":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing to read: the name a person sees, its path (None for stdin and the hub), what it holds and how it is packed."""

    name: str
    path: Path | None = None
    kind: str = ".jsonl"
    packed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record not yet understood: bytes of JSON (`raw`), or a `value` that is one already, or a `problem` that kept it from being read.

    `line` is the line of a ``.jsonl`` file, else the number of the record in its file; both count from 1.
    """

    file: str
    line: int
    raw: bytes = b""
    value: Json = None
    problem: Refusal | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way to a worker as a plain tuple, which costs a quarter of what field by field does."""
        return _record, (self.file, self.line, self.raw, self.value, self.problem)


def _record(file: str, line: int, raw: bytes, value: Json, problem: Refusal | None) -> RawRecord:
    return RawRecord(file=file, line=line, raw=raw, value=value, problem=problem)


def expand(inputs: Sequence[str]) -> list[Input]:
    """Files, globs, folders, ``-`` and ``hf:org/name[:split]`` as single inputs, in order, each file once. Raises `UserError`."""
    found: dict[str, Input] = {}
    for given in inputs:
        for one in _expand(str(given)):
            found.setdefault(str(one.path.resolve()) if one.path else one.name, one)
    if not found:
        raise UserError("nothing to read: name at least one file, folder, glob, - or hf:org/name")
    return list(found.values())


def _expand(given: str) -> Iterator[Input]:
    path = Path(given)
    if given == "-":
        yield Input(name="stdin", kind="stdin")
    elif given.startswith("hf:"):
        yield Input(name=given, kind="hub")
    elif path.is_dir():
        yield from _folder(path)
    elif path.exists():
        yield _file(path)
    elif glob.has_magic(given):
        matches = sorted(one for one in glob.glob(given, recursive=True) if Path(one).is_file())
        if not matches:
            raise UserError(f"no file matches {given}")
        yield from (_file(Path(one)) for one in matches)
    else:
        raise UserError(f"there is no file {given}")


def _folder(folder: Path) -> Iterator[Input]:
    inner = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    files = [_file(path) for path in inner if _kind(path) is not None]
    if not files:
        raise UserError(f"the folder {folder} holds no {', '.join(KINDS)} file")
    yield from files


def _kind(path: Path) -> tuple[str, str] | None:
    packed = path.suffix.lower() if path.suffix.lower() in PACKED else ""
    kind = path.with_suffix("").suffix.lower() if packed else path.suffix.lower()
    return (kind, packed) if kind in KINDS else None


def _file(path: Path) -> Input:
    kind = _kind(path)
    if kind is None:
        raise UserError(f"{path} is no {', '.join(KINDS)} file (each may also end in {' or '.join(PACKED)})")
    return Input(name=str(path), path=path, kind=kind[0], packed=kind[1])


def read(source: Input) -> Iterator[RawRecord]:
    """Every record of an input, in order; one that cannot be read has a `problem`. Raises `UserError` if the input cannot be opened."""
    number = 0
    try:
        for record in _read(source):
            number = record.line
            yield record
    except BROKEN as error:
        if number == 0 and isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {source.name}: {error.strerror or error}") from error
        sentence = f"the file cannot be read from here on: {error}"
        yield RawRecord(file=source.name, line=number + 1, problem=Refusal("file", sentence))


def _read(source: Input) -> Iterator[RawRecord]:
    if source.kind == "hub":
        from agenttune.sources.reading import tables

        yield from tables.hub_rows(source.name)
        return
    with opened(source.path, source.packed) as stream:
        if source.kind == ".parquet":
            from agenttune.sources.reading import tables

            yield from tables.parquet_rows(source.name, stream, packed=bool(source.packed))
        else:
            yield from _text(source, stream)


def _text(source: Input, stream: IO[bytes]) -> Iterator[RawRecord]:
    """JSON text of either kind: what the first line holds decides, since many a ``.json`` file holds a record a line."""
    start, first = _first_line(stream, _SKIP)
    if source.kind in (".json", "stdin") and (found := _OPENS_ARRAY.match(first)):
        yield from _array(source.name, first[found.end() - 1 :], stream)
        return
    if len(first) == _SKIP and not first.endswith(b"\n"):
        first += stream.readline(LIMIT + 1 - len(first))
    if len(first) > LIMIT:
        yield from _lines(source.name, start, first, stream)  # too long to be a record: no copy of it is made
        return
    body = first.strip().removeprefix(b"\xef\xbb\xbf").lstrip()
    head = body + first[len(first.rstrip()) :]
    whole = source.kind == ".json"
    if not body:
        return
    if body == b"[":
        yield from _array(source.name, head, stream)
    elif whole and not _is_json(body):
        yield from _object(source.name, _rest(head, stream))
    elif body == b"{":
        yield from _object_or_lines(source.name, start, _rest(head, stream), stream)
    elif whole:
        yield from _lines_or_object(source.name, start, body, stream)
    else:
        yield from _lines(source.name, start, first, stream)


_OPENS_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")
_SKIP = 1 << 20
_MAX_KEPT = 1 << 20


def _first_line(stream: IO[bytes], limit: int) -> tuple[int, bytes]:
    """The first line that is not blank, or its first `limit` bytes, and its number."""
    number = 0
    while line := stream.readline(limit):
        number += 1
        if line.strip(b"\xef\xbb\xbf \t\r\n"):
            return number, line
    return number, b""


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return _is_slow_json(body)
    return True


def _is_slow_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


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
    for number, element in enumerate(elements(head, stream), 1):
        if isinstance(element, Refusal):
            yield RawRecord(file=name, line=number, problem=element)
        else:
            yield RawRecord(file=name, line=number, raw=element)


def _rest(head: bytes, stream: IO[bytes]) -> bytes | bytearray:
    """All that is left, or as much of it as shows that it is too long."""
    body = bytearray(head)
    while len(body) <= LIMIT and (more := stream.read(_SKIP)):
        body += more
    return body if len(body) > LIMIT else bytes(body)


def _object_or_lines(name: str, number: int, body: bytes | bytearray, stream: IO[bytes]) -> Iterator[RawRecord]:
    """A file of lines whose first is a brace alone: one object over several lines, or a record a line of which the first is torn."""
    if len(body) <= LIMIT and _is_json(bytes(body)):
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
        value = parse(RawRecord(file=name, line=1, raw=bytes(body)))
    except Refusal as problem:
        yield RawRecord(file=name, line=1, problem=problem)
        return
    for number, member in enumerate(_members(value), 1):
        yield RawRecord(file=name, line=number, value=member)


def _members(value: Json) -> Iterator[Json]:
    """The records of a whole ``.json`` file that is one object."""
    table = isinstance(value, dict) and len(value) > 0 and not _FIELDS & value.keys()
    if table and all(isinstance(one, dict) for one in value.values()):
        yield from ({"id": key, **one} for key, one in value.items())
    elif table and all(isinstance(one, list) and one and isinstance(one[0], dict) for one in value.values()):
        yield from ({"id": key, "messages": one} for key, one in value.items())
    else:
        yield value


def parse(record: RawRecord) -> Json:
    """The record as JSON data. Raises its problem, or `Refusal` with code ``json``, ``key_twice``, ``encoding`` or ``surrogate``."""
    if record.problem is not None:
        raise record.problem
    if not record.raw:
        return record.value
    try:
        value = orjson.loads(record.raw)
    except orjson.JSONDecodeError:
        return _parse_slowly(record.raw)  # which also reads NaN and 1,000 levels of nesting, and names half of a surrogate pair
    plain = _is_plain(value)
    if (plain or _BIG not in record.raw.translate(_DIGITS)) and _has_all_keys(value, record.raw, plain=plain):
        return value
    return _parse_slowly(record.raw)


def _has_all_keys(value: Json, raw: bytes, *, plain: bool) -> bool:
    """Whether as many keys came out as went in: of two values under one key the fast parser keeps the last, in silence."""
    if plain and len(value) <= _FEW and _spelled(value, raw) == raw:
        return True  # what came out, written again, is what went in
    if b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw:
        return False  # a key whose end is spelled otherwise would make up for one that is lost
    if plain and b'\\\\"' not in raw and raw.count(_KEY) - raw.count(_QUOTED_KEY) == len(value):
        return True  # no text ends in a backslash, so a bare quote before a colon ends a key or begins a text: no key is lost
    if b"\\u0022" in raw:
        return False
    try:
        return orjson.dumps(value).count(_KEY) == raw.count(_KEY)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        return False


_FEW = 16  # fields of an object that is written again


def _spelled(value: dict[str, Json], raw: bytes) -> bytes:
    """The object as most programs write it, with blanks or without, whichever stands in `raw` behind the first key."""
    end = 1 + len(orjson.dumps(next(iter(value), "")))
    colon, comma = (b": ", b", ") if raw[end : end + 2] == b": " else (b":", b",")
    return b"{" + comma.join([orjson.dumps(key) + colon + orjson.dumps(one) for key, one in value.items()]) + b"}"


_PLAIN = frozenset((str, int, bool, type(None)))


def _is_plain(value: Json) -> bool:
    """An object without objects, lists or floats in it: no integer of it has become a float."""
    return isinstance(value, dict) and _PLAIN.issuperset(map(type, value.values()))


def _parse_slowly(raw: bytes) -> Json:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("encoding", f"not UTF-8 text (byte {error.start})", raw[:400].decode("utf-8", "replace")) from error
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise Refusal("json", "the JSON is nested too deeply", text) from error
    except UnicodeEncodeError as error:
        raise Refusal("surrogate", "a text holds half of a surrogate pair, which no UTF-8 file can hold", text) from error
    except ValueError as error:
        raise Refusal("json", f"not JSON: {error}", text) from error
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise Refusal("key_twice", "an object has one key twice", str(pairs)[:400])
    return value


def record_of(raw: RawRecord) -> Json:
    """What a reject keeps of a record: its data, or the first MiB of its text where it could not be parsed."""
    if raw.raw:
        return raw.raw[:_MAX_KEPT].decode("utf-8", "replace")
    return raw.value if raw.value is not None else ""


def size_of(inputs: Sequence[Input]) -> int | None:
    """Bytes to read in all, None where that cannot be known (stdin, the hub, packed files)."""
    if any(one.path is None or one.packed or one.kind == ".parquet" for one in inputs):
        return None
    return sum(one.path.stat().st_size for one in inputs if one.path)


def check_mapping(value: Json, what: str) -> Mapping[str, str]:
    """A JSON object of texts, such as a file of system prompts. Raises `UserError`."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UserError(f"{what} must hold one JSON object that maps names to texts")
    return value
