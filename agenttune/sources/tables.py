"""Rows of Parquet files and of data sets on the hub, as raw records."""

from __future__ import annotations

import contextlib
import datetime
import logging
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from agenttune.errors import Refusal, UserError
from agenttune.sources.files import RawRecord
from agenttune.values.trajectory import Json

_ROWS = 512


def parquet_rows(name: str, stream: IO[bytes], *, packed: bool) -> Iterator[RawRecord]:
    """The rows of a Parquet file, batch by batch. A packed one is unpacked into a temporary file first, since its index is at its end."""
    import pyarrow
    import pyarrow.parquet

    with tempfile.TemporaryFile() as copy:
        if packed:
            shutil.copyfileobj(stream, copy)
        number = 0
        try:
            for batch in pyarrow.parquet.ParquetFile(copy if packed else stream).iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _row(name, number, row)
        except (pyarrow.ArrowException, OSError) as error:
            sentence = f"the Parquet file cannot be read from here on: {error}"
            yield RawRecord(file=name, line=number + 1, problem=Refusal("file", sentence))


def hub_rows(name: str) -> Iterator[RawRecord]:
    """The rows of ``hf:org/name[:split]``, streamed; without a split, of every split in turn. Raises `UserError`."""
    for split, rows in _splits(name):
        yield from _rows(f"{name}:{split}" if split else name, rows)


def _rows(name: str, rows: Any) -> Iterator[RawRecord]:
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield _row(name, number, row)
    except Exception as error:  # the network can go at any row, with an error of any of the libraries below
        sentence = f"the data set cannot be read from here on: {type(error).__name__}: {error}"
        yield RawRecord(file=name, line=number + 1, problem=Refusal("file", sentence))


def _splits(name: str) -> list[tuple[str, Any]]:
    repository, _, split = name.removeprefix("hf:").partition(":")
    try:
        import datasets

        with _hushed():
            loaded = datasets.load_dataset(repository, split=split or None, streaming=True)
    except Exception as error:  # the library raises its own, the hub's, the network's and the file system's errors
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise UserError(f"cannot load {name} from the hub ({why}); download its files and name them instead") from error
    return [("", loaded)] if split else list(loaded.items())


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """The hub's library says a line for each of its attempts; one sentence at the end of them is enough."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _row(name: str, number: int, row: Any) -> RawRecord:
    try:
        return RawRecord(file=name, line=number, value=_plain(row))
    except Refusal as problem:
        return RawRecord(file=name, line=number, problem=problem)


def _plain(value: Any) -> Json:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Refusal("json", f"a column holds a {type(value).__name__}, which is not JSON data")
