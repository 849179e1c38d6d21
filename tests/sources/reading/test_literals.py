"""Python literals read as data: the quick way says what the careful way says, or nothing."""

from __future__ import annotations

import ast
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import loads, read_value
from agenttune.sources.reading.literals import literal, plain_literal
from agenttune.sources.reading.records import RawRecord, parse
from agenttune.values.trajectory import Json

TEXT = st.text(alphabet="ab'\"\\n\n\t{}[]:,#\x01é字😀 ", max_size=8)
PIECES = ("", "'", '"', "\\", "\n", ",", ":", "{", "}", "[", "]", "u", "\\'", '\\"', "''")
VALUES = st.recursive(
    TEXT | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


@settings(max_examples=200, deadline=None)
@given(VALUES.filter(lambda value: isinstance(value, list | dict)))
def test_what_python_writes_is_read_quickly_and_rightly(value: Json) -> None:
    assert plain_literal(repr(value)) in (value, None)
    assert literal(repr(value)) == value


def test_most_of_it_is_quick() -> None:
    value = [{"from": "user", "value": 'it\'s "so"\n'}, {"from": "assistant", "value": "```\n{\"a\": 'b'}", "ok": True, "n": None}]
    assert plain_literal(repr(value)) == value
    assert read_value(repr(value)) == (value, "python_literal")


@pytest.mark.parametrize(
    "text",
    [
        "['a' 'b']", "['''a''']", "[u'a']", "[b'a']", "[r'\\n']", "[f'{1}']", "['\\x41']", "['\\u0041']", "['\\ud83d\\ude00']", "['\\/']",
        "['\\\"']", "['a',]", "('a',)", "{'a'}", "{'a': 1}", "[1_0]", "{'a': 'x', 'a': 'y'}", "{\"a\": 'x', 'a': 'y'}", "{None: 'a'}",
        "['a' # no\n]", "['\t']", "['\x01']", "[\x01]", "['\x00']", "['\\\n']", "[\"\n\"]", "['a\nb']", "[True, False, None]",
        "[Truefalse]", "{'a': {'b': 'x', 'b': 'y'}}", "{'a': 'x', **{}}", "['a'][0]", "'a'", "[", "",
        "[']", "[\"']", "['\"', '\"']", "[{'a': ['b']}",
        "[__import__('os')]", "['a', print('b')]", "{'a': lambda: 'b'}",
    ],
)  # fmt: skip
def test_the_quick_way_never_differs(text: str) -> None:
    quick = plain_literal(text)
    if quick is not None:
        assert quick == literal(text) == ast.literal_eval(text)


@pytest.mark.parametrize("text", ["{'a': 'x', 'a': 'y'}", "[{'b': {'a': None, \"a\": None}}]"])
def test_a_key_twice_is_refused(text: str) -> None:
    assert plain_literal(text) is None
    with pytest.raises(Refusal) as refused:
        literal(text)
    assert refused.value.code == "key_twice"


def test_bent_literals_are_read_alike() -> None:
    """Ten thousand literals with characters taken out, put in and doubled: both ways give the same, or the quick one nothing."""
    chance = random.Random(11)
    good = repr([{"from": "user", "value": "it's so\\ \n"}, {"a": [True, None, {"b": 'x"y'}]}, {"c": "'"}])
    read = 0
    for _ in range(10_000):
        text = good
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(PIECES) + text[at + 1 :]
        quick = plain_literal(text)
        if quick is not None:
            read += 1
            assert quick == _careful(text)
    assert read >= 500


def _careful(text: str) -> Any:
    value = ast.literal_eval(text)
    assert _pairs(ast.parse(text, mode="eval")) == _length(value)
    return value


def _pairs(tree: ast.AST) -> int:
    return sum(len(node.keys) for node in ast.walk(tree) if isinstance(node, ast.Dict))


def _length(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (len(value) if isinstance(value, dict) else 0) + sum(_length(one) for one in inner)


@pytest.mark.parametrize("text", ["['" + "\\" * 400_000, "[" * 400_000, "{'a':" * 100_000, "'\"" * 200_000, "['a', " * 80_000])
def test_hostile_literals_take_no_time(text: str) -> None:
    start = time.process_time()
    assert plain_literal(text) is None
    assert time.process_time() - start < 5


TWICE = (
    '{"a": 1, "a": 2}', '{"a" : 1, "b": 2, "b": 3}', '{"a"\t:1,"b":2,"b":3}', '{"a\\u0022:": 1, "b": 2, "b": 3}',
    '[{"a": {"b": 1, "b": 1}}]', '{"x": "\\":", "b": 2, "b": 3}', '{"a"  : 1, "b": 2, "b": 3}', '{"a"\r\n: 1, "b": 2, "b": 3}',
)  # fmt: skip


@pytest.mark.parametrize("text", TWICE)
def test_a_key_twice_in_json_is_refused_however_it_is_spelled(text: str) -> None:
    for read in (loads, lambda text: parse(RawRecord(file="f", line=1, raw=text.encode()))):
        with pytest.raises(Refusal) as refused:
            read(text)
        assert refused.value.code == "key_twice"


@pytest.mark.parametrize(
    "text", ["-0", "1e5", "[0.1, -0.0]", "12345678901234567890123", '{"a": 123456789012345678901}', '"\\u00e9"', "null", "{}"]
)
def test_numbers_and_words_are_what_the_careful_parser_reads(text: str) -> None:
    assert repr(loads(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["1e400x", "NaN", "[1,]", "{'a': 1}", "", "[" * 5000 + "]" * 5000, "01", '"\n"'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        loads(text)


@pytest.mark.parametrize("text", ['{"a":1,"a":"\\"\\u003a"}', '{"a":1,"a":"\\u0022:"}', '{"a":[1],"a":["\\"\\u003A"]}'])
def test_a_doubled_key_is_seen_whatever_the_texts_beside_it_hold(text: str) -> None:
    for read in (lambda: loads(text), lambda: parse(RawRecord(file="f", line=1, raw=text.encode()))):
        with pytest.raises(Refusal) as found:
            read()
        assert found.value.code == "key_twice"
