"""``show``: a record as a person reads it."""

from __future__ import annotations

import argparse

from agenttune.cli.options import Commands


def add_show(commands: Commands) -> None:
    """The command ``show`` and its options."""
    one = commands.add_parser("show", help="a record, sample or trajectory as a person reads it")
    one.add_argument("file")
    one.add_argument("--index", type=int, default=0, help="which record, from 0")
    one.add_argument("--tokens", metavar="MODEL", help="each token, trained ones marked")
    one.add_argument("--template", default="auto", help="with --tokens: the chat template")
    one.add_argument("--stats", action="store_true", help="counts over the whole file")
    one.add_argument("--systems", metavar="FILE", help="JSON object of scenario → system text, for records that only name it")
    one.set_defaults(command=_show)


def _show(options: argparse.Namespace) -> int:
    from agenttune.screens.show.show import show

    return show(
        options.file,
        index=options.index,
        tokens=options.tokens,
        template=options.template,
        stats=options.stats,
        systems=options.systems,
    )
