"""Damage through the door: whatever is done to a line, it goes out as samples or as rejects. No crash, no hang, no lost line."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.data.quality import repairs
from tests.sources.corpus import SHAPES, line
from tests.sources.damage import damaged

SOURCES = sorted({shape.source for shape in SHAPES})
COUNT = 5_000
MORE = 100_000 if os.environ.get("AGENTTUNE_PROVE") else 10_000
BATCH = 1_000
SECONDS = 60.0  # of processor time for a batch; a reader that looks through a text again and again would need hours
WAYS: tuple[dict[str, Any], ...] = (
    {"protocol": "react"},
    {"protocol": "hermes", "fix": repairs.NAMES},
    {"protocol": "react_zh", "mask_failed": True, "strict": True},
    {"protocol": "react", "failed_branches": True, "branches": "best", "parallel": "reject", "fix": repairs.NAMES},
    {"to": "trajectory", "split": {"dev": 0.2}},
)


@pytest.mark.parametrize("source", SOURCES)
def test_damaged_lines_are_samples_or_rejects(tmp_path: Path, source: str) -> None:
    check(tmp_path, source, -(-COUNT // len(SOURCES)), "damage")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_many_damaged_lines_are_samples_or_rejects(tmp_path: Path, source: str) -> None:
    check(tmp_path, source, -(-MORE // len(SOURCES)), "more damage")


def check(folder: Path, source: str, count: int, seed: str) -> None:
    good = [json.loads(line(shape)) for shape in SHAPES if shape.source == source and not isinstance(shape.record, str)]
    chance = random.Random(f"{seed} {source}")
    reasons: Counter[str] = Counter()
    done = samples = 0
    while done < count:
        lines = [damaged(chance.choice(good), chance) for _ in range(min(BATCH, count - done))]
        start = time.process_time()
        with tempfile.TemporaryDirectory(dir=folder) as room:
            found, kept = through_the_door(Path(room), source, lines, WAYS[done // BATCH % len(WAYS)])
        assert time.process_time() - start < SECONDS
        reasons += found
        samples += kept
        done += len(lines)
    print(f"{source:10} {done:,} damaged lines: {samples:,} samples, rejects {dict(reasons.most_common())}")
    assert not reasons["source_error"]
    assert samples >= 0.03 * done
    assert sum(reasons.values()) >= 0.03 * done


def through_the_door(folder: Path, source: str, lines: list[bytes], way: dict[str, Any]) -> tuple[Counter[str], int]:
    """The reasons of all rejects, and the number of samples; every line is among the one or the other."""
    (folder / "in.jsonl").write_bytes(b"".join(one + b"\n" for one in lines))
    report = convert(source, [str(folder / "in.jsonl")], str(folder / "out.jsonl"), options=ConvertOptions(**way))
    rejects = rows(folder / "out.rejects.jsonl")
    written = [row for name in ("out", "out.dev") for row in rows(folder / f"{name}.jsonl")] if report.samples else []
    assert report.records == len(lines) == report.whole + report.partly + report.refused
    assert (report.samples, report.rejects) == (len(written), len(rejects))
    seen = {one["line"] for one in rejects} | {one["meta"]["line"] if "meta" in one else one["line"] for one in written}
    assert seen >= set(range(1, len(lines) + 1)), f"lost: {sorted(set(range(1, len(lines) + 1)) - seen)[:5]}"
    return Counter(one["code"] for one in rejects), len(written)


def rows(path: Path) -> list[Any]:
    return [json.loads(one) for one in path.read_bytes().split(b"\n") if one] if path.exists() else []
