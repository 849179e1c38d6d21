"""Environments for other projects: each in a folder of its own under ``.peers``, made by pip once, never mixed with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / ".peers"


def peer_environment(name: str, *packages: list[str]) -> str | None:
    """The Python of a peer's environment, with each list of arguments given to ``pip install``; None, and a line, where that fails."""
    folder = HOME / name
    python = folder / "bin" / "python"
    ready = folder / "ready"
    wanted = repr(packages)
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return str(python)
    print(f"setting up {name} in {folder.relative_to(HOME.parent)} (once)")
    steps = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
    steps += [[str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *one] for one in packages]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} cannot be installed, so there is no comparison: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
            return None
    ready.write_text(wanted, encoding="utf-8")
    return str(python)
