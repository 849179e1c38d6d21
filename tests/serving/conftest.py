"""A served scripted model on a loopback port, and a client of nothing but the standard library."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from agenttune import protocols, templates
from agenttune.models.base import Model
from agenttune.models.scripted import ScriptedModel
from agenttune.serving.app import make_app
from agenttune.serving.backends.base import Backend
from agenttune.serving.backends.engine import Engine, EngineOptions
from agenttune.serving.prompts import Speaker
from agenttune.serving.served import Served, ServedModel
from tests.agent.conftest import tiny
from tests.serving.message_server import plain

__all__ = ["Client", "plain", "serving", "tiny"]


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


@contextlib.contextmanager
def running() -> Iterator[Callable[..., Client]]:
    """``serve(app, its engines)`` is a `Client` of it on a loopback port; all end with the block."""
    started: list[tuple[uvicorn.Server, threading.Thread, Sequence[Backend]]] = []

    def serve(app: Starlette, engines: Sequence[Backend]) -> Client:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        end = time.monotonic() + 30
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        started.append((server, thread, engines))
        return Client(server.servers[0].sockets[0].getsockname()[1])

    yield serve
    for server, thread, engines in started:
        server.should_exit = True
        thread.join(timeout=30)
        for engine in engines:
            engine.close(seconds=1)


@pytest.fixture
def serving() -> Iterator[Callable[..., Client]]:
    """``serving(replies or model, protocol="react", **fields of Served)`` is a `Client` of a running server."""
    with running() as serve:

        def start(said: Any, protocol: str = "react", options: EngineOptions | None = None, token_bytes: int = 1, **fields: Any) -> Client:
            model: Model = ScriptedModel(said) if isinstance(said, list) or callable(said) else said
            template = templates.load("auto", model.tokenizer)
            speaker = Speaker(model=model, template=template, protocol=protocols.get(protocol))
            engine = Engine(model, options, token_bytes=token_bytes)
            served = Served(models=(ServedModel(name="desk", speaker=speaker, engine=engine),), **fields)
            client = serve(make_app(served), [engine])
            client.engine = engine  # type: ignore[attr-defined]
            return client

        yield start


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> Callable[[str], Path]:
    """``tiny_checkpoint(chat template)`` is a folder of a small random Llama whose tokenizer has this template."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    def make(template: str) -> Path:
        tokenizer = copy.deepcopy(made_tokenizer("chatml"))
        tokenizer.chat_template = template
        torch.manual_seed(0)
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=8192, initializer_range=0.3)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return make
