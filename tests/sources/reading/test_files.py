"""Records out of files: every kind, every damage, always with the place."""

from __future__ import annotations

import gzip
import io
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune.errors import Refusal, UserError
from agenttune.sources.reading import compression, files, json_array, records, tables


def everything(*inputs: str | Path) -> list[tuple[int, object]]:
    """(line, value or reason code) of all records."""
    out: list[tuple[int, object]] = []
    for one in files.expand([str(path) for path in inputs]):
        for record in files.read(one):
            try:
                out.append((record.line, records.parse(record)))
            except Refusal as problem:
                out.append((record.line, problem.code))
    return out


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_lines_keep_their_numbers_and_a_bad_one_is_a_refusal(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a":1}\n\n{"a":\n  {"a":2}  \r\n[1]\n{"a":3}')
    assert everything(path) == [(1, {"a": 1}), (3, "json"), (4, {"a": 2}), (5, [1]), (6, {"a": 3})]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a": "\xff"}', "encoding"),
        (b'{"a": "x\x00y"}', "json"),
        (rb'{"a": "\ud800"}', "surrogate"),
        (b"[" * 10_000 + b"]" * 10_000, "json"),
        (b'{"a":' * 10_000, "json"),
        (b'{"a": 1} {"b": 2}', "json"),
        (b"nothing", "json"),
        (b'"' + b"9" * 5_000, "json"),
        (b"9" * 5_000, "json"),
    ],
)
def test_damaged_lines(tmp_path: Path, line: bytes, code: str) -> None:
    assert everything(put(tmp_path / "a.jsonl", line + b'\n{"ok":1}\n')) == [(1, code), (2, {"ok": 1})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("-9223372036854775809", -9223372036854775809),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"a\u0000b"', "a\x00b"),
        ("[" * 900 + "]" * 900, None),
    ],
)
def test_values_that_a_fast_parser_would_bend(tmp_path: Path, text: str, value: object) -> None:
    (_, seen) = everything(put(tmp_path / "a.jsonl", '{"v": ' + text + "}"))[0]
    assert isinstance(seen, dict)
    if value is not None:
        assert seen["v"] == value
        assert type(seen["v"]) is type(value)


def test_not_a_number_is_read_and_left_to_later_stages(tmp_path: Path) -> None:
    (_, seen) = everything(put(tmp_path / "a.jsonl", '{"score": NaN, "id": "x"}'))[0]
    assert isinstance(seen, dict)
    assert seen["id"] == "x"


def test_a_line_beyond_the_bound_is_refused_and_the_next_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LIMIT", 100)
    path = put(tmp_path / "a.jsonl", '{"a":"' + "x" * 1000 + '"}\n{"b":1}\n' + '"' + "y" * 99)
    assert everything(path) == [(1, "size"), (2, {"b": 1}), (3, "json")]


def test_a_first_line_torn_behind_its_brace_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A brace alone may begin one object over several lines; where it does not, each line is a record, however much follows."""
    text = '\n{\n"a":1}\n{"b":2}\n\n{"c":3}'
    wanted = [(2, "json"), (3, "json"), (4, {"b": 2}), (6, {"c": 3})]
    assert everything(put(tmp_path / "a.jsonl", text)) == wanted
    monkeypatch.setattr(records, "LIMIT", 9)
    assert everything(put(tmp_path / "b.jsonl", text)) == wanted


def test_json_arrays_objects_and_misnamed_files(tmp_path: Path) -> None:
    assert everything(put(tmp_path / "a.json", ' [{"a":1},\n {"b":[1,"],{"]}, 3 ]\n')) == [(1, {"a": 1}), (2, {"b": [1, "],{"]}), (3, 3)]
    assert everything(put(tmp_path / "b.json", '{\n "id": 1,\n "messages": []\n}')) == [(1, {"id": 1, "messages": []})]
    assert everything(put(tmp_path / "c.json", '{"a":1}\n{"a":2}\n{"a"\n')) == [(1, {"a": 1}), (2, {"a": 2}), (3, "json")]
    assert everything(put(tmp_path / "d.jsonl", '[\n{"a":1},\n{"a":2}\n]')) == [(1, {"a": 1}), (2, {"a": 2})]
    assert everything(put(tmp_path / "e.jsonl", '{\n"a":1\n}\n')) == [(1, {"a": 1})]
    assert everything(put(tmp_path / "f.json", '{"a":')) == [(1, "json")]
    assert everything(put(tmp_path / "g.json", "[]")) == []
    assert everything(put(tmp_path / "h.json", "  \n")) == []


def test_an_object_of_objects_is_a_table_of_records(tmp_path: Path) -> None:
    table = {"7": {"pred": 1}, "8": {"id": "own"}}
    assert everything(put(tmp_path / "a.json", json.dumps(table))) == [(1, {"id": "7", "pred": 1}), (2, {"id": "own"})]
    lists = {"put": [{"role": "user"}], "cool": [{"role": "agent"}]}
    assert everything(put(tmp_path / "b.json", json.dumps(lists))) == [
        (1, {"id": "put", "messages": [{"role": "user"}]}),
        (2, {"id": "cool", "messages": [{"role": "agent"}]}),
    ]
    one = {"messages": [{"role": "user"}], "tools": [{"name": "x"}]}
    assert everything(put(tmp_path / "c.json", json.dumps(one))) == [(1, one)]
    texts = {"first": "Question: x", "second": "Question: y"}
    assert everything(put(tmp_path / "d.json", json.dumps(texts))) == [(1, texts)]


def test_lists_of_records_under_a_name_are_records(tmp_path: Path) -> None:
    one, two = {"messages": [{"role": "user"}]}, {"messages": [{"role": "agent"}]}
    assert everything(put(tmp_path / "a.json", json.dumps({"data": [one, two]}))) == [(1, one), (2, two)]
    assert everything(put(tmp_path / "b.json", json.dumps({"version": "1", "data": [one]}))) == [(1, one)]
    assert everything(put(tmp_path / "c.json", json.dumps({"train": [one], "test": [two]}))) == [(1, one), (2, two)]
    assert everything(put(tmp_path / "d.json", json.dumps({"data": {"train": [one]}}))) == [(1, one)]
    other = {"data": [one], "settings": {"a": 1}}  # what stands beside the list would be lost
    assert everything(put(tmp_path / "e.json", json.dumps(other))) == [(1, other)]


def test_a_file_that_is_one_conversation_is_one_record(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a, b"}]
    for name, text in (("a.json", json.dumps(talk)), ("b.json", json.dumps(talk, indent=1)), ("c.traj", json.dumps({"messages": talk}))):
        assert everything(put(tmp_path / name, text)) == [(1, talk if name != "c.traj" else {"messages": talk})]
    assert everything(put(tmp_path / "d.json", '[{"role": "user", "content": "q"}, {"role"')) == [(1, "json")]
    assert len(everything(tmp_path)) == 4  # a folder of them
    flat = [{"message_id": "1", "parent_id": None, "role": "prompter", "text": "q"}] * 2
    assert len(everything(put(tmp_path / "e.json", json.dumps(flat)))) == 2


def test_a_bad_element_of_an_array_is_refused_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", '[{"a":1},{"b":nope},,{"c":3}] tail')
    assert everything(path) == [(1, {"a": 1}), (2, "json"), (3, "json"), (4, {"c": 3}), (5, "json")]
    assert everything(put(tmp_path / "b.json", '[{"a":1},{"b":"cut')) == [(1, {"a": 1}), (2, "json")]
    assert everything(put(tmp_path / "c.json", "[1,]")) == [(1, 1), (2, "json")]


def test_array_elements_beyond_the_bound_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "LIMIT", 50)
    monkeypatch.setattr(json_array, "_CHUNK", 7)
    long = '{"a":"' + 'x\\"],\\\\' * 40 + '","b":[1,2,{"c":"]"}]}'
    text = f'[1,{long},"two",[3],{long}]'.encode()
    seen = [one.code if isinstance(one, Refusal) else one for one in json_array.elements(text[:3], io.BytesIO(text[3:]))]
    assert seen == [b"1", "size", b'"two"', b"[3]", "size"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3),
            max_leaves=8,
        )
    ),
    st.integers(1, 9),
)
def test_array_scanner_agrees_with_a_parser_at_every_chunk_size(values: list[object], chunk: int) -> None:
    text = json.dumps(values, indent=1).encode()
    before = json_array._CHUNK
    json_array._CHUNK = chunk
    try:
        seen = [json.loads(one) for one in json_array.elements(text[:1], io.BytesIO(text[1:])) if isinstance(one, bytes)]
    finally:
        json_array._CHUNK = before
    assert seen == values


def test_packed_files(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = b'{"a":1}\n{"a":2}\n'
    assert everything(put(tmp_path / "a.jsonl.gz", gzip.compress(plain))) == [(1, {"a": 1}), (2, {"a": 2})]
    assert everything(put(tmp_path / "b.jsonl.zst", zstandard.compress(plain) + zstandard.compress(b'{"a":3}\n'))) == [
        (1, {"a": 1}),
        (2, {"a": 2}),
        (3, {"a": 3}),
    ]
    assert everything(put(tmp_path / "c.json.gz", gzip.compress(b'[{"a":1}]'))) == [(1, {"a": 1})]


def test_a_cut_packed_file_gives_what_it_has_and_one_refusal(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = "".join(json.dumps({"n": n, "text": f"{n * 7919}"}) + "\n" for n in range(5000)).encode()
    for name, data in (("a.jsonl.gz", gzip.compress(plain)[:-2000]), ("b.jsonl.zst", zstandard.compress(plain)[:-500] + b"junk")):
        seen = everything(put(tmp_path / name, data))
        assert seen[-1][1] == "file"
        assert all(isinstance(value, dict) for _, value in seen[:-2])
    assert everything(put(tmp_path / "c.jsonl.gz", b"no gzip at all")) == [(1, "file")]


def test_a_gzip_file_is_read_to_its_end_and_what_follows_is_refused(tmp_path: Path) -> None:
    one, two = (gzip.compress(b'{"a":%d}\n' % number) for number in (1, 2))
    assert everything(put(tmp_path / "a.jsonl.gz", one + two + bytes(512))) == [(1, {"a": 1}), (2, {"a": 2})]
    for name, data in (("b", one + two[:-3]), ("c", one + b"junk"), ("d", one + two[:7])):
        seen = everything(put(tmp_path / f"{name}.jsonl.gz", data))
        assert (seen[0], seen[-1][1]) == ((1, {"a": 1}), "file"), name


def test_zstandard_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UserError, match="pip install zstandard"):
        everything(put(tmp_path / "a.jsonl.zst", b"x"))


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": "a", "conversations": [{"from": "user", "value": "hé"}]}, {"id": "b", "conversations": []}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert everything(tmp_path / "a.parquet") == [(1, rows[0]), (2, rows[1])]
    put(tmp_path / "b.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert everything(tmp_path / "b.parquet.gz") == [(1, rows[0]), (2, rows[1])]
    assert everything(put(tmp_path / "c.parquet", b"PAR1 not really")) == [(1, "file")]
    pyarrow.parquet.write_table(pyarrow.table({"blob": [b"\x00"]}), tmp_path / "d.parquet")
    assert everything(tmp_path / "d.parquet") == [(1, "json")]


def test_a_row_beyond_the_bound_is_refused_and_its_neighbours_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(tables, "LIMIT", 1000)
    rows = [{"id": str(number), "said": ["a" * (2000 if number in (3, 9) else 10)]} for number in range(12)]
    for name, size in (("one", 12), ("several", 5)):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / f"{name}.parquet", row_group_size=size)
        found = everything(tmp_path / f"{name}.parquet")
        assert found == [(at, "size" if at in (4, 10) else row) for at, row in enumerate(rows, 1)]
    (long,) = (one.problem for one in files.read(files.expand([str(tmp_path / "one.parquet")])[0]) if one.line == 4)
    assert long is not None
    assert "said: 2,00" in long.excerpt


def test_folders_globs_and_repeats(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "sub/c.json", ".hidden.jsonl", "notes.md"):
        put(tmp_path / "in" / name, json.dumps({"n": name}))
    found = [Path(one.name).name for one in files.expand([str(tmp_path / "in"), str(tmp_path / "in" / "a.jsonl")])]
    assert found == ["a.jsonl", "b.jsonl", "c.json"]
    assert [Path(one.name).name for one in files.expand([str(tmp_path / "in" / "**" / "*.json*")])] == ["a.jsonl", "b.jsonl", "c.json"]


@pytest.mark.parametrize("given", ["none.jsonl", "no*.jsonl", "text.md", "empty_folder", ""])
def test_nothing_there_is_one_sentence(tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "text.md", "x")
    (tmp_path / "empty_folder").mkdir()
    with pytest.raises(UserError):
        files.expand([given] if given else [])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression.sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b'{"a":1}\n{"a":2}\n')))
    assert everything("-") == [(1, {"a": 1}), (2, {"a": 2})]
    monkeypatch.setattr(compression.sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b'[{"a":1}, {"a":2}]')))
    assert everything("-") == [(1, {"a": 1}), (2, {"a": 2})]


def test_the_hub_by_split_and_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, *, split: str | None, streaming: bool) -> object:
        assert (name, streaming) == ("org/name", True)
        rows = {"train": [{"a": 1}], "test": [{"a": 2}, {"a": 3}]}
        return rows[split] if split else rows

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert everything("hf:org/name:test") == [(1, {"a": 2}), (2, {"a": 3})]
    assert everything("hf:org/name") == [(1, {"a": 1}), (1, {"a": 2}), (2, {"a": 3})]
    with pytest.raises(UserError, match="hf:org/name:nope"):
        list(tables.hub_rows("hf:org/name:nope"))


def test_a_hub_that_goes_away_in_the_middle_is_a_reject_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ConnectionError("the line was cut")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda name, **options: rows()))
    first, second = tables.hub_rows("hf:org/name:train")
    assert (first.line, first.value) == (1, {"a": 1})
    assert second.problem is not None
    assert (second.line, second.problem.code) == (2, "file")
    assert "ConnectionError: the line was cut" in second.problem.sentence


def test_the_hubs_own_library_reads_rows_and_says_in_one_sentence_what_it_cannot_reach(tmp_path: Path) -> None:
    put(tmp_path / "set" / "train.jsonl", '{"id": "x", "messages": [{"role": "user", "content": "你"}]}\n{"id": "y", "messages": []}\n')
    wanted = [{"id": "x", "messages": [{"role": "user", "content": "你"}]}, {"id": "y", "messages": []}]
    assert everything(f"hf:{tmp_path}/set:train") == list(enumerate(wanted, 1))  # the library takes a folder for a repository
    with pytest.raises(UserError) as refused:
        list(tables.hub_rows("hf:agenttune/there-is-none:train"))
    assert str(refused.value).startswith("cannot load hf:agenttune/there-is-none:train from the hub (")
    assert str(refused.value).endswith("download its files and name them instead")
    assert "\n" not in str(refused.value)


def test_size_is_known_for_plain_files_only(tmp_path: Path) -> None:
    plain = files.expand([str(put(tmp_path / "a.jsonl", "{}\n"))])
    assert files.size_of(plain) == 3
    assert files.size_of([*plain, files.Input(name="stdin")]) is None


@pytest.mark.parametrize("raw", [
    rb'{"a":1,"a":": x"}', rb'{"a\\":1,"a\\":2}', rb'{"a\\":1,"b":1,"b":2}', rb'{"a" :1,"b":1,"b":2}', rb'{"a":"\\","b":1,"b":":"}',
    rb'{"a":1,"b":"\":\":","a":2}', rb'{"a":"x\u0022:","b":1,"b":2}', rb'{"\":":1,"\":":2}', rb'{"a":1,"a":2,"c\\":":"}',
])  # fmt: skip
def test_a_key_twice_is_refused_however_it_is_spelled(raw: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        records.parse(records.RawRecord(file="f", line=1, raw=raw))
    assert caught.value.code == "key_twice"
