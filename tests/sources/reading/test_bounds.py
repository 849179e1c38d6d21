"""Texts made to take long: the work grows with their length and no faster, or ends at a bound that is said."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from agenttune.errors import Refusal
from agenttune.sources.call_text import looks_like_call, read_said
from agenttune.sources.reading import relaxed
from agenttune.sources.reading.json_text import read_value
from tests.work import grows_linearly

TEXTS: dict[str, Callable[[int], str]] = {
    "quotes without an end": lambda n: '\\"' * n,
    "quotes in a text without an end": lambda n: "'" + '\\"' * n,
    "single quotes": lambda n: '"' + "\\'" * n,
    "a list of them": lambda n: "[" + '\\"' * n,
    "an object of them": lambda n: '{"a":"' + '\\"' * n,
    "brackets": lambda n: "[" * n,
    "keys": lambda n: "{'a':" * n,
    "items": lambda n: "['a'," + "'b'," * n,
    "blanks": lambda n: "[" + " " * n + "x",
    "fences": lambda n: "```a" * n,
    "comments": lambda n: "{" + "/*" * n,
    "whole comments": lambda n: "{a:/" + "*/*" * n,
}


@pytest.mark.parametrize("name", TEXTS)
def test_reading_a_value_is_linear(name: str) -> None:
    def work(size: int) -> None:
        with contextlib.suppress(Refusal), relaxed.allowed([]):
            read_value(TEXTS[name](size))

    assert grows_linearly(work, 10_000)


WORDS = (
    "<tool_call>", "<tool_call>{", "<function=a>", "<function=a><parameter=b>", '<invoke name="a">', "<|channel|>a<|message|>",
    "[TOOL_CALLS]", "functools[", "Act: a(", "Thought:\n", "Action:\n", "<arg_key>", "a <arg_key>b</arg_key>", "```py\n", "<code>",
    "Action: a\n```", "[TOOL_CALLS]a[ARGS]{", "<functioncall> ", "<TOOLCALL>[", "<think>", "\n\n", "Final Answer:\n",
)  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_looking_for_calls_is_linear(words: str) -> None:
    def work(size: int) -> None:
        with contextlib.suppress(Refusal):
            read_said(words * size, [])
        looks_like_call(words * size)

    assert grows_linearly(work, 1000)


def test_escapes_in_an_array_are_passed_without_a_step_back_for_each() -> None:
    """In a process of its own, whose memory is limited to little more than the text: each escape kept would take sixty bytes."""
    code = """
        import io, resource
        from agenttune.sources.reading.json_array import elements
        body = b'["' + b'\\\\"' * 4_000_000 + b'"]'
        limit = 40 << 20
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert [len(one) for one in elements(body, io.BytesIO())] == [8_000_002]
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < limit
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
