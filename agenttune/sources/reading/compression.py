"""Byte streams of plain, gzip and Zstandard files, and of standard input."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from agenttune.errors import UserError


class Damaged(Exception):
    """A packed file cannot be unpacked from here on."""


# Everything that reading on in an opened file may raise: cut short, bad checksum, disk error.
BROKEN = (Damaged, OSError, EOFError, zlib.error)


@contextlib.contextmanager
def opened(path: Path | None, packed: str) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file (`packed`: ``""``, ``".gz"`` or ``".zst"``), or of standard input where `path` is None."""
    if path is None:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        if packed == ".gz":
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file))
        elif packed == ".zst":
            yield io.BufferedReader(_Frames(_zstandard(path), file), 1 << 20)
        else:
            yield file


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UserError(f"reading {path} needs zstandard: pip install zstandard") from error
    return zstandard


class _Frames(io.RawIOBase):
    """Decompressed Zstandard frames. The library's own stream reader takes a file that is cut short for a whole one; this one does not."""

    def __init__(self, library: Any, file: IO[bytes]) -> None:
        super().__init__()
        self.library, self.file = library, file
        self.frame: Any = None  # the decoder of the frame under way
        self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            packed = self.file.read(1 << 10)  # a few bytes can unpack to 128 KiB, and all of that is held
            if not packed:
                if self.frame is not None:
                    raise Damaged("it is cut short")
                return 0
            self.ready = self._unpacked(packed)
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def _unpacked(self, packed: bytes) -> bytes:
        out = []
        while packed:
            self.frame = self.frame or self.library.ZstdDecompressor().decompressobj()
            try:
                out.append(self.frame.decompress(packed))
            except self.library.ZstdError as error:
                raise Damaged(str(error)) from error
            packed = self.frame.unused_data if self.frame.eof else b""
            if self.frame.eof:
                self.frame = None
        return b"".join(out)
