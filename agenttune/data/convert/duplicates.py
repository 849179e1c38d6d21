"""Marks a conversation that says and does what an earlier one does, or that has its id."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from agenttune.data.convert.converted import Part, digest
from agenttune.data.convert.seen import Seen
from agenttune.data.quality import doctor
from agenttune.errors import Refusal
from agenttune.sources.reading.records import RawRecord


class Duplicates:
    """All that was converted so far, by content and by id. A context manager: what it keeps on disk goes when it is left."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._stack = ExitStack()
        self._contents = self._stack.enter_context(Seen())
        self._ids = self._stack.enter_context(Seen())

    def __enter__(self) -> Duplicates:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def mark(self, record: RawRecord, part: Part) -> None:
        """Adds what is found to the part's findings; under strict it is refused for that."""
        if part.refusal is not None:
            return
        known = []
        if earlier := self._contents.first(part.digest, record.file, record.line):
            known.append(doctor.finding("duplicate_content", f"{earlier[0]}:{earlier[1]} says and does the same", _head(part.line)))
        if part.id and (earlier := self._ids.first(digest(part.id.encode("utf-8", "replace")), record.file, record.line)):
            known.append(doctor.finding("duplicate_id", f"{earlier[0]}:{earlier[1]} has the same id", part.id))
        if not known:
            return
        part.findings += [replace(one, file=record.file, line=record.line, id=part.id) for one in known]
        try:
            doctor.refuse(known, strict=self._strict)
        except Refusal as refusal:
            part.refusal = refusal


def _head(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace")
