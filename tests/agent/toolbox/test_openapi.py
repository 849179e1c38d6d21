"""Operations of an OpenAPI description as tools: what is sent, to whom, and what asks first."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agenttune.agent.toolbox import Permission, PermissionRequest, Toolbox, find, load
from agenttune.errors import UserError
from agenttune.values.trajectory import Observation, ToolCall

PETS: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://127.0.0.1:{port}/v1", "variables": {"port": {"default": "PORT"}}}],
    "components": {
        "securitySchemes": {"pet-key": {"type": "apiKey", "in": "header", "name": "X-Pet"}},
        "schemas": {
            "Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
        },
        "parameters": {"Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "which pet"}},
    },
    "paths": {
        "/pets/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {
                "operationId": "getPet",
                "summary": "One pet.",
                "parameters": [{"name": "tags", "in": "query", "schema": {"type": "array"}}],
            },
            "delete": {"operationId": "deletePet"},
        },
        "/pets": {
            "post": {
                "operationId": "addPet",
                "description": "Adds a pet.",
                "security": [{"pet-key": []}],
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
            },
            "get": {"parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 50}}]},
        },
        "/away": {"get": {"operationId": "away"}},
        "/broken": {"get": {"operationId": "broken"}},
        "/silent": {"put": {"operationId": "silent", "requestBody": {"content": {"application/json": {"schema": {"type": "array"}}}}}},
    },
}


class Api(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; keeps every request line."""

    seen: ClassVar[list[str]] = []

    def _any(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path.endswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
            return
        status = 500 if self.path.endswith("/broken") else 204 if self.path.endswith("/silent") else 200
        said = json.dumps({"asked": f"{self.command} {self.path}", "body": body, "key": self.headers.get("X-Pet")}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(0 if status == 204 else len(said)))
        self.end_headers()
        if status != 204:
            self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def description(tmp_path: Path) -> Iterator[Path]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Api.seen.clear()
    path = tmp_path / "pets.json"
    path.write_text(json.dumps(PETS).replace("PORT", str(server.server_address[1])), encoding="utf-8")
    yield path
    server.shutdown()
    server.server_close()


def yes(request: PermissionRequest) -> Permission:
    """A person who allows everything."""
    return Permission(allowed=True)


def call(toolbox: Toolbox, name: str, arguments: dict[str, Any]) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)], 10.0)
    return seen


def test_every_operation_is_a_tool_with_one_plain_schema(description: Path) -> None:
    tools = {one.spec.name: one for one in load(f"openapi:{description}", loopback=True)}
    effects = {"getPet": "read", "deletePet": "destructive", "addPet": "external", "get_pets": "read"}
    assert {name: tools[name].effect for name in effects} == effects
    assert not any(one.trusted for one in tools.values())
    assert tools["getPet"].spec.description == "One pet."
    assert tools["getPet"].spec.parameters == {
        "type": "object",
        "properties": {"id": {"type": "string", "description": "which pet"}, "tags": {"type": "array"}},
        "required": ["id"],
    }
    assert tools["addPet"].spec.parameters == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
    }
    assert [one.spec.name for one in load(f"openapi:{description}:addPet", loopback=True)] == ["addPet"]


def test_requests_are_what_the_description_says(description: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with find([f"openapi:{description}"], ask=yes, loopback=True) as toolbox:
        seen = call(toolbox, "getPet", {"id": "a/../b c", "tags": ["x", "y&z"]})
        assert json.loads(seen.text)["asked"] == "GET /v1/pets/a%2F..%2Fb%20c?tags=x&tags=y%26z"
        assert not seen.trusted
        assert call(toolbox, "getPet", {"id": ".."}).text == 'Error: the argument "id" cannot be ".."'
        assert call(toolbox, "addPet", {"name": "Rex"}).text == (
            "Error: this needs a key: the environment variable AGENTTUNE_OPENAPI_KEY_PET_KEY is not set"
        )
        monkeypatch.setenv("AGENTTUNE_OPENAPI_KEY_PET_KEY", "s3cret-key")
        added = json.loads(call(toolbox, "addPet", {"name": "Rex", "age": 3}).text)
        assert (added["asked"], json.loads(added["body"]), added["key"]) == ("POST /v1/pets", {"name": "Rex", "age": 3}, "s3cret-key")
        monkeypatch.setenv("AGENTTUNE_OPENAPI_KEY_PET_KEY", "s3cret\r\nX-Evil: 1")
        assert "cannot hold" in call(toolbox, "addPet", {"name": "Rex"}).text
        assert call(toolbox, "silent", {"body": [1]}).text == "done; the server sent no text"
        assert call(toolbox, "broken", {}).error
        assert call(toolbox, "away", {}).text == "Error: 169.254.169.254 is not a host of the public internet; it is not opened"


def test_what_acts_asks_first(description: Path) -> None:
    with find([f"openapi:{description}"], loopback=True) as toolbox:
        assert not call(toolbox, "getPet", {"id": "1"}).error
        for name, arguments in (("deletePet", {"id": "1"}), ("addPet", {"name": "x"}), ("silent", {"body": []})):
            assert "needs a person's permission" in call(toolbox, name, arguments).text
    assert Api.seen == ["GET /v1/pets/1"]


def test_a_server_on_this_machine_needs_a_word(description: Path) -> None:
    with pytest.raises(UserError, match=r"is 127\.0\.0\.1, this machine; add --loopback"):
        load(f"openapi:{description}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ('{"swagger": "2.0"}', "no OpenAPI 3 description"),
        ('{"openapi": "3.0.0", "paths": {}}', "names no server that can be used"),
        ('{"openapi": "3.0.0", "servers": [{"url": "/v1"}], "paths": {}}', "names no server that can be used"),
        ('{"openapi": "3.0.0", "servers": [{"url": "https://a.example"}], "paths": {"/x": 3}}', "describes no operation"),
        ('{"openapi": "3.0.0", "servers": [{"url": "https://a.example"}], "paths": {"/x": {"get": {"parameters": 7}}}}', ""),
        ('{"openapi": "3.0.0", "servers": "x", "paths": []}', "names no server"),
    ],
)
def test_a_description_that_cannot_be_used_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "api.json"
    path.write_text(text, encoding="utf-8")
    if says:
        with pytest.raises(UserError, match=says):
            load(f"openapi:{path}")
    else:
        assert [one.spec.name for one in load(f"openapi:{path}")] == ["get_x"]


def test_yaml_is_read_and_aliases_are_not(tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    path.write_text("openapi: 3.0.3\nservers: [{url: 'https://a.example'}]\npaths: {/x: {get: {operationId: look}}}\n", encoding="utf-8")
    assert [one.spec.name for one in load(f"openapi:{path}")] == ["look"]
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"aliases .* are not read"):
        load(f"openapi:{path}")


def test_a_schema_that_refers_to_itself_ends(tmp_path: Path) -> None:
    node = {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Node"}, "right": {"$ref": "#/components/schemas/Node"}}}
    held = {
        "openapi": "3.0.0",
        "servers": [{"url": "https://a.example"}],
        "components": {"schemas": {"Node": node}},
        "paths": {"/x": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}}}},
    }
    path = tmp_path / "api.json"
    path.write_text(json.dumps(held), encoding="utf-8")
    (one,) = load(f"openapi:{path}")
    assert set(one.spec.parameters["properties"]) == {"left", "right"}
    assert len(json.dumps(one.spec.parameters)) < 200_000
