"""MCP servers as tools: one that misbehaves in every way we thought of costs one observation, and the next call works."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from agenttune.agent.toolbox import Permission, PermissionRequest, Toolbox, find
from agenttune.agent.toolbox.mcp_servers.settings import read_servers
from agenttune.errors import UserError
from agenttune.values.trajectory import Observation, ToolCall
from tests.processes import living, within

RUDE = Path(__file__).with_name("rude_server.py")


def yes(request: PermissionRequest) -> Permission:
    """A person who allows everything."""
    return Permission(allowed=True)


def written(folder: Path, servers: dict[str, object]) -> Path:
    path = folder / "servers.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return path


def rude(folder: Path, mood: str = "", **more: object) -> dict[str, object]:
    return {"command": sys.executable, "args": ["-I", "-S", str(RUDE), str(folder / "pids"), *([mood] if mood else [])], **more}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rude")


@pytest.fixture(scope="module")
def toolbox(place: Path) -> Iterator[Toolbox]:
    with find([], limit=1000, ask=yes, mcp=written(place, {"rude": rude(place)})) as made:
        yield made


def call(toolbox: Toolbox, name: str, deadline: float = 30.0, **arguments: object) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)], deadline)
    return seen


def test_a_tool_of_a_server_has_a_plain_schema_and_is_not_trusted(toolbox: Toolbox) -> None:
    one = toolbox.tools["echo"]
    assert one.spec.description == "Does echo."
    assert one.spec.parameters == {"type": "object", "properties": {"text": {"type": "string", "description": "any text"}}}
    assert (one.effect, one.trusted) == ("external", False)
    assert call(toolbox, "echo", text="北京") == Observation(text="北京", provenance="web")
    assert call(toolbox, "echo", words="x").text == 'Error: echo has no argument "words"; its argument is text'
    assert "out_of_31m_line" in toolbox.tools


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("die", "Error: the server rude: it ended in the middle of the call"),
        ("hang", "Error: the server rude did not answer in 1 s"),
        ("stubborn", "Error: the server rude did not answer in 1 s"),
        ("chatter", "Error: the server rude did not answer in 1 s"),
        ("refuse", "Error: the server rude: MCPError: no such \x1b[31mcity"),
        ("breaks", "Error: out of order"),
        ("no_result", "Error: the server rude: "),
    ],
)
def test_what_goes_wrong_is_an_observation_and_the_next_call_works(toolbox: Toolbox, place: Path, name: str, says: str) -> None:
    call(toolbox, "echo", text="warm")
    begun = time.monotonic()
    seen = call(toolbox, name, 1.0)
    took = time.monotonic() - begun
    assert seen.error
    assert seen.text.startswith(says)
    assert took < 2.0 + LOADED
    assert call(toolbox, "echo", text="again").text == "again"
    pids = [int(line) for line in (place / "pids").read_text().split()]
    assert within(lambda: sum(map(living, pids)) == 1, 2.0)  # the server that answers now, and nothing else


LOADED = 1.5  # seconds that a busy machine may add


def test_a_message_without_end_ends_the_server(toolbox: Toolbox) -> None:
    seen = call(toolbox, "giant_line")
    assert seen == Observation(text="Error: the server rude: it sent more than 4 MiB in one message and was ended", error=True)
    assert call(toolbox, "echo", text="again").text == "again"


@pytest.mark.parametrize(("name", "says"), [("garbage", "after the garbage"), ("wrong_id", "yours")])
def test_what_is_no_answer_is_passed_over(toolbox: Toolbox, name: str, says: str) -> None:
    assert call(toolbox, name) == Observation(text=says, provenance="web")


def test_pictures_and_files_are_named_and_long_texts_cut(toolbox: Toolbox) -> None:
    assert call(toolbox, "picture").text.splitlines() == [
        "a dot:",
        "[image: image/png, 70 bytes; not shown]",
        "[file: file:///a.bin, application/x-thing, 3 bytes; not shown]",
        "[link: more, https://a.example/b]",
    ]
    seen = call(toolbox, "long_text").text
    assert (len(seen) <= 1000, seen[0], seen[-1]) == (True, "<", ">")
    assert "characters left out" in seen


def test_one_server_serves_many_calls(toolbox: Toolbox) -> None:
    first = int(call(toolbox, "count").text)
    assert [int(call(toolbox, "count").text) for _ in range(3)] == [first + 1, first + 2, first + 3]


def test_a_server_gets_the_listed_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    monkeypatch.setenv("OTHER", "value")
    with find([], ask=yes, mcp=written(tmp_path, {"rude": rude(tmp_path, env={"MINE": "${OTHER}"})})) as toolbox:
        names = json.loads(call(toolbox, "secrets").text)
    assert "MINE" in names
    assert set(names) <= {"MINE", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TERM", "TMPDIR", "USER", "LC_CTYPE"}


def test_names_that_two_servers_share_get_the_servers_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with find(["calculator"], ask=yes, mcp=written(tmp_path, {"one": rude(tmp_path), "two": rude(tmp_path / "a")})) as toolbox:
        assert {"calculator", "one_echo", "two_echo"} <= set(toolbox.tools)
        assert "echo" not in toolbox.tools
        assert call(toolbox, "two_echo", text="x").text == "x"


@pytest.mark.parametrize(
    ("more", "effect"), [({}, "external"), ({"trusted": True}, "read"), ({"effects": {"echo": "destructive"}}, "destructive")]
)
def test_hints_lower_nothing_unless_the_person_trusts_the_server(tmp_path: Path, more: dict[str, object], effect: str) -> None:
    asked: list[PermissionRequest] = []

    def no(request: PermissionRequest) -> Permission:
        asked.append(request)
        return Permission(allowed=False)

    with find([], ask=no, mcp=written(tmp_path, {"rude": rude(tmp_path, **more)})) as toolbox:
        assert toolbox.tools["echo"].effect == effect
        seen = call(toolbox, "echo", text="x")
    assert seen.error == (effect != "read")
    assert [one.arguments for one in asked] == ([{"text": "x"}] if effect != "read" else [])


def test_a_server_that_cannot_be_had_is_said_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the server rude: it .*it said: cannot find my configuration"):
        find([], mcp=written(tmp_path, {"rude": rude(tmp_path, "dumb")}))
    with pytest.raises(UserError, match=r"the server none: it could not be reached: FileNotFoundError"):
        find([], mcp=written(tmp_path, {"none": {"command": "/no/such/program"}}))


def test_a_server_that_says_nothing_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttune.agent.toolbox.mcp_servers.servers.START", 1.0)
    with pytest.raises(UserError, match="the server rude did not answer in 1 s"):
        find([], mcp=written(tmp_path, {"rude": rude(tmp_path, "mute")}))
    assert within(lambda: not living(int((tmp_path / "pids").read_text())), 2.0)


def test_a_list_without_end_is_cut(tmp_path: Path) -> None:
    with find([], mcp=written(tmp_path, {"rude": rude(tmp_path, "endless")})) as toolbox:
        assert len(toolbox.tools) == 16


def test_a_closed_toolbox_leaves_no_server(tmp_path: Path) -> None:
    with find([], ask=yes, mcp=written(tmp_path, {"rude": rude(tmp_path)})) as toolbox:
        assert call(toolbox, "echo", text="x").text == "x"
    assert within(lambda: not living(int((tmp_path / "pids").read_text())), 2.0)
    assert call(toolbox, "echo", text="x").text == "Error: the server rude was closed with its toolbox"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "names no server"),
        ('{"mcpServers": {}}', "names no server"),
        ('{"mcpServers": {"a": 1}}', "server a: it must be an object"),
        ('{"mcpServers": {"a": {}}}', "server a: it needs either a command or a url"),
        ('{"mcpServers": {"a": {"command": "x", "url": "http://y"}}}', "either a command or a url"),
        ('{"mcpServers": {"a": {"url": "ftp://y"}}}', "must begin with http"),
        ('{"mcpServers": {"a": {"url": "http://y", "type": "sse"}}}', 'the transport "sse" is not spoken'),
        ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "args must be a list of texts"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"A": 1}}}}', "env must be an object of texts"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"A": "${NOT_SET_ANYWHERE}"}}}}', "the environment has no NOT_SET_ANYWHERE"),
        ('{"mcpServers": {"a": {"command": "x", "effects": {"b": "reads"}}}}', 'there is no effect "reads"'),
        ('{"mcpServers": {"a": {"command": "x", "trusted": "yes"}}}', "trusted must be true or false"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "servers.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read_servers(path)


def test_keys_of_other_programs_are_ignored_and_named(tmp_path: Path) -> None:
    servers = {"a": {"command": "x", "autoApprove": ["b"], "type": "stdio"}, "off": {"command": "y", "disabled": True}}
    (one,) = read_servers(written(tmp_path, servers))
    assert (one.command, one.ignored) == (("x",), ("autoApprove",))
