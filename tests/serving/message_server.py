"""A server that knows messages alone, as many do, with replies that a test writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Plain(BaseHTTPRequestHandler):
    """A server that knows messages alone, as many do; it keeps what it was asked."""

    asked: list[Any]
    replies: list[str]
    usage: dict[str, int] | None = None  # what it tells of its counts
    refuses: str = ""  # a field that it does not know

    def do_GET(self) -> None:
        """One model."""
        self.answer({"data": [{"id": "plain"}]})

    def do_POST(self) -> None:
        """A reply in pieces of three letters."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self.answer({"error": {"message": "no such route"}}, 404)
            return
        self.asked.append(body)
        if self.refuses and self.refuses in body:
            self.answer({"error": {"message": f"unknown: {self.refuses}"}}, 400)
            return
        text = self.replies.pop(0)
        cut = len(text) > body["max_tokens"] * 4
        text = text[: body["max_tokens"] * 4]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for at in range(0, len(text), 3):
            self.chunk({"choices": [{"delta": {"content": text[at : at + 3]}, "finish_reason": None}]})
        self.chunk({"choices": [{"delta": {}, "finish_reason": "length" if cut else "stop"}]})
        if self.usage:
            self.chunk({"choices": [], "usage": self.usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def chunk(self, value: Any) -> None:
        """One event."""
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())

    def answer(self, value: Any, status: int = 200) -> None:
        """A whole reply."""
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *values: Any) -> None:
        """Says nothing."""


@pytest.fixture
def plain() -> Iterator[tuple[str, type[Plain]]]:
    """(its address, where it keeps what it was asked and takes its replies from)"""
    handler = type("Handler", (Plain,), {"asked": [], "replies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()
