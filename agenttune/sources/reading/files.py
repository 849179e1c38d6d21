"""The files, folders and data sets that a person names, opened one after the other, as raw records."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from agenttune.errors import Refusal, UserError
from agenttune.sources.reading.column_nulls import looks_like_table
from agenttune.sources.reading.compression import BROKEN, opened
from agenttune.sources.reading.records import RawRecord, parse, text_records
from agenttune.values.trajectory import Json

KINDS = (".jsonl", ".ndjson", ".json", ".parquet", ".traj")
_TRAJ = ".traj"  # SWE-agent's name for a JSON file
PACKED = (".gz", ".zst")
_PEEKED, _PEEKED_BYTES = 16, 1 << 20  # records of a file, and what they hold, that show whether it was a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing to read: the name a person sees, its path (None for stdin and the hub), what it holds and how it is packed.

    `once`: it can be read only once (a named pipe, ``<(zcat x.gz)``).
    """

    name: str
    path: Path | None = None
    kind: str = ".jsonl"
    packed: str = ""
    once: bool = False


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
    elif path.exists() and not path.is_file():
        kind = _kind(path) or ("stdin", "")
        yield Input(name=str(path), path=path, kind=kind[0], packed=kind[1], once=True)
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
    return (".json" if kind == _TRAJ else kind, packed) if kind in KINDS else None


def _file(path: Path) -> Input:
    kind = _kind(path)
    if kind is None:
        raise UserError(f"{path} is no {', '.join(KINDS)} file (each may also end in {' or '.join(PACKED)})")
    return Input(name=str(path), path=path, kind=kind[0], packed=kind[1])


def read(source: Input) -> Iterator[RawRecord]:
    """Every record of an input, in order; one that cannot be read has a `problem`. Raises `UserError` if the input cannot be opened."""
    number = 0
    try:
        table = _was_table(source)
        for record in _read(source):
            number = record.line
            yield replace(record, table=True) if table else record
    except BROKEN as error:
        if number == 0 and isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {source.name}: {error.strerror or error}") from error
        sentence = f"the file cannot be read from here on: {error}"
        yield RawRecord(file=source.name, line=number + 1, problem=Refusal("file", sentence))


def _was_table(source: Input) -> bool:
    """Whether the first records of a text file look as if a table had been written out."""
    if source.path is None or source.once or source.kind == ".parquet":
        return False
    values: list[Json] = []
    left = _PEEKED_BYTES
    try:
        for record in islice(_read(source), _PEEKED):
            left -= len(record.raw)
            if left < 0:
                break
            with contextlib.suppress(Refusal):  # it is counted when its turn comes
                values.append(parse(record))
    except BROKEN:
        return False  # reading on will tell
    return looks_like_table(values)


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
            yield from text_records(source.name, source.kind, stream)


def size_of(inputs: Sequence[Input]) -> int | None:
    """Bytes to read in all, None where that cannot be known (stdin, pipes, the hub, packed files)."""
    if any(one.path is None or one.once or one.packed or one.kind == ".parquet" for one in inputs):
        return None
    return sum(one.path.stat().st_size for one in inputs if one.path)


def check_mapping(value: Json, what: str) -> Mapping[str, str]:
    """A JSON object of texts, such as a file of system prompts. Raises `UserError`."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UserError(f"{what} must hold one JSON object that maps names to texts")
    return value
