"""Calls written in Python's own syntax, with literals for arguments. They are parsed and never run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.reading.literals import literal
from agenttune.values.trajectory import Json, ToolCall

MAX_CALL = 1 << 14  # characters of the arguments of a Python call
_PYTHON = re.compile(r"\A\[?\s*[A-Za-z_][\w.]*\(.*\)\s*\]?\Z", re.DOTALL)


def python_calls(text: str) -> list[ToolCall]:
    """``[name(key='value', …), …]`` or one call without brackets, values being literals; none for anything else."""
    return list(_python_calls(text)) if len(text) <= MAX_CALL and _PYTHON.match(text) else []


def _python_calls(text: str) -> Iterator[ToolCall]:
    tree = _parsed(text)
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    calls = [(node, _dotted(node.func)) for node in nodes if isinstance(node, ast.Call)]
    if len(calls) != len(nodes) or not all(name for _, name in calls):
        return
    made = [(name, keyword_arguments(text, node)) for node, name in calls]
    if all(arguments is not None for _, arguments in made):
        yield from (ToolCall(name=name, arguments=arguments or {}) for name, arguments in made)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else ""


def _parsed(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a data file is no concern of ours
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def keyword_arguments(text: str, call: ast.Call) -> dict[str, Json] | None:
    """The literals of a call by name, `text` being what the call was parsed from; None where one is no literal or has no name."""
    if call.args:
        return None
    found: dict[str, Json] = {}
    source = text.strip()
    for one in call.keywords:
        value = ast.get_source_segment(source, one.value)
        if one.arg is None or value is None or one.arg in found:
            return None
        try:
            found[one.arg] = _constant(value)
        except Refusal:
            return None
    return found


_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}


def _constant(text: str) -> Json:
    return _WORDS[text] if text in _WORDS else literal(text)
