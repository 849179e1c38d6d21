"""The process in which tools work. It speaks JSON lines with its parent, and it can be killed at any moment.

It is started by its path, so nothing of the project may be imported before the parent's module path has arrived.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

GRACE = 5.0  # seconds after its deadline at which a worker that nobody killed ends by itself


def main() -> None:
    """Reads a greeting, then one request a line, until the parent closes the pipe."""
    requests, replies, null = _private_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    greeting = json.loads(requests.readline())
    sys.path[:] = greeting["path"]
    _limit_memory(greeting["memory"])
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting), daemon=True).start()
    _send(replies, {"ready": True})
    tools: dict[str, Any] = {}
    while True:
        request = json.loads(waiting.get())
        faulthandler.dump_traceback_later(request["deadline"] + GRACE, exit=True, file=null)
        text, error = _work(request, tools, greeting["limit"])
        faulthandler.cancel_dump_traceback_later()
        _send(replies, {"text": text, "error": error})


def _private_pipes() -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """The pipes to the parent under private descriptors; what a tool reads or prints goes to the null device."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    null = open(os.devnull, "r+b", buffering=0)  # noqa: SIM115 - open as long as the process
    for descriptor in (0, 1, 2):
        os.dup2(null.fileno(), descriptor)
    return requests, replies, null


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


def _listen(requests: IO[bytes], waiting: queue.SimpleQueue[bytes]) -> None:
    """Passes requests on. The parent has gone when the pipe ends: then this process and what it started end too."""
    for line in requests:
        waiting.put(line)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _send(replies: IO[bytes], message: dict[str, Any]) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[replies.write(data) :]


def _work(request: dict[str, Any], tools: dict[str, Any], limit: int) -> tuple[str, bool]:
    from agenttune.agent.toolbox.answers import cut, described
    from agenttune.agent.toolbox.functions import Origin, tool
    from agenttune.agent.toolbox.loading import load_origin

    key = json.dumps(request["origin"])
    try:
        if key not in tools:
            tools[key] = tool(load_origin(Origin(**request["origin"])))
    except Exception as error:
        return cut(f"Error: the tool cannot be loaded: {described(error)}", limit), True
    attempt: tuple[str, bool] = tools[key].attempt(request["keywords"], limit)
    return attempt


if __name__ == "__main__":
    main()
