"""``tools``: the plug-in tools, without a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agenttune.cli.environment import typed
from agenttune.cli.options import Commands, offline_option, tool_options
from agenttune.cli.trust import trusted
from agenttune.errors import UserError


def add_tools(commands: Commands) -> None:
    """The command ``tools`` and its options."""
    one = commands.add_parser("tools", help="the plug-in tools")
    verbs = one.add_subparsers(metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="the shipped tools, or those of MCP servers")
    tool_options(listed)
    listed.set_defaults(command=_tools_list)
    doctor = verbs.add_parser("doctor", help="whether tools load and servers answer, and what a model may misread in a signature")
    doctor.add_argument("names", nargs="*", metavar="NAME", help="as for chat --tools (default: all shipped ones)")
    tool_options(doctor)
    doctor.set_defaults(command=_tools_doctor)
    call = verbs.add_parser("call", help="one call from the shell")
    call.add_argument("name")
    call.add_argument("arguments", metavar="JSON", nargs="?", default="{}")
    call.add_argument("--tool-seconds", type=float, default=30.0, metavar="S", help="what the call may take (30)")
    tool_options(call)
    offline_option(call)
    call.set_defaults(command=_tools_call)
    _add_tools_index(verbs)


def _add_tools_index(verbs: Commands) -> None:
    index = verbs.add_parser("index", help="a search file of a folder of your own, for local_search:FILE")
    index.add_argument("folder", metavar="FOLDER", help="its Markdown, HTML, text and PDF files, at every depth")
    index.add_argument("-o", "--out", metavar="FILE", help="the search file (default: the folder's name with .sqlite, here)")
    index.add_argument("--overwrite", action="store_true", help="replace a file that is not this folder's search file")
    index.set_defaults(command=_tools_index)


def _tools_list(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox import listing
    from agenttune.screens.inert import inert

    trusted([], options)
    for row in listing(options.mcp):
        print(inert(f"{row.name:14} {row.summary}" + (f"  [needs {row.needs}]" if row.needs else "")))
    return 0


def _tools_doctor(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox.doctor import check_tools
    from agenttune.screens.inert import inert

    trusted(options.names, options)
    broken = 0
    for one in check_tools(options.names, options.mcp, loopback=options.loopback):
        broken += one.broken
        print(inert(f"{one.name:24} {'cannot be used' if one.broken else one.effect or '-'}"))
        for said in one.notes:
            print(inert(f"  {said}"))
    return 1 if broken else 0


def _tools_index(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox.articles.folder_index import index_folder
    from agenttune.screens.inert import inert

    folder = Path(options.folder)
    target = Path(options.out or f"{folder.resolve().name}.sqlite")
    made = index_folder(folder, target, overwrite=options.overwrite)
    gone = f", {made.gone} gone" if made.gone else ""
    print(inert(f"{made.path}: passages: {made.passages}, files: {made.read + made.known} ({made.read} read, {made.known} known{gone})"))
    for name, why in made.failed:
        print(inert(f"not read: {name}: {why}"), file=sys.stderr)
    if made.others:
        print(inert("of other kinds: " + ", ".join(f"{count} {suffix}" for suffix, count in made.others.most_common())), file=sys.stderr)
    print(inert(f"agenttune chat MODEL --tools local_search:{made.path}"))
    return 1 if made.failed else 0


def _tools_call(options: argparse.Namespace) -> int:
    from agenttune.agent.toolbox import call_from_shell
    from agenttune.screens.inert import inert

    if not 0 < options.tool_seconds < float("inf"):
        raise UserError("--tool-seconds must be more than 0")
    trusted([options.name], options)
    printed: list[str] = []
    seen = call_from_shell(
        options.name,
        typed(options.arguments),
        options.tool_seconds,
        mcp=options.mcp,
        loopback=options.loopback,
        on_print=lambda _, text: printed.append(text),
    )
    if printed and printed != [seen.text]:
        print(inert(f"(printed) {printed[0]}"), file=sys.stderr)
    print(inert(seen.text), file=sys.stderr if seen.error else sys.stdout)
    return 1 if seen.error else 0
