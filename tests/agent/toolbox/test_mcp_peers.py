"""Servers that no one here wrote, each from its package in an environment of its own, and one of the SDK's first generation."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from agenttune.agent.toolbox import Permission, PermissionRequest, Toolbox, find
from agenttune.values.trajectory import Observation, ToolCall
from tests.benchmarks.peers import environment

OLD = '''
from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp import Image

app = FastMCP("old")

@app.tool()
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b

@app.tool()
def dot() -> Image:
    """Draws a dot."""
    return Image(data=b"123456", format="png")

app.run()
'''


def yes(request: PermissionRequest) -> Permission:
    """A person who allows everything."""
    return Permission(allowed=True)


def written(folder: Path, servers: dict[str, object]) -> Path:
    path = folder / "servers.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return path


def call(toolbox: Toolbox, name: str, **arguments: object) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)], 60.0)
    return seen


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        missing = self.path == "/robots.txt"
        body = b"" if missing else b"<html><body><h1>Tides</h1><p>The sea rises twice a day.</p></body></html>"
        self.send_response(404 if missing else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def page() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/tides"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_the_reference_servers_for_time_and_pages(tmp_path: Path, page: str) -> None:
    python = environment("mcp_servers", ["mcp-server-time==2026.10.19", "mcp-server-fetch==2026.10.24"])
    if python is None:
        pytest.skip("no package index can be reached")
    servers = {
        "time": {"command": python, "args": ["-m", "mcp_server_time", "--local-timezone", "Europe/Oslo"]},
        "fetch": {"command": python, "args": ["-m", "mcp_server_fetch", "--allow-private-ips"]},
    }
    with find([], ask=yes, mcp=written(tmp_path, servers)) as toolbox:
        assert {"get_current_time", "convert_time", "fetch"} <= set(toolbox.tools)
        seen = call(toolbox, "convert_time", source_timezone="Asia/Tokyo", time="12:00", target_timezone="Europe/Oslo")
        assert re.search(r"T0[45]:00:00", seen.text)
        assert not seen.trusted
        assert call(toolbox, "get_current_time", timezone="Nowhere/Land").error
        assert "The sea rises twice a day." in call(toolbox, "fetch", url=page).text
        assert call(toolbox, "fetch", url="http://127.0.0.1:1/").error


@pytest.mark.slow
def test_a_server_of_the_first_generation(tmp_path: Path) -> None:
    python = environment("mcp_1", ["mcp==1.30.0"])
    if python is None:
        pytest.skip("no package index can be reached")
    script = tmp_path / "old.py"
    script.write_text(OLD, encoding="utf-8")
    with find([], ask=yes, mcp=written(tmp_path, {"old": {"command": python, "args": [str(script)]}})) as toolbox:
        assert toolbox.tools["add"].spec.parameters["required"] == ["a"]
        assert call(toolbox, "add", a=2, b=3).text == "5"
        assert call(toolbox, "dot").text == "[image: image/png, 6 bytes; not shown]"
