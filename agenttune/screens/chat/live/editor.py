"""A text as a person leaves it in their editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from agenttune.errors import UserError


def edited_text(text: str, alone: Callable[[Callable[[], int]], int]) -> str:
    """The text after ``$VISUAL``, or ``$EDITOR``, which `alone` gives the terminal. Raises `UserError`."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    handle, name = tempfile.mkstemp(suffix=".md")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if alone(lambda: subprocess.call([*command, name])):
            raise UserError(f"{command[0]} ended with an error; the answer stays as it was")
        return Path(name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no editor {command[0]}; name one in $EDITOR, or give the text after /edit") from error
    finally:
        os.unlink(name)
