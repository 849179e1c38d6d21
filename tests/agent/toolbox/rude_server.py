"""An MCP server over pipes that misbehaves when it is asked to; written by hand, so that nothing keeps it from doing so.

``python rude_server.py PIDS [mute|dumb|endless]``: its process ids go to the file PIDS, a line each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
NAMES = (
    *("echo", "die", "hang", "stubborn", "giant_line", "chatter", "garbage", "wrong_id", "refuse", "picture", "long_text", "no_result"),
    *("secrets", "count", "out of\n\x1b[31m line", "breaks"),
)


def note(path: str, pid: int) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{pid}\n")


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **more}


def listed(name: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "title": "Arguments",
        "properties": {"text": {"$ref": "#/$defs/Words"}},
        "$defs": {"Words": {"type": "string", "title": "Words", "description": "any text"}},
    }
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, "annotations": {"readOnlyHint": True}}


def call(name: str, arguments: dict[str, Any], number: Any, pids: str, calls: int) -> dict[str, Any] | None:
    """The result of a call; None where there is none."""
    if name == "echo":
        return text(arguments.get("text", ""))
    if name == "die":
        os._exit(9)
    if name == "hang":
        time.sleep(600)
    if name == "stubborn":
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        note(pids, subprocess.Popen(["sleep", "600"]).pid)
        time.sleep(600)
    if name == "giant_line":
        while True:
            sys.stdout.write("x" * 65536)
    if name == "chatter":
        while True:
            send({"method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}})
    if name == "garbage":
        sys.stdout.write("starting up...\n[[[[[[\n\x00\xff\n" + "[" * 50_000 + '\n{"jsonrpc": "1.0"}\n')
        return text("after the garbage")
    if name == "wrong_id":
        send({"id": 987654, "result": text("not yours")})
        return text("yours")
    if name == "refuse":
        send({"id": number, "error": {"code": -32602, "message": "no such \x1b[31mcity"}})
        return None
    if name == "picture":
        blob = {"type": "resource", "resource": {"uri": "file:///a.bin", "mimeType": "application/x-thing", "blob": "AAAA"}}
        link = {"type": "resource_link", "name": "more", "uri": "https://a.example/b"}
        return {"content": [{"type": "text", "text": "a dot:"}, {"type": "image", "data": PNG, "mimeType": "image/png"}, blob, link]}
    if name == "long_text":
        return text("<" + "y" * 1_000_000 + ">")
    if name == "no_result":
        send({"id": number, "result": {"content": "this should be a list"}})
        return None
    if name == "secrets":
        return text(json.dumps(sorted(os.environ)))
    if name == "count":
        return text(str(calls))
    if name == "breaks":
        return text("out of order", isError=True)
    return text("")


def main(pids: str, mood: str = "") -> None:
    note(pids, os.getpid())
    if mood == "mute":
        time.sleep(600)
    if mood == "dumb":
        print("cannot find my configuration", file=sys.stderr)
        sys.exit(3)
    calls = 0
    for line in sys.stdin:
        asked = json.loads(line)
        method, number = asked.get("method"), asked.get("id")
        if method == "initialize":
            server = {"name": "rude", "version": "1"}
            send({"id": number, "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server}})
        elif method == "tools/list":
            page = {"tools": [listed(name) for name in NAMES], **({"nextCursor": "again"} if mood == "endless" else {})}
            send({"id": number, "result": page})
        elif method == "tools/call":
            calls += 1
            result = call(asked["params"]["name"], asked["params"].get("arguments") or {}, number, pids, calls)
            if result is not None:
                send({"id": number, "result": result})
        elif number is not None:
            send({"id": number, "error": {"code": -32601, "message": "unknown method"}})


if __name__ == "__main__":
    main(*sys.argv[1:])
