"""Which contents were seen before: eight bytes of each in memory find it, and what lies on disk decides."""

from __future__ import annotations

import os
import struct
import tempfile
from array import array
from types import TracebackType

_ENTRY = struct.Struct("<32sIQ")  # digest, number of the file's name, line
_PENDING = 1 << 16
Place = tuple[str, int]


class Seen:
    """An open-addressing table from the first eight bytes of a digest to an entry on disk, which holds all 32 and where they stood.

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

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def _make(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", bytes(8 * size))
        self._entries = array("I", bytes(4 * size))  # 0: the slot is free; else one more than the entry's number

    def first(self, digest: bytes, file: str, line: int) -> Place | None:
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
