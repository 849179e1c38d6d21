"""Reports of conversions, as files of strangers: shown, added up and made a page of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune.data.convert.options import ConvertOptions, Shard
from agenttune.data.convert.run import convert
from tests.fuzz.judge import command, fuzz
from tests.fuzz.mutate import mutated_json


@pytest.mark.slow
def test_reports(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "in.jsonl").write_text(json.dumps({"messages": talk}) + "\n" + json.dumps({"messages": []}) + "\n")
    for shard in (1, 2):
        convert("openai", [str(tmp_path / "in.jsonl")], str(tmp_path / f"{shard}.jsonl"), options=ConvertOptions(shard=Shard(shard, 2)))
    one, two, whole = (str(tmp_path / name) for name in ("1.report.json", "2.report.json", "whole.jsonl"))
    report = json.loads(Path(one).read_text())

    def enter(given: tuple[bytes, bool]) -> None:
        Path(one).write_bytes(given[0])
        command("report", one, *([two, "-o", whole, "--overwrite"] if given[1] else []))

    fuzz("reports", lambda chance: (mutated_json(report, chance), chance.random() < 0.5), enter)
