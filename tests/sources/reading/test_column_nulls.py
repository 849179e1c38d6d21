"""Nulls that the columns of a table made are dropped and counted; those that somebody wrote stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.sources.reading.column_nulls import allows_null, looks_like_table
from agenttune.values.trajectory import Json

WEATHER: Json = {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}
CLOCK: Json = {
    "name": "clock",
    "parameters": {"type": "object", "properties": {"zone": {"type": ["string", "null"]}, "at": {"type": "string"}}},
}


def row(number: int, name: str, arguments: Json, **columns: Json) -> Json:
    call = {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {
        "id": str(number),
        "messages": [
            {"role": "user", "content": "q", "tool_calls": None},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "r", "tool_calls": None},
            {"role": "assistant", "content": "a", "tool_calls": None},
        ],
        **columns,
    }


ROWS = [
    row(1, "weather", {"town": "Kiel", "zone": None, "at": None}),
    row(2, "clock", {"town": None, "zone": None, "at": None}),
    row(3, "clock", {"town": None, "zone": "CET", "at": None}),
]
WANTED = [{"town": "Kiel"}, {"zone": None}, {"zone": "CET"}]


def calls(path: Path, source: Path) -> tuple[list[Json], int]:
    report = convert("openai", [str(source)], str(path), options=ConvertOptions(to="trajectory"))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [call["arguments"] for one in rows for round_ in one["rounds"] for step in round_["steps"] for call in step.get("calls", ())]
    return found, report.changes.get("column_nulls", 0)


def test_a_parquet_file_and_jsonl_that_was_one(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**one, "tools": json.dumps([WEATHER, CLOCK])} for one in ROWS]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    for name in ("in.parquet", "in.jsonl"):
        found, dropped = calls(tmp_path / f"{name}.out.jsonl", tmp_path / name)
        assert found == WANTED, name  # the clock's zone may be null, and one caller wrote so
        assert dropped > 0


def test_parameters_of_other_tools_leave_a_tool_that_is_a_column_too(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**one, "tools": [WEATHER if one is ROWS[0] else CLOCK]} for one in ROWS[:1]]
    alarm: Json = {"name": "alarm", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
    rows.append({**row(4, "alarm", {"at": "7"}), "tools": [alarm]})
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    out = tmp_path / "out.jsonl"
    found, _ = calls(out, tmp_path / "in.parquet")
    assert found == [{"town": "Kiel"}, {"at": "7"}]
    tools = [json.loads(line)["tools"] for line in out.read_text().splitlines()]
    assert [list(one[0]["parameters"]["properties"]) for one in tools] == [["town"], ["at"]]


def test_nulls_in_json_that_no_table_made_stay(tmp_path: Path) -> None:
    rows = [row(1, "weather", {"town": "Kiel", "zone": None}), row(2, "clock", {"at": "7"})]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert calls(tmp_path / "out.jsonl", tmp_path / "in.jsonl") == ([{"town": "Kiel", "zone": None}, {"at": "7"}], 0)


def test_what_looks_like_a_table() -> None:
    assert looks_like_table(ROWS)
    assert not looks_like_table(ROWS[:1])
    assert not looks_like_table([row(1, "a", {"x": 1, "y": None}), row(2, "b", {"x": 1, "y": 2})])
    assert not looks_like_table([row(1, "a", {"x": None}), row(2, "a", {"x": None})])


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "null"}, True),
        ({"type": ["string", "null"]}, True),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({"nullable": True, "type": "string"}, True),
        ({"enum": ["a", None]}, True),
        ({"const": None}, True),
        ({"type": "string"}, False),
        ({"enum": ["a"]}, False),
        (None, False),
    ],
)
def test_a_schema_that_allows_null(schema: Json, wanted: bool) -> None:
    assert allows_null(schema) is wanted
