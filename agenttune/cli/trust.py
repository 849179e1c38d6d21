"""Folders whose code would be run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def trusted(names: Sequence[str], options: argparse.Namespace) -> None:
    """Asks a person once about each folder whose code would be run."""
    from agenttune.agent.toolbox.trust import require_trust

    def ask(question: str) -> bool:
        from agenttune.screens.inert import inert

        print(inert(f"{question} [yes/no] "), end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    require_trust(names, options.mcp, trust=options.trust, ask=ask if terminal else None)
