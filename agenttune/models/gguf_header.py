"""The header of a GGUF file, walked before any library reads it: every length in it must lie within the file.

Libraries believe those lengths and count up to them; a header of some hundred bytes can name 2^60 values. The format is that of
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agenttune.errors import UserError

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value by its type's number
_WHOLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}  # struct's letters for whole numbers
_DIMENSIONS = 4
_LARGEST = 1 << 40  # elements of one tensor
_LEAST = 13  # bytes of a key and its value


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """The whole numbers of a file's header by key, and the names of its tensors."""

    numbers: dict[str, int] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """The layers that tensors are of, by their names (``blk.N.…``); N counts from 0."""
        found = [one.split(".")[1] for one in self.tensors if one.startswith("blk.")]
        return 1 + max((int(one) for one in found if one.isascii() and one.isdigit() and len(one) < 10), default=-1)


def read_header(file: Path) -> GgufHeader:
    """The header of a GGUF file. Raises `UserError` for what is none, or is cut, or names more than the file holds."""
    with open(file, "rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{file} is not a GGUF file")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Walk(data).header()
            except (struct.error, ValueError, OverflowError) as error:
                raise UserError(f"the header of the GGUF file {file} is damaged ({error}); get the file again") from error


class _Walk:
    """A place in the bytes of a header that moves on with what is read. Raises `ValueError` and `struct.error`."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 4

    def header(self) -> GgufHeader:
        version = self.number("I")
        if version & 0xFFFF == 0:
            raise ValueError("it is of a machine with the other byte order")
        if version not in (2, 3):
            raise ValueError(f"its version {version} is not known")
        tensors, keys = self.number("Q"), self.number("Q")
        numbers = dict(self.keys(self.bounded(keys, _LEAST)))
        return GgufHeader(numbers=numbers, tensors=tuple(self.tensor() for _ in range(self.bounded(tensors, 24))))

    def bytes(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, kind: str) -> int:
        """The next whole number."""
        found: int = struct.unpack(f"<{kind}", self.bytes(struct.calcsize(f"<{kind}")))[0]
        return found

    def bounded(self, count: int, size: int) -> int:
        """A count of things of at least `size` bytes, which must fit into what is left."""
        if count * size > len(self.data) - self.at:
            raise ValueError(f"it names {count} values where {len(self.data) - self.at} bytes are left")
        return count

    def text(self) -> str:
        """The next text."""
        return self.bytes(self.bounded(self.number("Q"), 1)).decode("utf-8")

    def keys(self, count: int) -> Iterator[tuple[str, int]]:
        """The keys whose values are whole numbers, and these."""
        seen: set[str] = set()
        for _ in range(count):
            key, kind = self.text(), self.number("I")
            if key in seen:
                raise ValueError(f"the key {key[:100]} stands twice")
            seen.add(key)
            if kind in _WHOLE:
                yield key, self.number(_WHOLE[kind])
            else:
                self.skip(kind)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Passes a value."""
        if kind == _STRING:
            self.bytes(self.bounded(self.number("Q"), 1))
        elif kind == _ARRAY and depth < 2:
            inner, count = self.number("I"), self.number("Q")
            if inner in _SIZES:
                self.bytes(self.bounded(count, _SIZES[inner]) * _SIZES[inner])
            else:
                for _ in range(self.bounded(count, 8)):
                    self.skip(inner, depth + 1)
        elif kind in _SIZES:
            self.bytes(_SIZES[kind])
        else:
            raise ValueError(f"a value has the unknown type {kind}")

    def tensor(self) -> str:
        """The name of the next tensor."""
        name, dimensions = self.text(), self.number("I")
        if dimensions > _DIMENSIONS:
            raise ValueError(f"the tensor {name[:100]} has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self.number("Q")
        if elements > _LARGEST:
            raise ValueError(f"the tensor {name[:100]} has {elements} elements")
        self.bytes(12)  # its type, and where its data begins
        return name
