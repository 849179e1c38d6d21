"""Environments for other trainers. Each stands on ours, so that torch, transformers and PEFT are the same to the last digit."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CACHE = Path(os.environ.get("AGENTTUNE_CACHE") or Path.home() / ".cache" / "agenttune")


def environment(name: str, requirements: list[str]) -> str | None:
    """The python of an environment that has `requirements` (without their dependencies) above ours; None where it cannot be made."""
    folder = CACHE / "peers" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return str(python)
    print(f"installing {', '.join(requirements)} into an environment of its own")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *requirements], capture_output=True, text=True)
    if done.returncode:
        print(f"{name} cannot be installed here: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'pip failed'}")
        return None
    (folder / "ready").touch()
    return str(python)
