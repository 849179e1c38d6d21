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
from agenttune.sources.reading.json_array import LIMIT, TOO_LONG
from agenttune.sources.reading.records import RawRecord
from agenttune.values.trajectory import Json

_ROWS = 512  # of one batch
_BUFFER = 1 << 20  # bytes of a column that are read at once; without it all of a row group is


def parquet_rows(name: str, stream: IO[bytes], *, packed: bool) -> Iterator[RawRecord]:
    """The rows of a Parquet file, batch by batch. A packed one is unpacked into a temporary file first, since its index is at its end.

    A row beyond the limit of a record is a `Refusal` and never becomes Python objects. What pyarrow holds of it is one batch: as many rows
    as their mean size in the file lets be read at once.
    """
    import pyarrow
    import pyarrow.parquet

    with tempfile.TemporaryFile() as copy:
        if packed:
            shutil.copyfileobj(stream, copy)
        number = 0
        try:
            file = pyarrow.parquet.ParquetFile(copy if packed else stream, buffer_size=_BUFFER)
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=_batch(file.metadata.row_group(group)), row_groups=[group], use_threads=False):
                    for row in _within(batch):
                        number += 1
                        yield _row(name, number, row) if not isinstance(row, Refusal) else RawRecord(file=name, line=number, problem=row)
        except (pyarrow.ArrowException, OSError) as error:
            sentence = f"the Parquet file cannot be read from here on: {error}"
            yield RawRecord(file=name, line=number + 1, problem=Refusal("file", sentence))


def _batch(group: Any) -> int:
    """How many rows of a row group are read at once."""
    mean: int = group.total_byte_size // max(group.num_rows, 1)
    return max(1, min(_ROWS, LIMIT // max(mean, 1)))


def _within(batch: Any) -> Iterator[Any]:
    """The rows of a batch as Python objects; a `Refusal` in the place of one that is too long."""
    if batch.nbytes <= LIMIT:
        yield from batch.to_pylist()
        return
    for at in range(batch.num_rows):
        row = batch.slice(at, 1)
        if row.nbytes <= LIMIT:
            yield from row.to_pylist()
        else:
            columns = ", ".join(f"{name}: {column.nbytes:,} bytes" for name, column in zip(row.schema.names, row.columns, strict=True))
            yield Refusal("size", TOO_LONG, columns[:400])


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
        return RawRecord(file=name, line=number, value=_plain(row), table=True)
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
