"""A record of any length costs no more memory than the longest one that is read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GOOD = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}).encode()
LENGTH = 300 << 20  # bytes once unpacked
PROVED = 10 << 30 if os.environ.get("AGENTTUNE_PROVE") else LENGTH  # the same in one of the cases
PEAK = 300  # MB
RUN = r"""
import json, pathlib, re, sys
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
report = convert("openai", [sys.argv[1]], None, options=ConvertOptions(check=True))
peak = re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1]  # ru_maxrss begins at what the parent had
print(json.dumps([report.samples, report.reasons, int(peak) // 1000]))
"""


def long_record(length: int) -> Iterator[bytes]:
    yield b'{"messages": [{"role": "user", "content": "'
    for _ in range(length >> 20):
        yield b"a" * (1 << 20)
    yield b'"}]}'


def shapes() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Name → what stands before the long record, between it and a good one, and at the end."""
    return {"a.jsonl": (GOOD + b"\n", b"\n", b"\n"), "b.json": (b"[" + GOOD + b",", b",", b"]"), "c.jsonl": (b"", b"\n", b"\n")}


def packed(path: Path, kind: str, parts: Iterator[bytes]) -> None:
    if kind == ".gz":
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.writelines(parts)
    else:
        import zstandard

        with open(path, "wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as file:
            for part in parts:
                file.write(part)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".gz", ".zst"])
@pytest.mark.parametrize("shape", list(shapes()))
def test_a_record_that_is_too_long_is_refused_without_being_held(tmp_path: Path, shape: str, kind: str) -> None:
    before, between, after = shapes()[shape]
    length = PROVED if (shape, kind) == ("a.jsonl", ".zst") else LENGTH

    def parts() -> Iterator[bytes]:
        yield before
        yield from long_record(length)
        yield between + GOOD + after

    path = tmp_path / (shape + kind)
    packed(path, kind, parts())
    done = subprocess.run([sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    samples, reasons, peak = json.loads(done.stdout)
    print(f"{shape}{kind}: a record of {length >> 20:,} MiB, peak {peak} MB")
    assert (samples, reasons) == (1 + bool(before.strip(b"[")), {"size": 1})
    assert peak < PEAK


@pytest.mark.slow
def test_a_file_that_is_one_too_long_object_is_a_reject_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    packed(path, ".gz", iter([b"{\n", *long_record(LENGTH), b"\n"]))
    done = subprocess.run([sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    samples, reasons, peak = json.loads(done.stdout)
    assert (samples, reasons) == (0, {"size": 1})
    assert peak < PEAK
