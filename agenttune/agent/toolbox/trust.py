"""Folders whose tool files a person has looked at: importing a file runs it, and a file of MCP servers names programs that are started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from agenttune.errors import UserError
from agenttune.files import replacing


def trusted_file() -> Path:
    """Where the trusted folders are kept: ``agenttune/trusted.json`` in the person's configuration folder."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agenttune" / "trusted.json"


def tool_file(name: str) -> Path | None:
    """The Python file that a tool's name names; None for a name of another kind."""
    place = name if Path(name).is_file() else name.partition(":")[0]
    return Path(place) if (place.endswith(".py") or "/" in place) and not name.startswith("openapi:") else None


def require_trust(names: Sequence[str], mcp: Path | None, *, trust: bool, ask: Callable[[str], bool] | None) -> None:
    """Lets pass what lies in folders that were trusted once; the others are asked about, or trusted with `trust`, and remembered.

    A folder is trusted as a place, whatever its files hold later. Raises `UserError` for a no, and where nobody can be asked.
    """
    files = [one for one in (*map(tool_file, names), mcp) if one is not None]
    known = set(_trusted())
    for file in files:
        folder = str(file.resolve().parent)
        if folder in known or not file.is_file():
            continue
        if not (trust or (ask is not None and ask(_question(file, folder, file == mcp)))):
            what = "starts the programs that it names" if file == mcp else "runs its code"
            raise UserError(
                f"{file} was not used: that {what}, and the folder {folder} is not trusted; read the file, then add --trust once"
            )
        known.add(folder)
        _remember(known)


def _question(file: Path, folder: str, programs: bool) -> str:
    return f"{file} {'names programs that are started' if programs else 'is Python code that is run'}; trust the folder {folder}?"


def _trusted() -> list[str]:
    path = trusted_file()
    if not path.is_file():
        return []
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        folders = held["folders"]
        assert isinstance(folders, list) and all(isinstance(one, str) for one in folders)
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise UserError(f'{path} cannot be read; it must be {{"folders": ["/folder", …]}}; mend or remove it') from error
    return folders


def _remember(folders: set[str]) -> None:
    with replacing(trusted_file(), permissions=0o600) as file:
        json.dump({"folders": sorted(folders)}, file, ensure_ascii=False, indent=1)
        file.write("\n")
