"""Which 16-byte digests were seen before, in 32 bytes of memory for each."""

from __future__ import annotations

from array import array


class Seen:
    """An open-addressing table from a digest to the number of its first record. Eight bytes find the slot, all sixteen must agree."""

    def __init__(self) -> None:
        self.count = 0
        self._make(1 << 12)

    def _make(self, size: int) -> None:
        self.mask = size - 1
        self.high, self.low = array("Q", bytes(8 * size)), array("Q", bytes(8 * size))
        self.number = array("Q", bytes(8 * size))  # 0: the slot is free

    def first(self, digest: bytes, number: int) -> int:
        """The number (from 1) of the first record with this digest: an earlier one if it was seen, else `number`, which is kept."""
        high, low = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")
        if 2 * self.count >= self.mask:
            self._grow()
        slot = self._slot(high, low)
        if self.number[slot]:
            return self.number[slot]
        self.high[slot], self.low[slot], self.number[slot] = high, low, number
        self.count += 1
        return number

    def _slot(self, high: int, low: int) -> int:
        slot = high & self.mask
        while self.number[slot] and (self.high[slot] != high or self.low[slot] != low):
            slot = (slot + 1) & self.mask
        return slot

    def _grow(self) -> None:
        old = self.high, self.low, self.number
        self._make(2 * (self.mask + 1))
        for high, low, number in zip(*old, strict=True):
            if number:
                slot = self._slot(high, low)
                self.high[slot], self.low[slot], self.number[slot] = high, low, number
