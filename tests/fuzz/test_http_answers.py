"""What a server answers, byte by byte: to a page's request, to a search, and to a chat with a model of its own."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.agent.toolbox.search.services import SERVICES, ask
from agenttune.agent.toolbox.search.settings import SearchSettings
from agenttune.agent.toolbox.web.fetch import fetch
from agenttune.models.remote.server import Server, ServerRefusal
from tests.fuzz.judge import fuzz
from tests.fuzz.mutate import mutated, mutated_json

FOUND = {"title": "Tea", "url": "https://a.example/tea", "content": "<b>hot</b>", "publishedDate": "2026-11-30T10:00:00"}
BODIES = {
    "page": {"a": "page"},
    "wikipedia": {"query": {"search": [{"title": "Tea", "snippet": "<b>hot</b> &amp; good"}, {"title": "Coffee"}]}},
    "searxng": {"results": [FOUND, {**FOUND, "title": "Coffee"}]},
    "tavily": {"results": [{**FOUND, "published_date": "Mon, 30 Nov 2026"}]},
    "serper": {
        "answerBox": {"title": "a", "answer": "42", "link": "https://a.example"},
        "knowledgeGraph": {"title": "k", "description": "d", "website": "https://k.example"},
        "organic": [{"title": "Tea", "link": "https://a.example/tea", "snippet": "hot", "date": "1 day ago"}],
    },
    "models": {"object": "list", "data": [{"id": "m", "owned_by": "us", "max_model_len": 100}]},
    "chunks": {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}], "usage": None},
}


def head(body: bytes, *more: str) -> bytes:
    """The status line and the headers of an answer."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Content-Type: application/json; charset=utf-8", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(service: str, chance: random.Random) -> bytes:
    """A whole answer of a service, with something wrong in its body, its packing or its head."""
    value, kind = BODIES[service], chance.randrange(4)
    body = mutated_json(value, chance) if kind == 0 else json.dumps(value).encode()
    if service == "chunks":
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    if service != "models" and service != "chunks" and chance.random() < 0.3:
        body = mutated(gzip.compress(body), chance) if kind == 1 else gzip.compress(body)
        return head(body, "Content-Encoding: gzip") + body
    if chance.random() < 0.2:
        chunks = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    else:
        whole = head(body) + body
    return whole if kind == 0 else mutated(whole, chance)


@contextlib.contextmanager
def saying(now: list[bytes]) -> Iterator[int]:
    """A server that answers every connection with ``now[0]``; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line, contextlib.suppress(OSError):
                    line.settimeout(5)
                    asked = b""
                    while b"\r\n\r\n" not in asked and (piece := line.recv(4096)):
                        asked += piece
                    line.sendall(now[0])
                    line.shutdown(socket.SHUT_WR)
                    while line.recv(65536):  # else what was not read resets the connection before the answer is
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.slow
def test_http_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [b""]

    def make(chance: random.Random) -> tuple[str, bytes]:
        service = chance.choice(list(BODIES))
        return service, answer(service, chance)

    def enter(given: tuple[str, bytes]) -> None:
        service, now[0] = given
        base = f"http://127.0.0.1:{port}"
        if service == "page":
            fetch(base, timeout=5, allow_private=True)
        elif service in SERVICES:
            ask("tea", SearchSettings(service=service, base=base, own_base=True, key="k", language="", offline=False))
        else:
            server = Server(base)
            with contextlib.suppress(ServerRefusal):
                server.listed() if service == "models" else list(server.stream("/v1/completions", {}))

    monkeypatch.setattr("agenttune.models.remote.server.PATIENCE", 5.0)
    with saying(now) as port:
        fuzz("HTTP answers", make, enter)
