"""What ``agenttune chat`` is told on the command line."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttune.screens.chat.options import ChatOptions

TOOLS = "calculator,local_search"


def add_arguments(one: argparse.ArgumentParser) -> None:
    """The arguments of chat alone; those of loading a model are added elsewhere."""
    one.add_argument("model", nargs="?", default="", help="smollm2-135m, a folder, a .gguf file, or a hub id; with --base-url the server's")
    one.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server that has the model; $OPENAI_API_KEY is sent to it")
    _add_conversation(one.add_argument_group("the conversation"))
    _add_once(one.add_argument_group("one question, and an exit code"))
    _add_limits(one.add_argument_group("how it answers"))


def _add_conversation(one: argparse._ArgumentGroup) -> None:
    one.add_argument("--tools", default=TOOLS, help="names, ./file.py or package.module, with commas; or none")
    one.add_argument("--allow", default="", metavar="TOOLS", help="names, with commas: tools that change something, run without asking")
    one.add_argument("--lagent", action="store_true", help="lagent's own ReAct answers, over this model and these tools")
    one.add_argument("--system", default="", help="system text")
    one.add_argument("--resume", nargs="?", const="", metavar="SESSION", help="go on with a session: the newest, an id, or a file")
    one.add_argument("--no-trace", dest="trace", action="store_false", help="keep no session")


def _add_once(one: argparse._ArgumentGroup) -> None:
    once = "answer once and exit; what stands on standard input is asked with it, and - asks that alone"
    one.add_argument("-p", "--prompt", metavar="TEXT", help=once)
    formats = "the answer (default), one JSON object, or one JSON object an event"
    one.add_argument("--output-format", default="text", metavar="text|json|stream-json", help=formats)
    one.add_argument("--max-seconds", type=float, default=0.0, metavar="S", help="stop after so long, with exit code 124")


def _add_limits(one: argparse._ArgumentGroup) -> None:
    one.add_argument("--max-steps", type=int, default=8, metavar="N", help="replies for one question (8)")
    one.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="tokens of one reply (512)")
    tokens = "written for one question, then it must answer (16384)"
    one.add_argument("--max-tokens", dest="run_tokens", type=int, default=16384, metavar="N", help=tokens)
    one.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 (default) takes the likeliest token")
    free = "calls that can only fit their schema (default), or as the model writes them"
    one.add_argument("--constrain", action=argparse.BooleanOptionalAction, default=True, help=free)
    one.add_argument("--tool-seconds", type=float, default=30.0, metavar="S", help="what one call may take (30)")
    one.add_argument("--observation-tokens", type=int, default=2000, metavar="N", help="of one result; its middle gives way (2000)")
    one.add_argument("--no-guards", dest="guard", action="store_false", help="let a run end at a limit without an answer, repeat calls")
    one.add_argument("--no-repair", dest="repair", action="store_false", help="read replies strictly: no relaxed JSON, types or near names")


def read_arguments(options: argparse.Namespace) -> ChatOptions:
    """The arguments as the value that `chat` takes."""
    from agenttune.agent.guards import Guards
    from agenttune.screens.chat.options import ChatOptions

    given = {field.name: getattr(options, field.name) for field in fields(ChatOptions) if hasattr(options, field.name)}
    limits = {field.name: getattr(options, field.name) for field in fields(Guards)}
    tools = () if options.tools == "none" else names(options.tools)
    guards = Guards(**limits) if options.guard else None
    return ChatOptions(**{**given, "tools": tools, "allow": names(options.allow), "guards": guards})


def names(listed: str) -> tuple[str, ...]:
    """The names of a list with commas."""
    return tuple(name.strip() for name in listed.split(",") if name.strip())
