"""JSON objects of a file, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from agenttune.errors import UserError
from agenttune.files import read_text
from agenttune.values.trajectory import JsonObject


def objects(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """(line number, object). Raises `UserError` for a line that is no JSON object."""
    for number, line in enumerate(read_text(path, "cases").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number} is not a JSON object")
        yield number, row
