"""Environments for other projects: each in a folder of its own under ``.peers``, made by pip once, never mixed with ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / ".peers"


def environment(name: str, *packages: list[str], above_ours: bool = False) -> str | None:
    """The Python of a peer's environment, with each list of arguments given to ``pip install``; None, and a line, where that fails.

    `above_ours` lets it see our packages, so that torch, transformers and PEFT are the same to the last digit.
    """
    folder = HOME / name
    python, ready, wanted = folder / "bin" / "python", folder / "ready", repr((packages, above_ours))
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return str(python)
    print(f"setting up {name} in {folder.relative_to(HOME.parent)} (once)")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if above_ours:
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    for one in packages:
        step = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *one]
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} cannot be installed, so there is no comparison: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
            return None
    ready.write_text(wanted, encoding="utf-8")
    return str(python)
