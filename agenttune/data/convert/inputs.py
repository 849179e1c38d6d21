"""Every raw record of a conversion, in order, with the name of the source that reads it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from agenttune import sources
from agenttune.data.convert.options import Shard
from agenttune.data.convert.report import Detected, FileReport
from agenttune.errors import Refusal, UserError
from agenttune.files import file_hash
from agenttune.sources.reading import files
from agenttune.sources.reading.records import RawRecord, parse

AUTO = "auto"
_PEEKED = 16  # records of a file that `auto` looks at
NamedRecord = tuple[str, RawRecord]  # the name of its source, and the record


class NamedRecords:
    """The records of all inputs, or of one shard of them. Iterating tells which source `auto` took for each file."""

    def __init__(self, inputs: Sequence[files.Input], source: str, shard: Shard | None, on_detected: Callable[[Detected], None]) -> None:
        self.inputs = inputs
        self.detected: list[Detected] = []
        self.proportion = 1.0  # of all records, in this shard; known once iteration has begun
        self._source = source
        self._shard = shard
        self._on_detected = on_detected
        self._read: Counter[str] = Counter()
        self._bytes = files.size_of(inputs)

    def __iter__(self) -> Iterator[NamedRecord]:
        start, end = self._range()
        number = 0
        for one in self.inputs:
            name, records = self._named(one)
            for record in records:
                if start <= number < end:
                    self._read[one.name] += 1
                    yield name, record
                number += 1
                if number >= end:
                    return

    def reports(self) -> tuple[FileReport, ...]:
        """Each input with the number of its records that were read, its size and its hash."""
        return tuple(self._report(one) for one in self.inputs)

    def size(self) -> int | None:
        """Bytes to read in all; None where that cannot be known."""
        return None if self._bytes is None else round(self._bytes * self.proportion)

    def _named(self, one: files.Input) -> tuple[str, Iterator[RawRecord]]:
        records = files.read(one)
        if self._source != AUTO:
            return self._source, records
        peeked = list(islice(records, _PEEKED))
        name, problem = self._detect(one, peeked)
        every = chain(peeked, records)
        return name, (replace(record, problem=record.problem or problem) for record in every) if problem else every

    def _range(self) -> tuple[int, float]:
        """The records of this run, from and to: all, or a shard's run of them, for which all are counted first."""
        if self._shard is None:
            return 0, math.inf
        count = sum(1 for one in self.inputs for _ in files.read(one))
        if not count:
            raise UserError(f"{self.names()} holds no record")
        start, end = self._shard.range(count)
        self.proportion = (end - start) / count
        return start, end

    def names(self) -> str:
        """The inputs as a sentence names them."""
        return ", ".join(one.name for one in self.inputs)

    def _detect(self, one: files.Input, peeked: Sequence[RawRecord]) -> tuple[str, Refusal | None]:
        """The source of a file. Where none knows it, its records are refused, or, where there is no other file, this raises `UserError`."""
        values, problems = [], []
        for record in peeked:
            try:
                values.append(parse(record))
            except Refusal as problem:
                problems.append(f"line {record.line}: {problem.sentence}")  # it is counted when its turn comes
        if not values:
            return ("trajectory", None) if not peeked else self._unknown(one, f"none of its first records can be read ({problems[0]})")
        try:
            name, reason = sources.detect_among(values)
        except UserError as error:
            return self._unknown(one, str(error))
        self.detected.append(Detected(file=one.name, source=name, reason=reason))
        self._on_detected(self.detected[-1])
        return name, None

    def _unknown(self, one: files.Input, why: str) -> tuple[str, Refusal]:
        if len(self.inputs) == 1:
            raise UserError(f"cannot tell the source of {one.name}: {why}")
        return "trajectory", Refusal("unknown_source", f"cannot tell the source of this file: {why}")

    def _report(self, one: files.Input) -> FileReport:
        if one.path is None or one.once:
            return FileReport(name=one.name, records=self._read[one.name])
        return FileReport(name=one.name, records=self._read[one.name], bytes=one.path.stat().st_size, sha256=file_hash(one.path))
