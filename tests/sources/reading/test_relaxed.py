"""Relaxed JSON: every liberty is named, nothing is guessed, and strict JSON reads as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import read_value
from agenttune.sources.reading.relaxed import allowed, relaxed


@pytest.mark.parametrize(
    ("text", "value", "names"),
    [
        ('{"a": [1, 2,], }', {"a": [1, 2]}, ("trailing_comma",)),
        ("{'it''s': 1}", None, ()),
        ("{'it\\'s': \"a\\\"b\", 'c': 'say \"x\"'}", {"it's": 'a"b', "c": 'say "x"'}, ("single_quotes",)),
        ("{city: 1, $a.b-c: 2}", {"city": 1, "$a.b-c": 2}, ("bare_key",)),
        ("[True, False, None, true, null]", [True, False, None, True, None], ("python_word",)),
        ('// one\n{"a": 1, # two\n "b": /* three */ "http://x#y"}', {"a": 1, "b": "http://x#y"}, ("comment",)),
        ('{"a": "line\nend\t\\n\\u4f60"}', {"a": "line\nend\t\n你"}, ("control_character",)),
        ("{a: 'x', /* c */ b: None,}", {"a": "x", "b": None}, ("bare_key", "comment", "python_word", "single_quotes", "trailing_comma")),
        ('{"a": -1.5e3, "b": 10}', {"a": -1500.0, "b": 10}, ()),
        ("{}", {}, ()),
        ('{"a": 1', None, ()),
        ('{"a" 1}', None, ()),
        ('{"a": 1 "b": 2}', None, ()),
        ("[1,,2]", None, ()),
        ("[,]", None, ()),
        ("{,}", None, ()),
        ("{a: b}", None, ()),
        ("{a: __import__('os')}", None, ()),
        ('{"a": 01}', None, ()),
        ('{"a": NaN}', None, ()),
        ("[1] [2]", None, ()),
        ('"text"', None, ()),
        ("words", None, ()),
        ("", None, ()),
        ("[" * 5000, None, ()),
        ('{"a": "\\x"}', None, ()),
        ("{'a': 'b", None, ()),
    ],
)
def test_what_is_read_and_what_is_not(text: str, value: Any, names: tuple[str, ...]) -> None:
    if value is None:
        with pytest.raises(Refusal) as refused:
            relaxed(text)
        assert refused.value.code == "json"
    else:
        assert relaxed(text) == (value, names)


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        relaxed("{a: 1, 'a': 2}")
    assert refused.value.code == "key_twice"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(JSON) | st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]))
def test_strict_json_is_read_as_json_reads_it(value: Any, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=bool(indent), indent=indent)
    assert relaxed(text) == (json.loads(text), ())


def test_it_is_read_only_where_it_is_allowed() -> None:
    text = '{"a": true, "b": None,}'
    with pytest.raises(Refusal):
        read_value(text)
    names: list[str] = []
    with allowed(names):
        assert read_value(text) == ({"a": True, "b": None}, "")
        with pytest.raises(Refusal):
            read_value("plain words")
    assert names == ["python_word", "trailing_comma"]
    with pytest.raises(Refusal):
        read_value(text)


def test_fix_mends_records_and_arguments_and_counts_what_it_took(tmp_path: Path) -> None:
    call = '{"function": {"name": "f", "arguments": "{\\"x\\": true, \\"y\\": [1,],}"}}'
    asked = '{"role": "user", "content": "q"}'
    head = f'{{"messages": [{asked}, {{"role": "assistant", '
    lines = [
        f'{head}"tool_calls": [{call}]}}]}}',
        "{messages: [{'role': 'user', 'content': 'it is // no comment'}, {\"role\": 'assistant', content: 'a',}]}",
        f'{head}"content": "a"}}]',
        f'{head}"content": "fine"}}]}}',
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")
    plain = convert("openai", [str(source)], None, options=ConvertOptions(check=True))
    assert (plain.samples, plain.reasons) == (1, {"json": 2, "arguments": 1})
    fixed = convert("openai", [str(source)], str(tmp_path / "out.jsonl"), options=ConvertOptions(fix=("json",)))
    assert (fixed.samples, fixed.reasons) == (3, {"json": 1})
    assert fixed.changes == {"fixed_json_trailing_comma": 2, "fixed_json_bare_key": 1, "fixed_json_single_quotes": 1}
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert '{"x": true, "y": [1]}' in rows[0]["conversation"][0]["output"]
    assert rows[1]["conversation"][0]["input"] == "it is // no comment"
    assert json.loads((tmp_path / "out.rejects.jsonl").read_text(encoding="utf-8"))["record"] == lines[2]
