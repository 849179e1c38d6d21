"""``demo``: the whole path, on what is embedded."""

from __future__ import annotations

import argparse
from pathlib import Path

from agenttune.cli.options import Commands


def add_demo(commands: Commands) -> None:
    """The command ``demo`` and its options."""
    one = commands.add_parser("demo", help="the whole path on the embedded model and data")
    one.add_argument("--quick", action="store_true", help="a small part of it, in about three minutes")
    one.add_argument("-o", "--out", default=None, metavar="DIR", help="where everything goes (default: runs/demo or runs/demo-quick)")
    one.set_defaults(command=_demo, spins=True)


def _demo(options: argparse.Namespace) -> int:
    from agenttune.demo import demo

    return demo(Path(options.out or ("runs/demo-quick" if options.quick else "runs/demo")), quick=options.quick)
