"""The account of one file of real data: what stands in the raw text, what stands in the file that was written, and why they differ.

Both sides are counted by regular expressions (`raw_count`); of the project only what it wrote is read: samples, rejects, and the changes
that a sample names.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from tests.data.convert.raw_count import COUNTED, RULES, START, TEXT, Unit, units

# A change that accounts for a difference in one column: two texts in a row are one answer; one message of several results is several.
EXPLAIN = {"answers": ("answers_joined",), "observations": ("results_split",)}
_TURN = re.compile(r'\{"system":"' + TEXT + r',"input":"(?:[^"\\]|\\.)*","output":"' + TEXT)
_CALL = re.compile(START + r"Action: (?:(?!\\n).)*\\nAction Input: \{")
HEAD = f"{'file':58} {'records':>9} {'samples':>8} {'rejects':>8}  calls, observations, answers: raw = written + refused + changed"


@dataclass(kw_only=True)
class Account:
    """The numbers of one file. `refused` and `changed` say why what is not written is not: column → reason → count."""

    file: str
    records: int
    conversations: int
    raw_records: int
    raw_conversations: int = 0
    samples: int = 0
    rejects: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    changed: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    unexplained: list[str] = field(default_factory=list)


def converted(data: Path, folder: Path, file: str) -> Account:
    """Converts one file as a person would, and compares."""
    systems = str(data / "react-gpt4" / "systems.json")
    report = convert(
        "auto", [str(data / file)], str(folder / "out.jsonl"), options=ConvertOptions(systems=read_systems(systems), overwrite=True)
    )
    return account(data, file, folder / "out.jsonl", report.records, report.trajectories)


def account(data: Path, file: str, out: Path, records: int, conversations: int) -> Account:
    """Compares the raw file with what was written for it (protocol react) and refused."""
    raw = list(units(data / file, RULES[file]))
    lines = len({unit.line for unit in raw})
    found = Account(file=file, records=records, conversations=conversations, raw_records=lines, raw_conversations=len(raw))
    refused = _refused(out.with_name(out.stem + ".rejects.jsonl"))
    samples = _samples(out)
    for unit in raw:
        found.raw.update({name: getattr(unit, name) for name in COUNTED})
        code = refused.get((unit.line, unit.part)) or refused.get((unit.line, 0))
        sample = None if code else next(iter(samples.get(unit.line, [])), None)
        if code:
            found.rejects += 1
            for name in COUNTED:
                found.refused[name][code] += getattr(unit, name)
        elif sample:
            found.samples += 1
            samples[unit.line].pop(0)
            _compare(unit, sample, found)
        else:
            found.unexplained.append(f"{file}:{unit.line} part {unit.part} is nowhere")
    found.unexplained += [f"{file}:{line} has a sample too many" for line, rest in samples.items() if rest]
    return found


def _compare(unit: Unit, sample: tuple[Counter[str], set[str]], found: Account) -> None:
    counts, changes = sample
    for name in COUNTED:
        found.written[name] += counts[name]
        difference = getattr(unit, name) - counts[name]
        if not difference:
            continue
        why = next((one for one in EXPLAIN.get(name, ()) if one in changes), None)
        if why:
            found.changed[name][why] += difference
        else:
            found.unexplained.append(f"{found.file}:{unit.line}.{unit.part} {name}: {getattr(unit, name)} raw, {counts[name]} written")


def _refused(path: Path) -> dict[tuple[int, int], str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {(one["line"], one.get("part", 0)): one["code"] for one in rows}


def _samples(path: Path) -> dict[int, list[tuple[Counter[str], set[str]]]]:
    """Of each line of the raw file, its samples in order: what is counted in their turns, and their named changes."""
    found: dict[int, list[tuple[Counter[str], set[str]]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        meta: dict[str, Any] = json.loads(line)["meta"]
        changes = {name.partition(": ")[0] for name in meta.get("changes", {})}
        found.setdefault(meta["line"], []).append((_turns(line), changes))
    return found


def _turns(line: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for turn in _TURN.finditer(line):
        call = _CALL.search(turn.group(2))
        counts["observations"] += turn.group(1).startswith("Observation: ")
        counts["calls"] += call is not None
        counts["answers"] += call is None and bool(turn.group(2))
    return counts


def row(found: Account) -> str:
    """One line of the table."""
    parts = [f"{found.file:58} {found.records:9,} {found.samples:8,} {found.rejects:8,} "]
    for name in COUNTED:
        gone = {**_said(found.refused[name]), **_said(found.changed[name])}
        parts.append(f"{found.raw[name]}={found.written[name]}{''.join(gone.values())}")
    return " ".join(parts)


def _said(reasons: Counter[str]) -> dict[str, str]:
    return {reason: f"{count:+}({reason})" for reason, count in reasons.items() if count}
