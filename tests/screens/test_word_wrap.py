"""Word wrap of text that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agenttune.screens.word_wrap import WordWrap
from tests.work import grows_linearly


def flowed(text: str, width: int | None, indent: int, size: int = 1) -> str:
    """The text after it came in pieces of `size` characters."""
    flow = WordWrap(width, indent)
    pieces = [flow.push(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join(pieces) + flow.flush()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three", "one two\n  three"),
        ("  one\n\ntwo \n", "one\n\n  two"),
        ("abcdefghijklmnop", "abcdefgh\n  ijklmnop"),
        ("一二三四五六", "一二三四\n  五六"),
        ("ab一二三四", "ab一二三\n  四"),
        ("if x:\n   go on now", "if x:\n     go on\n     now"),
        ("a\n" + " " * 30 + "b", "a\n      b"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_lines_of_eight_columns_behind_two_blanks(text: str, shown: str) -> None:
    assert flowed(text, 10, 2) == shown


def test_without_a_width_lines_are_as_long_as_they_come() -> None:
    assert flowed("a " * 200 + "\nb", None, 4) == ("a " * 200).rstrip() + "\n    b"


TEXT = st.text(st.sampled_from("ab 一\n\té\u0301"), max_size=80)


@settings(max_examples=150, deadline=None)
@example("a\n \t\u0301\t一", 10, 0)  # a word of no width at the start of a line
@given(TEXT, st.integers(10, 30), st.integers(0, 6))
def test_no_letter_is_lost_and_no_line_too_long_however_it_comes(text: str, width: int, indent: int) -> None:
    shown = flowed(text, width, indent)
    assert "".join(shown.split()) == "".join(text.split())
    lines = (" " * indent + shown).split("\n")
    assert max(cell_len(line) for line in lines) <= max(width, indent + 8)
    assert all(not line or line.startswith(" " * indent) for line in lines)
    assert all(flowed(text, width, indent, size) == shown for size in (2, 7, 100))


def test_a_word_of_ten_thousand_combining_letters_costs_as_many_looks() -> None:
    assert grows_linearly(lambda size: WordWrap(80, 2).push("a" + "\u0301" * size), 2000)
    assert WordWrap(80, 2).push("a" + "\u0301" * 3 + " b") == "a\u0301\u0301\u0301"
