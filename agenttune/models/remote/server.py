"""An OpenAI-compatible server over HTTP: what it serves, one reply, or a reply as it comes."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from agenttune.errors import UserError
from agenttune.values.trajectory import Json, JsonObject

KEY = "OPENAI_API_KEY"
PATIENCE = 600.0  # seconds between two pieces of a reply: a long prompt on a slow machine is read first
_LONGEST = 64 << 20  # bytes of a reply, or of one of its lines, that are read
_BROKEN = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


class ServerRefusal(Exception):
    """The server answered that it will not: its status and its words."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{sentence} ({status})")
        self.status = status


class Server:
    """A server under its base URL, with or without ``/v1``; ``$OPENAI_API_KEY`` is sent to it.

    Raises `UserError` for an address that is none, and where nobody answers.
    """

    def __init__(self, base_url: str) -> None:
        self.base = checked_base(base_url).rstrip("/").removesuffix("/v1")

    def listed(self) -> list[JsonObject]:
        """What ``GET /v1/models`` lists. Raises `UserError` where that is no list of models."""
        try:
            answer = self._json("/v1/models", None)
            found = [one for one in answer["data"] if isinstance(one["id"], str)]
        except ServerRefusal as error:
            raise UserError(f"{self.base} does not tell what it serves: {error}") from error
        except (TypeError, KeyError) as error:
            raise UserError(f"{self.base}/v1/models is no list of models; is it an OpenAI-compatible server?") from error
        if not found:
            raise UserError(f"{self.base} serves no model")
        return found

    def post(self, path: str, body: JsonObject) -> Json:
        """One whole reply. Raises `ServerRefusal`, `UserError`."""
        return self._json(path, body)

    def stream(self, path: str, body: JsonObject) -> Iterator[JsonObject]:
        """The chunks of a reply as they come (server-sent events, up to ``[DONE]``); closing the iterator hangs up.

        Raises `ServerRefusal`, also for an error that comes as a chunk, and `UserError`.
        """
        with self._open(path, {**body, "stream": True}) as answer:
            try:
                for line in iter(lambda: answer.readline(_LONGEST), b""):
                    data = line.decode("utf-8", "replace").strip()
                    if data == "data: [DONE]":
                        return
                    if data.startswith("data:"):
                        yield _chunk(data.removeprefix("data:"))
            except _BROKEN as error:
                raise UserError(f"{self.base} hung up in the middle of a reply: {_line(error)}") from error

    def _json(self, path: str, body: JsonObject | None) -> Json:
        with self._open(path, body) as answer:
            try:
                return json.loads(answer.read(_LONGEST))
            except _BROKEN as error:
                raise UserError(f"{self.base} hung up in the middle of a reply: {_line(error)}") from error
            except (ValueError, RecursionError) as error:
                raise UserError(f"{self.base}{path} does not answer with JSON; is it an OpenAI-compatible server?") from error

    def _open(self, path: str, body: JsonObject | None) -> Any:  # an http.client.HTTPResponse; urllib's own type is a union of old ones
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data=data, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            with error:
                raise ServerRefusal(error.code, _words(error.read(4000))) from error
        except _BROKEN as error:
            raise UserError(f"no server answers at {self.base}: {_line(getattr(error, 'reason', error))}") from error


def _chunk(data: str) -> JsonObject:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the server sent a chunk that is not JSON: {_line(data)}") from error
    if isinstance(value, dict) and "error" in value:
        raise ServerRefusal(500, _words(data.encode()))
    return value if isinstance(value, dict) else {}


def _words(data: bytes) -> str:
    """What an error's body says, in one line."""
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
        error = value.get("error", value) if isinstance(value, dict) else value
        text = str(error.get("message") or error.get("detail") or error) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, RecursionError):
        pass  # it is no JSON: its text is what it says
    return _line(text)


def _line(said: object) -> str:
    """What somebody else's program says, in one line."""
    return " ".join(str(said).split())[:400]


def checked_base(base_url: str) -> str:
    """The address itself. Raises `UserError` for one that is none."""
    if not base_url.startswith(("http://", "https://")):
        raise UserError(f'--base-url must begin with http:// or https://, not "{base_url}"')
    return base_url
