"""Stops are found however tokens cut them; text comes in whole characters; ids and text of an output agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttune.agent.stop import Output, StopScanner, TextStream
from agenttune.models.hf import wrap_tokenizer
from agenttune.models.scripted import ByteTokenizer

STOP = "\nObservation:"


class Pieces(ByteTokenizer):
    """A vocabulary of whole pieces after the bytes: ids from 300 on are the pieces given."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.pieces[one - 300] if one >= 300 else bytes((one,)) for one in ids).decode("utf-8", "replace")


def cuts(text: bytes, size: int) -> list[list[bytes]]:
    """Every way to cut `text` into pieces, the last `size` bytes of it in every way."""
    head, tail = text[:-size], text[-size:]
    found = []
    for marks in itertools.product([False, True], repeat=len(tail) - 1):
        pieces, start = [head], 0
        for at, mark in enumerate(marks, 1):
            if mark:
                pieces.append(tail[start:at])
                start = at
        found.append([*pieces, tail[start:]])
    return found


def test_a_stop_is_found_however_it_is_cut() -> None:
    text = "I look. é" + STOP
    ways = cuts(text.encode() + b" it", 12)
    assert len(ways) == 2**11
    for pieces in ways:
        tokenizer = Pieces(pieces)
        output = Output(tokenizer, (STOP,), frozenset(), 100, 100)
        shown = ""
        used = 0
        for number in range(len(pieces)):
            shown += output.push(300 + number)
            used += 1
            if output.stop:
                break
        assert output.stop == "stop_text"
        assert shown == output.text == "I look. é"
        assert tokenizer.decode(output.token_ids) == "I look. é"
        assert len(b"".join(pieces[: used - 1])) < len(text.encode())  # not one token too late


def test_what_only_looks_like_a_stop_is_shown() -> None:
    scanner = StopScanner((STOP, "<end>"))
    assert scanner.push("a\nObs") == "a"
    assert scanner.push("cure <e") == "\nObscure "
    assert scanner.push("n") == ""
    assert scanner.flush() == "<en"
    assert not scanner.found


def test_the_first_of_two_stops_counts() -> None:
    scanner = StopScanner(("cd", "bc"))
    assert scanner.push("xbcd") == "x"
    assert scanner.found


def test_a_stop_that_begins_anew_inside_itself() -> None:
    scanner = StopScanner(("aab",))
    assert scanner.push("aa") == ""
    assert scanner.push("a") == "a"
    assert scanner.push("b") == ""
    assert scanner.found


def test_a_held_back_beginning_is_told_at_the_end() -> None:
    output = Output(ByteTokenizer(), (STOP,), frozenset({257}), 100, 100)
    shown = "".join(output.push(one) for one in [*b"Fine.\nObs", 257])
    assert (shown, output.stop, output.token_ids) == ("Fine.\nObs", "stop", list(b"Fine.\nObs"))


def test_limits_name_which_one_was_met() -> None:
    def end(limit: int, room: int) -> tuple[str, int]:
        output = Output(ByteTokenizer(), (), frozenset(), limit, room)
        count = 0
        while not output.stop:
            output.push(97)
            count += 1
        return output.stop, count

    assert end(3, 9) == ("length", 3)
    assert end(9, 3) == ("context", 3)
    assert end(9, 0) == ("context", 0)
    assert end(0, 9) == ("length", 0)


def test_an_output_cut_inside_a_character_ends_in_a_replacement() -> None:
    output = Output(ByteTokenizer(), (), frozenset(), 2, 9)
    shown = "".join(output.push(one) for one in "你".encode()[:2])
    assert (shown, output.text, output.stop) == ("\ufffd", "\ufffd", "length")


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40)


@given(texts)
def test_bytes_become_text_character_by_character(text: str) -> None:
    stream = TextStream(ByteTokenizer())
    pieces = [stream.push(one) for one in text.encode()]
    assert "".join(pieces) == text
    assert [piece for piece in pieces if piece] == list(text)
    assert stream.flush() == ""


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_come_too(data: bytes) -> None:
    stream = TextStream(ByteTokenizer())
    told = "".join(stream.push(one) for one in data) + stream.flush()
    if data.decode("utf-8", "replace").count("\ufffd") <= 4:
        assert told == data.decode("utf-8", "replace")
    assert told.replace("\ufffd", "") == data.decode("utf-8", "ignore") or told.count("\ufffd") > 4


@pytest.mark.parametrize("text", ["", "Thought: 1 2 3", "今天天气怎么样？ 😀🏳️‍🌈 e\u0301", "a\n\n  b\t", "<|im_start|>user"])
def test_a_real_tokenizers_text_comes_whole(made_tokenizer: Callable[[str], Any], text: str) -> None:
    tokenizer = wrap_tokenizer(made_tokenizer("chatml"))
    for special in (False, True):
        stream = TextStream(tokenizer)
        pieces = [stream.push(one) for one in tokenizer.encode(text, special=special)]
        assert "".join(pieces) + stream.flush() == text
        assert all("\ufffd" not in piece for piece in pieces)
