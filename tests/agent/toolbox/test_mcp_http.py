"""MCP over streamable HTTP, against servers that the official SDK makes; and what Ctrl-C does to a call."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from agenttune.agent.toolbox import Permission, PermissionRequest, Toolbox, find
from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.values.trajectory import Observation, ToolCall
from tests.processes import living

SERVER = Path(__file__).with_name("http_server.py")
RUDE = Path(__file__).with_name("rude_server.py")


def yes(request: PermissionRequest) -> Permission:
    """A person who allows everything."""
    return Permission(allowed=True)


def free_port() -> int:
    with closing(socket.socket()) as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def started(port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, str(SERVER), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with closing(socket.socket()) as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture
def port() -> Iterator[int]:
    found = free_port()
    process = started(found)
    yield found
    process.kill()
    process.wait()


def written(folder: Path, port: int, **more: object) -> Path:
    path = folder / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"numbers": {"url": f"http://127.0.0.1:{port}/mcp", **more}}}), encoding="utf-8")
    return path


def call(toolbox: Toolbox, name: str, deadline: float = 30.0, **arguments: object) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)], deadline)
    return seen


@pytest.mark.slow
def test_a_server_over_http_is_called_cut_stopped_and_found_again(port: int, tmp_path: Path) -> None:
    with find([], ask=yes, mcp=written(tmp_path, port, trusted=True)) as toolbox:
        assert {name: one.effect for name, one in toolbox.tools.items()}["add"] == "read"
        assert call(toolbox, "add", a=2, b=40) == Observation(text="42")
        assert call(toolbox, "fail").error
        begun = time.monotonic()
        assert call(toolbox, "hang", 1.0) == Observation(text="Error: the server numbers did not answer in 1 s", error=True)
        assert time.monotonic() - begun < 3.5
        assert call(toolbox, "add", a=1, b=1).text == "2"
        seen = call(toolbox, "much")
        assert seen.error
        assert len(seen.text) < 1000
        assert call(toolbox, "add", a=1, b=2).text == "3"
        begun = time.monotonic()
        assert call(toolbox, "die").error
        assert time.monotonic() - begun < 5
        assert call(toolbox, "add", 10.0, a=1, b=2).error
        again = started(port)
        try:
            assert call(toolbox, "add", a=1, b=3).text == "4"
        finally:
            again.kill()
            again.wait()


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the server numbers: it could not be reached"):
        find([], mcp=written(tmp_path, free_port()))


def test_ctrl_c_stops_a_call_and_its_server(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    servers = {"rude": {"command": sys.executable, "args": ["-I", "-S", str(RUDE), str(tmp_path / "pids")]}}
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with find([], ask=yes, mcp=path) as toolbox:
        call(toolbox, "echo", text="warm")
        before = int((tmp_path / "pids").read_text())
        usual = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            begun = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                call(toolbox, "hang")
            assert time.monotonic() - begun < 2.0
        finally:
            signal.signal(signal.SIGALRM, usual)
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
        assert call(toolbox, "echo", text="on").text == "on"


def test_a_server_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    pids = tmp_path / "pids"
    servers = {"rude": {"command": sys.executable, "args": ["-I", "-S", str(RUDE), str(pids)]}}
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from agenttune.agent.toolbox import Permission, find\n"
        "from agenttune.values.trajectory import ToolCall\n"
        "box = find([], ask=lambda request: Permission(allowed=True), mcp=Path(sys.argv[1]))\n"
        "print('ready', flush=True); box.run([ToolCall(name='stubborn', arguments={})], 60.0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        end = time.monotonic() + 20
        while len(pids.read_text().split()) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        parent.kill()
    started_ids = [int(line) for line in pids.read_text().split()]
    assert len(started_ids) == 2  # the server, and the child it started
    end = time.monotonic() + 10
    while any(map(living, started_ids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(living, started_ids))


def test_the_command_line_lists_calls_and_examines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "servers.json"
    rude = {"command": sys.executable, "args": ["-I", "-S", str(RUDE), str(tmp_path / "pids")], "autoApprove": []}
    path.write_text(json.dumps({"mcpServers": {"rude": rude, "none": {"command": "/no/such/program"}}}), encoding="utf-8")
    assert main(["tools", "list", "--mcp", str(path)]) == 2
    assert "is not trusted" in capsys.readouterr().err
    assert not (tmp_path / "pids").exists()
    assert main(["tools", "doctor", "--mcp", str(path), "--trust"]) == 1
    said = capsys.readouterr().out
    assert "an MCP server with 16 tools; its hints are not believed (trusted is not set)" in said
    assert "keys that mean nothing here: autoApprove" in said
    assert "none                     cannot be used" in said
    assert "\x1b" not in said
    path.write_text(json.dumps({"mcpServers": {"rude": rude}}), encoding="utf-8")
    assert main(["tools", "list", "--mcp", str(path)]) == 0
    assert "echo           Does echo." in capsys.readouterr().out.splitlines()
    assert main(["tools", "call", "echo", '{"text": "hi"}', "--mcp", str(path)]) == 0
    assert capsys.readouterr().out == "hi\n"
    assert main(["tools", "call", "ecoh", "{}", "--mcp", str(path)]) == 2
    assert 'have no tool "ecoh" (did you mean "echo"?)' in capsys.readouterr().err
