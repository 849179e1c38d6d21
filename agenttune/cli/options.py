"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it


def model_options(one: argparse.ArgumentParser) -> None:
    """A model with one adapter."""
    one.add_argument("--adapter", metavar="DIR", help="an adapter folder")
    loading_options(one)


def loading_options(one: argparse.ArgumentParser) -> None:
    """How a model is loaded, and the formats that it speaks."""
    one.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    one.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    one.add_argument("--bits", type=int, choices=[4, 8], help="quantise the base with bitsandbytes")
    one.add_argument("--protocol", help="wire protocol (default: the adapter's card, else react)")
    one.add_argument("--template", help="chat template (default: the adapter's card, else auto)")


def tool_options(one: argparse.ArgumentParser) -> None:
    """Where tools come from."""
    one.add_argument("--mcp", type=Path, metavar="FILE", help="the tools of MCP servers too: a file with mcpServers")
    one.add_argument("--trust", action="store_true", help="trust the folders of the named files once and for all: their code is run")
    one.add_argument("--loopback", action="store_true", help="an API of openapi:FILE may be a server on this machine")


def offline_option(one: argparse.ArgumentParser) -> None:
    """Whether tools may ask the world."""
    one.add_argument("--offline", action="store_true", help="tools ask nobody: searches answer from what was searched before")
