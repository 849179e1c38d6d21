"""JSON objects of a file, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from agenttune.errors import Refusal
from agenttune.files import read_text
from agenttune.values.trajectory import JsonObject


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text) of each line that is not blank. Only a newline ends a line: JSON text may hold U+2028 and its like."""
    for number, line in enumerate(read_text(path, "cases").split("\n"), 1):
        if line.strip():
            yield number, line


def read_object(line: str) -> JsonObject:
    """The JSON object of a line. Raises `Refusal`."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refusal("json", f"the line is not JSON: {error}", line) from error
    if not isinstance(row, dict):
        raise Refusal("json", "the line is not a JSON object", line)
    return row
