"""One part of a corpus on each of several machines: the outputs one after the other, and the accounts added up, are those of the whole."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.data.convert.merge import UNSEEN, added, read_report
from agenttune.data.convert.options import ConvertOptions, Shard, parse_shard
from agenttune.data.convert.report import ConvertReport
from agenttune.data.convert.run import convert
from agenttune.errors import UserError


def line(number: int) -> str:
    if number % 7 == 3:
        return f"{{broken {number}"
    call = {"id": f"c{number}", "type": "function", "function": {"name": f"tool{number % 4}", "arguments": json.dumps({"x": number})}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": f"问{number}" * (1 + number % 5)},
        {"role": "assistant", "tool_calls": [call]},
    ]
    messages += [{"role": "tool", "tool_call_id": f"c{number}", "content": "42"}, {"role": "assistant", "content": f"答{number}"}]
    return json.dumps({"id": str(number), "messages": messages})


def corpus(folder: Path) -> list[str]:
    """Forty records in three files of three kinds."""
    folder.mkdir()
    rest = [line(number) for number in range(40)]
    (folder / "a.jsonl").write_text("\n".join(rest[:11]) + "\n\n", encoding="utf-8")
    (folder / "b.json").write_text("[" + ",\n".join(one for one in rest[11:23] if "broken" not in one) + "]", encoding="utf-8")
    (folder / "c.jsonl.gz").write_bytes(gzip.compress("\n".join(rest[23:]).encode()))
    return [str(folder)]


def shards(inputs: list[str], folder: Path, of: int, **options: Any) -> list[ConvertReport]:
    return [
        convert("openai", inputs, str(folder / f"part{number}.jsonl"), options=ConvertOptions(shard=Shard(number, of), **options))
        for number in range(1, of + 1)
    ]


@pytest.mark.parametrize("of", [1, 3, 50])
def test_outputs_one_after_the_other_are_that_of_the_whole(tmp_path: Path, of: int) -> None:
    inputs = corpus(tmp_path / "in")
    whole = convert("openai", inputs, str(tmp_path / "whole.jsonl"), options=ConvertOptions(split={"dev": 0.3}))
    parts = shards(inputs, tmp_path, of, split={"dev": 0.3})
    for kind in ("jsonl", "dev.jsonl", "rejects.jsonl", "findings.jsonl"):
        joined = b"".join((tmp_path / f"part{number}.{kind}").read_bytes() for number in range(1, of + 1))
        assert joined == (tmp_path / f"whole.{kind}").read_bytes()
    assert sum(one.records for one in parts) == whole.records
    assert all(one.exit_code in (0, 1) for one in parts)


def test_accounts_add_up_to_that_of_the_whole(tmp_path: Path) -> None:
    inputs = corpus(tmp_path / "in")
    whole = convert("openai", inputs, str(tmp_path / "whole.jsonl"))
    shards(inputs, tmp_path, 3)
    sums = added([read_report(str(tmp_path / f"part{number}.jsonl")) for number in (2, 3, 1)])
    assert sums.shards == ("1/3", "2/3", "3/3")
    assert sums.notes == (UNSEEN,)
    assert [one.name for one in sums.outputs] == [str(tmp_path / f"part{number}.jsonl") for number in (1, 2, 3)]
    same = {"out": whole.out, "job": whole.job, "outputs": whole.outputs, "shards": (), "notes": ()}
    assert replace(sums, **same) == whole


def test_a_duplicate_in_another_shard_is_not_seen_and_the_account_says_so(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join([line(1), line(1), line(2), line(2), line(1)]), encoding="utf-8")
    assert convert("openai", [str(source)], None, options=ConvertOptions(check=True)).findings["duplicate_content"] == 3
    parts = shards([str(source)], tmp_path, 2)
    assert [one.findings.get("duplicate_content", 0) for one in parts] == [1, 1]
    assert "is not seen" in added(parts).notes[-1]


def test_what_does_not_add_up_is_one_sentence(tmp_path: Path) -> None:
    inputs = corpus(tmp_path / "in")
    one, two, three = shards(inputs, tmp_path, 3)
    with pytest.raises(UserError, match="both the shard 2/3"):
        added([one, two, two])
    with pytest.raises(UserError, match="under the same options"):
        added([one, replace(two, protocol="hermes")])
    with pytest.raises(UserError, match="only shards add up"):
        added([one, convert("openai", inputs, None, options=ConvertOptions(check=True))])
    assert added([three, one]).notes[0] == "not the whole corpus: the report of shard 2/3 is missing"
    assert added([two]) == two
    odd = added([one, replace(two, job="\u2028\ud800"), three])  # whatever a file says its job is
    assert (odd.records, len(odd.job)) == (one.records + two.records + three.records, 64)
    (tmp_path / "x.json").write_text('{"out": 3}', encoding="utf-8")
    with pytest.raises(UserError, match='lacks "source": it is damaged, or of another version'):
        read_report(str(tmp_path / "x.json"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_a_shard_is_written_in_one_way(tmp_path: Path, shard: str) -> None:
    with pytest.raises(UserError, match="a shard is written i/n"):
        convert("openai", corpus(tmp_path / "in"), str(tmp_path / "out.jsonl"), options=ConvertOptions(shard=parse_shard(shard)))


def test_standard_input_has_no_shards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read twice"):
        convert("openai", ["-"], str(tmp_path / "out.jsonl"), options=ConvertOptions(shard=parse_shard("1/2")))


def test_ranges_join_without_a_gap_and_differ_by_one_at_most() -> None:
    for count in (0, 1, 5, 99):
        for of in (1, 2, 7, 100):
            ranges = [Shard(number, of).range(count) for number in range(1, of + 1)]
            assert [at for start, end in ranges for at in range(start, end)] == list(range(count))
            sizes = [end - start for start, end in ranges]
            assert max(sizes) - min(sizes) <= 1


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = corpus(tmp_path / "in")
    outs = [str(tmp_path / f"part{number}.jsonl") for number in (1, 2)]
    for number, out in enumerate(outs, 1):
        assert main(["convert", "openai", *inputs, "-o", out, "--shard", f"{number}/2", "--workers", "1"]) == 1
    capsys.readouterr()
    assert main(["report", *outs, "-o", str(tmp_path / "whole.jsonl")]) == 1
    text = capsys.readouterr().out
    assert UNSEEN in text
    assert f"with pictures: {tmp_path / 'whole.report.html'}" in text
    assert json.loads((tmp_path / "whole.report.json").read_text())["records"] == 39
    assert main(["report", outs[0], "-o", str(tmp_path / "whole.jsonl")]) == 2
    assert main(["report", outs[0], "-o", str(tmp_path / "whole.jsonl"), "--overwrite"]) == 1
