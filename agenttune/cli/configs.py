"""``configs``: the shipped training runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from agenttune.cli.options import Commands
from agenttune.errors import UserError


def add_configs(commands: Commands) -> None:
    """The command ``configs`` and its options."""
    one = commands.add_parser("configs", help="the shipped training configs")
    verbs = one.add_subparsers(metavar="VERB", required=True)
    verbs.add_parser("list", help="their names").set_defaults(command=_configs_list)
    show = verbs.add_parser("show", help="one of them")
    show.add_argument("name")
    show.set_defaults(command=_configs_show)
    copy = verbs.add_parser("copy", help="one of them into this folder")
    copy.add_argument("name")
    copy.set_defaults(command=_configs_copy)


def _configs_list(options: argparse.Namespace) -> int:
    from agenttune.files import shipped

    for path in sorted(shipped("configs").glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        print(f"{path.stem:36} {first.lstrip('# ')}")
    return 0


def _configs_show(options: argparse.Namespace) -> int:
    from agenttune.config import find_config

    print(find_config(options.name).read_text(encoding="utf-8"), end="")
    return 0


def _configs_copy(options: argparse.Namespace) -> int:
    from agenttune.config import find_config
    from agenttune.files import write_text

    source = find_config(options.name)
    target = Path(source.name)
    if target.exists():
        raise UserError(f"{target} exists already; remove it or go to another folder")
    write_text(target, source.read_text(encoding="utf-8"))
    print(target)
    return 0
