"""All commands, in the order in which ``agenttune --help`` lists them."""

from __future__ import annotations

import argparse

from agenttune import __version__
from agenttune.cli.chat import add_chat
from agenttune.cli.configs import add_configs
from agenttune.cli.convert import add_convert, add_report
from agenttune.cli.demo import add_demo
from agenttune.cli.evaluate import add_compare, add_eval, add_selftest
from agenttune.cli.serve import add_serve
from agenttune.cli.show import add_show
from agenttune.cli.tools import add_tools
from agenttune.cli.train import add_plan, add_train


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="agenttune",
        description="Turn logs of tool use into a tuned agent, talk to it with live tools, and measure whether it got better.",
    )
    top.add_argument("--version", action="version", version=f"agenttune {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = (
        add_convert,
        add_report,
        add_show,
        add_train,
        add_plan,
        add_chat,
        add_eval,
        add_compare,
        add_serve,
        add_selftest,
        add_tools,
        add_configs,
        add_demo,
    )
    for add in made:
        add(commands)
    return top
