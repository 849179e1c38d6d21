"""The process in which tools work. It speaks JSON lines with its parent, and it can be killed at any moment.

It is started by its path, so nothing of the project may be imported before the parent's module path has arrived. Requests come by
standard input; replies go by the descriptor that the command line names; what tools print goes to the parent as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import IO, Any


def main() -> None:
    """Reads a greeting, splits into a worker and the process that watches it, and answers one request a line."""
    requests, replies = os.fdopen(os.dup(0), "rb"), int(sys.argv[1])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.set_inheritable(replies, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    greeting = json.loads(requests.readline())
    sys.path[:] = greeting["path"]
    from agenttune.agent.toolbox.workers.reaper import become_reaper, die_with_parent, watch

    become_reaper()
    worker = os.fork()
    if worker:
        os.close(replies)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        watch(worker, requests.fileno())
    die_with_parent()
    _limit_memory(greeting["memory"])
    _serve(requests, replies, greeting["limit"])


def _serve(requests: IO[bytes], replies: int, limit: int) -> None:
    me = os.getpid()
    _send(replies, {"worker": me})
    tools: dict[str, Any] = {}
    for line in requests:
        request = json.loads(line)
        text, error, nothing = _work(request, tools, limit)
        if os.getpid() != me:  # the tool forked, and this is the copy: only one of them answers
            os._exit(0)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a tool may have closed or replaced it
                stream.flush()
        _send(replies, {"id": request["id"], "text": text, "error": error, "nothing": nothing})


def _limit_memory(limit: int | None) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ValueError, OSError):  # macOS does not limit address space; the deadline still holds
        return


def _send(replies: int, message: dict[str, Any]) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(replies, data) :]


def _work(request: dict[str, Any], tools: dict[str, Any], limit: int) -> tuple[str, bool, bool]:
    """(text, whether it is an error, whether the tool returned nothing)."""
    from agenttune.agent.toolbox.answers import cut, described
    from agenttune.agent.toolbox.loading import load_origin
    from agenttune.agent.toolbox.signatures.functions import Origin, tool

    key = json.dumps(request["origin"])
    try:
        if key not in tools:
            tools[key] = tool(load_origin(Origin(**request["origin"])))
    except Exception as error:
        return cut(f"Error: the tool cannot be loaded: {described(error)}", limit), True, False
    attempt: tuple[str, bool, bool] = tools[key].attempt(request["keywords"], limit)
    return attempt


if __name__ == "__main__":
    main()
