"""The command line: a file a group of commands. It reads arguments, calls one verb, prints what it returns; libraries are imported when a
verb needs them."""

from agenttune.cli.commands import parser
from agenttune.cli.run import main

__all__ = ["main", "parser"]
