"""Which conversations say and do what an earlier one does, or have its id, in memory that grows by some thirty bytes a conversation."""

from __future__ import annotations

import os
import struct
import tempfile
from array import array
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from agenttune.data.convert.converted import Converted, digest
from agenttune.data.quality.finding import Finding, finding, refuse
from agenttune.errors import Refusal
from agenttune.sources.reading.records import RawRecord

_HEAD = 200  # bytes of a line that a finding shows
_ENTRY = struct.Struct("<32sIQ")  # digest, number of the file's name, line
_PENDING = 1 << 16


class Duplicates:
    """All that was converted so far, by content and by id. A context manager: what it keeps on disk goes when it is left."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._stack = ExitStack()
        self._contents = self._stack.enter_context(DigestIndex())
        self._ids = self._stack.enter_context(DigestIndex())

    def __enter__(self) -> Duplicates:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def marked(self, record: RawRecord, one: Converted) -> Converted:
        """The conversation with what is found added to its findings, and refused for that under strict."""
        found = self._found(record, one) if one.refusal is None else []
        if not found:
            return one
        try:
            refuse(found, strict=self._strict)
            refusal = None
        except Refusal as reason:
            refusal = reason
        placed = [replace(each, file=record.file, line=record.line, id=one.id) for each in found]
        return replace(one, findings=(*one.findings, *placed), refusal=refusal)

    def _found(self, record: RawRecord, one: Converted) -> list[Finding]:
        found = []
        if earlier := self._contents.first(one.digest, record.file, record.line):
            head = one.line[:_HEAD].decode("utf-8", "replace")
            found.append(finding("duplicate_content", f"{earlier[0]}:{earlier[1]} says and does the same", head))
        if one.id and (earlier := self._ids.first(digest(one.id.encode("utf-8", "replace")), record.file, record.line)):
            found.append(finding("duplicate_id", f"{earlier[0]}:{earlier[1]} has the same id", one.id))
        return found


class DigestIndex:
    """Which digests were seen before, and where first.

    An open-addressing table from the first eight bytes of a digest to an entry on disk, which holds all 32 and where they stood.
    Twelve bytes of memory a slot, between one and a half and three slots a record. The entries are read again whenever eight bytes
    agree, so two contents are never taken for one. It is a context manager: the file, which has no name, goes when it is left.
    """

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed by __exit__)
        self._pending = bytearray()
        self._written = 0
        self._names: dict[str, int] = {}
        self._make(1 << 12)

    def __enter__(self) -> DigestIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def _make(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", bytes(8 * size))
        self._entries = array("I", bytes(4 * size))  # 0: the slot is free; else one more than the entry's number

    def first(self, digest: bytes, file: str, line: int) -> tuple[str, int] | None:
        """Where this digest of 32 bytes was first seen; None where it is new, and then it is kept as standing at this place."""
        key = int.from_bytes(digest[:8], "little")
        slot = key & self._mask
        while entry := self._entries[slot]:
            if self._keys[slot] == key:
                found, name, place = self._read(entry - 1)
                if found == digest:
                    return self._name(name), place
            slot = (slot + 1) & self._mask
        self._keep(digest, file, line)
        self._keys[slot], self._entries[slot] = key, self.count
        if 3 * self.count > 2 * self._mask:
            self._grow()
        return None

    def _keep(self, digest: bytes, file: str, line: int) -> None:
        self.count += 1
        self._pending += _ENTRY.pack(digest, self._names.setdefault(file, len(self._names)), line)
        if len(self._pending) >= _PENDING:
            self._write()

    def _write(self) -> None:
        view = memoryview(self._pending)
        while view:
            view = view[os.write(self._file.fileno(), view) :]
        self._written += len(self._pending)
        self._pending = bytearray()

    def _read(self, number: int) -> tuple[bytes, int, int]:
        at = number * _ENTRY.size
        if at >= self._written:
            return _ENTRY.unpack_from(self._pending, at - self._written)
        return _ENTRY.unpack(os.pread(self._file.fileno(), _ENTRY.size, at))

    def _name(self, number: int) -> str:
        return next(name for name, known in self._names.items() if known == number)

    def _grow(self) -> None:
        keys, entries = self._keys, self._entries
        self._make(2 * (self._mask + 1))
        for key, entry in zip(keys, entries, strict=True):
            if entry:
                slot = key & self._mask
                while self._entries[slot]:
                    slot = (slot + 1) & self._mask
                self._keys[slot], self._entries[slot] = key, entry
