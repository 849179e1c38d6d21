"""A served scripted model on a loopback port, and a client of nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from agenttune import protocols, templates
from agenttune.models.base import Model
from agenttune.models.scripted import ScriptedModel
from agenttune.serving.app import Served, ServedModel, make_app
from agenttune.serving.engine import Engine, EngineOptions
from agenttune.serving.prompts import Speaker
from tests.agent.conftest import tiny

__all__ = ["Client", "serving", "tiny"]


class Client:
    """Requests to one server; each gives (status, body as JSON or the list of streamed events)."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        line.request(method, path, data, {"Content-Type": "application/json", **(headers or {})} if method == "POST" else headers or {})
        answer = line.getresponse()
        text = answer.read().decode()
        line.close()
        if answer.headers.get_content_type() == "text/event-stream":
            events = [one.removeprefix("data: ") for one in text.split("\n\n") if one]
            assert events.pop() == "[DONE]"
            return answer.status, [json.loads(one) for one in events]
        return answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def chat(self, **body: Any) -> tuple[int, Any]:
        return self.send("POST", "/v1/chat/completions", body)


@pytest.fixture
def serving() -> Iterator[Callable[..., Client]]:
    """``serving(replies or model, protocol="react", **fields of Served)`` is a `Client` of a running server."""
    running: list[tuple[uvicorn.Server, threading.Thread, Engine]] = []

    def start(said: Any, protocol: str = "react", options: EngineOptions | None = None, token_bytes: int = 1, **fields: Any) -> Client:
        model: Model = ScriptedModel(said) if isinstance(said, list) or callable(said) else said
        template = templates.load("auto", model.tokenizer)
        speaker = Speaker(model=model, template=template, protocol=protocols.get(protocol))
        engine = Engine(model, options, token_bytes=token_bytes)
        served = Served(models=(ServedModel(name="desk", speaker=speaker, engine=engine),), **fields)
        server = uvicorn.Server(uvicorn.Config(make_app(served), port=0, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        end = time.monotonic() + 30
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        running.append((server, thread, engine))
        client = Client(server.servers[0].sockets[0].getsockname()[1])
        client.engine = engine  # type: ignore[attr-defined]
        return client

    yield start
    for server, thread, engine in running:
        server.should_exit = True
        thread.join(timeout=30)
        engine.close(seconds=1)
