"""An MCP server over streamable HTTP by the official SDK: ``python http_server.py PORT [KEY]``."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

app = MCPServer("numbers")


@app.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@app.tool()
def hang() -> str:
    """Takes its time."""
    time.sleep(600)
    return ""


@app.tool()
def die() -> str:
    """Ends the server."""
    os._exit(9)


@app.tool()
def much() -> str:
    """Says more than anyone reads."""
    return "z" * (16 << 20)


@app.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("a secret of the server")


if __name__ == "__main__":
    app.run(transport="streamable-http", port=int(sys.argv[1]))
