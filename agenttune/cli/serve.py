"""``serve``: a model behind OpenAI's protocol."""

from __future__ import annotations

import argparse
import os

from agenttune.cli.options import Commands, loading_options


def add_serve(commands: Commands) -> None:
    """The command ``serve`` and its options."""
    one = commands.add_parser("serve", help="a model behind OpenAI's protocol, for everybody else's client")
    one.add_argument("model", help="smollm2-135m, a folder, a .gguf file, or a hub id")
    one.add_argument(
        "--adapter",
        metavar="NAME=DIR",
        action="append",
        default=[],
        help="an adapter and the name it is served under; repeatable",
    )
    one.add_argument("--upstream", default="", metavar="URL", help="a server that says the tokens; $OPENAI_API_KEY is sent to it")
    one.add_argument("--upstream-model", default="", metavar="NAME", help="the base's name there (default: the first that it lists)")
    loading_options(one)
    one.add_argument("--host", default="127.0.0.1", help="the address to listen on; any but this machine's own needs --api-key")
    one.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    one.add_argument("--api-key", metavar="KEY", help="what clients must send (default: AGENTTUNE_API_KEY, which no process list shows)")
    one.add_argument("--batch", type=int, default=16, metavar="N", help="requests decoded at once, at most (16)")
    one.add_argument("--queue", type=int, default=64, metavar="N", help="requests that may wait; more are told 429 (64)")
    one.add_argument("--cache-mb", type=int, default=1024, metavar="MB", help="memory for what was read of earlier prompts (1024)")
    one.add_argument("--max-new-tokens", type=int, default=1024, help="tokens of one reply, at most")
    one.add_argument("--drain", type=float, default=10.0, metavar="SECONDS", help="what running requests are given at the end (10)")
    one.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from agenttune.serving.options import ServeOptions, needs

    needs()
    from agenttune.screens.console import stderr
    from agenttune.serving.server import serve

    console = stderr()
    asked = ServeOptions(
        model=options.model,
        adapters=tuple(options.adapter),
        host=options.host,
        port=options.port,
        api_key=options.api_key or os.environ.get("AGENTTUNE_API_KEY", ""),
        protocol=options.protocol,
        template=options.template,
        device=options.device,
        dtype=options.dtype,
        bits=options.bits,
        batch=options.batch,
        waiting=options.queue,
        cache_mb=options.cache_mb,
        max_new_tokens=options.max_new_tokens,
        drain=options.drain,
        upstream=options.upstream,
        upstream_model=options.upstream_model,
    )
    return serve(asked, on_event=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
