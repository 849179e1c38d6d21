"""The doctor on faults put into real data by a script that knows nothing of it, and on 100 real records that a person read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from tests.data.quality.faults import BARE, FAULTS, PLACES, seeded

RECORDS = 1000
LABELS = Path(__file__).parent / "labels.jsonl"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def reported(source: str, inputs: Path, out: Path, systems: str | None = None) -> Counter[tuple[int, str]]:
    """How often the doctor names each code at each line, as a finding or as a reject."""
    convert(source, [str(inputs)], str(out), options=ConvertOptions(systems=read_systems(systems)))
    said = [one for part in ("findings", "rejects") for one in lines(out.with_name(f"{out.stem}.{part}.jsonl"))]
    return Counter((one["line"], one["code"]) for one in said)


def test_seeded_faults_are_found_at_their_lines(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "react-gpt4"
    systems = json.loads((folder / "systems.json").read_text(encoding="utf-8"))
    records = [*lines(folder / "dev.jsonl"), *lines(folder / "train.jsonl")][:RECORDS]
    damaged, places = seeded(records, systems)
    (tmp_path / "systems.json").write_text(json.dumps({**systems, BARE: "Use your tools."}), encoding="utf-8")
    (tmp_path / "clean.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    (tmp_path / "damaged.jsonl").write_text("".join(one + "\n" for one in damaged), encoding="utf-8")
    clean = reported("react", tmp_path / "clean.jsonl", tmp_path / "c.jsonl", str(tmp_path / "systems.json"))
    now = reported("react", tmp_path / "damaged.jsonl", tmp_path / "d.jsonl", str(tmp_path / "systems.json"))
    table = {}
    for kind, at in places.items():
        table[kind] = [line for line in at if not any(now[line, code] > clean[line, code] for code in FAULTS[kind].wanted)]
        print(
            f"{kind:32} {len(at) - len(table[kind]):3} of {len(at)} found at their lines", f"missed: {table[kind]}" if table[kind] else ""
        )
    assert len(FAULTS) >= 12
    assert all(len(at) == PLACES for at in places.values())
    assert all(len(missed) <= 0.01 * PLACES for missed in table.values())


def test_false_alarms_and_misses_on_records_read_by_hand(data_dir: Path, tmp_path: Path) -> None:
    labels = lines(LABELS)
    assert len(labels) == 100
    alarms: list[str] = []
    misses: list[str] = []
    right: Counter[str] = Counter()
    for file in dict.fromkeys(one["file"] for one in labels):
        mine = [one for one in labels if one["file"] == file]
        chosen = [record_of(data_dir / file, one) for one in mine]
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chosen), encoding="utf-8")
        said = reported("auto", tmp_path / "in.jsonl", tmp_path / "o.jsonl", str(data_dir / "react-gpt4" / "systems.json"))
        for number, label in enumerate(mine, 1):
            found = {code for line, code in said if line == number}
            right.update(found & set(label["defects"]))
            alarms += [f"{file}:{label['line']} {code}" for code in sorted(found - set(label["defects"]))]
            misses += [f"{file}:{label['line']} {code}" for code in sorted(set(label["defects"]) - found)]
    print(f"true defects {sum(len(one['defects']) for one in labels)} in 100 records, found {sum(right.values())}: {dict(right)}")
    print(f"false alarms {len(alarms)}: {alarms}\nmissed {len(misses)}: {misses}")
    assert alarms == []
    assert misses == []


def record_of(path: Path, label: dict[str, Any]) -> Any:
    """The labelled record, if it is still the one that was read."""
    text = path.read_text(encoding="utf-8")
    record = json.loads(text.split("\n")[label["line"] - 1]) if path.suffix == ".jsonl" else json.loads(text)[label["line"] - 1]
    assert hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16] == label["hash"], "another record stands there now"
    return record


@pytest.mark.parametrize("label", [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines() if '"why"' in line])
def test_a_label_says_what_a_person_saw(label: dict[str, Any]) -> None:
    assert label["defects"] and len(label["why"]) > 10
