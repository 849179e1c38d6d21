"""Every file of the real data through the door, counted before and after by a reader that is regular expressions alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from tests.data.convert.raw_count import COUNTED, OTHER, RULES
from tests.data.convert.raw_table import HEAD, converted, row

SUFFIXES = (".json", ".jsonl", ".csv", ".gz")


def test_every_file_has_a_rule_or_a_reason(data_dir: Path) -> None:
    files = {str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.suffix in SUFFIXES}
    assert files == set(RULES) | set(OTHER)


@pytest.mark.parametrize("file", RULES)
def test_what_goes_in_comes_out_or_is_refused_by_name(data_dir: Path, tmp_path: Path, file: str) -> None:
    """Conversation by conversation as many calls, observations and answers as the raw text shows, or a reject, or a change of that name."""
    found = converted(data_dir, tmp_path, file)
    print(f"\n{HEAD}\n{row(found)}" if file == next(iter(RULES)) else f"\n{row(found)}", end="")
    assert found.records == found.raw_records
    assert found.conversations == found.samples + found.rejects == found.raw_conversations
    assert not found.unexplained
    for name in COUNTED:
        assert found.raw[name] == found.written[name] + sum(found.refused[name].values()) + sum(found.changed[name].values())


@pytest.mark.parametrize("protocol", ["hermes", "react_zh"])
@pytest.mark.parametrize("file", ["glaive-demo/reason_tool_use_demo_50.jsonl", "tau-bench/gpt-4o-airline.json.gz", "react-gpt4/dev.jsonl"])
def test_other_protocols_keep_as_much(data_dir: Path, tmp_path: Path, file: str, protocol: str) -> None:
    """Whatever the protocol, the account of the conversion says the same of what was read, and every conversation is found again."""
    systems = str(data_dir / "react-gpt4" / "systems.json")
    counts = {}
    for name in ("react", protocol):
        report = convert(
            "auto",
            [str(data_dir / file)],
            str(tmp_path / f"{name}.jsonl"),
            options=ConvertOptions(systems=read_systems(systems), protocol=name),
        )
        assert report.trajectories == report.samples + report.rejects
        counts[name] = report.before
    assert counts["react"] == counts[protocol]
