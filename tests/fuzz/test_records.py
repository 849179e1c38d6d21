"""Files of raw records, plain and packed: converted by the source that finds itself, each record among samples or rejects."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from tests.fuzz.judge import command, fuzz
from tests.fuzz.mutate import mutated, mutated_json
from tests.sources.corpus import SHAPES, line

RECORDS = [json.loads(line(shape)) for shape in SHAPES if not isinstance(shape.record, str)]
WAYS = ([], ["--fix"], ["--strict", "--check"], ["--to", "trajectory"], ["--protocol", "hermes"], ["--split", "dev=30%"])


def file_of(chance: random.Random) -> tuple[str, bytes]:
    """A file's ending and its bytes: some records, one of them damaged, or the bytes of the whole."""
    records = [json.dumps(chance.choice(RECORDS)).encode() for _ in range(chance.randint(1, 3))]
    kind, packed = chance.choice((".jsonl", ".json")), chance.random() < 0.2
    if chance.random() < 0.7:
        records[chance.randrange(len(records))] = mutated_json(chance.choice(RECORDS), chance)
    data = b"\n".join(records) if kind == ".jsonl" else b"[" + b",".join(records) + b"]"
    if packed:
        kind, data = f"{kind}.gz", gzip.compress(data, 1)
    return kind, mutated(data, chance) if chance.random() < 0.4 else data


@pytest.mark.slow
def test_records(tmp_path: Path) -> None:
    def enter(given: tuple[tuple[str, bytes], list[str]]) -> None:
        path = tmp_path / f"in{given[0][0]}"
        path.write_bytes(given[0][1])
        try:
            command("convert", "auto", str(path), "-o", str(tmp_path / "out.jsonl"), "--workers", "1", "--overwrite", *given[1])
        finally:
            path.unlink()

    fuzz("records", lambda chance: (file_of(chance), chance.choice(WAYS)), enter)
