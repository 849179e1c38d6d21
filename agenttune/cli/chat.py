"""``chat``: a model with live tools."""

from __future__ import annotations

import argparse

from agenttune.cli.environment import typed
from agenttune.cli.options import Commands, model_options, offline_option, tool_options
from agenttune.cli.trust import trusted


def add_chat(commands: Commands) -> None:
    """The command ``chat`` and its options."""
    from agenttune.screens.chat.arguments import add_arguments

    one = commands.add_parser("chat", help="talk to a model with live tools")
    model_options(one)
    add_arguments(one)
    tool_options(one)
    offline_option(one)
    one.set_defaults(command=_chat)


def _chat(options: argparse.Namespace) -> int:
    from agenttune.screens.chat.arguments import read_arguments
    from agenttune.screens.chat.start import chat

    options.system, options.prompt = typed(options.system), None if options.prompt is None else typed(options.prompt)
    asked = read_arguments(options)
    trusted(asked.tools, options)
    return chat(asked)
