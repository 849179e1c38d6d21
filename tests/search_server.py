"""A server on this machine that speaks every search service's documented schema, and fails in the ways that servers fail.

Paths: ``/LANG/w/api.php`` MediaWiki, ``/searxng/search``, ``/tavily/search``, ``/serper/search``, ``/html/`` DuckDuckGo's page.
"""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

METADATA = "http://169.254.169.254/latest/meta-data/"
FAULTS = ("401", "403", "429", "500", "432", "slow", "truncated", "huge", "bomb", "metadata", "garbage", "other", "deep")
# The optional libraries and a service's own client, in an environment of their own (see tests/benchmarks/peers.py).
SEARCH_PEERS = [
    "--constraint",
    str(Path(__file__).resolve().parents[1] / "constraints.txt"),
    "ddgs",
    "lxml-html-clean",
    "pypdf",
    "trafilatura",
    "tavily-python==0.8.5",
]
KEYS = {"tavily": "tvly-right", "serper": "serper-right"}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A page that a search finds: every service tells it in its own fields."""

    title: str
    address: str
    text: str
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request the server has had."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Web:
    """What searches find: `found` by a word of the query, else `always`; `fault` says how the next answers fail."""

    always: Sequence[Recorded] = ()
    found: dict[str, Sequence[Recorded]] = field(default_factory=dict)
    fault: str = ""
    box: dict[str, Any] = field(default_factory=dict)  # more of Serper's fields
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, service: str) -> dict[str, str]:
        """What a person sets to search here by this service."""
        named = {
            "wikipedia": {"AGENTTUNE_SEARCH_URL": f"{self.url}/{{language}}/w/api.php"},
            "searxng": {"AGENTTUNE_SEARXNG_URL": f"{self.url}/searxng"},
            "tavily": {"AGENTTUNE_TAVILY_URL": f"{self.url}/tavily", "TAVILY_API_KEY": KEYS["tavily"]},
            "serper": {"AGENTTUNE_SERPER_URL": f"{self.url}/serper", "SERPER_API_KEY": KEYS["serper"]},
        }
        return {"AGENTTUNE_SEARCH": service, **named[service]}

    def results(self, query: str) -> Sequence[Recorded]:
        return next((pages for word, pages in self.found.items() if word in query), self.always)


@contextlib.contextmanager
def serving_searches(*pages: Recorded) -> Iterator[Web]:
    """The server while the block runs."""
    web = Web(always=pages)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, web)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


def _answer(handler: BaseHTTPRequestHandler, web: Web) -> None:
    parts = urlsplit(handler.path)
    sent = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    kind = handler.headers.get_content_type()
    body = json.loads(sent) if sent and kind == "application/json" else parse_qs(sent.decode())
    query = parse_qs(parts.query)
    headers = {name.lower(): value for name, value in handler.headers.items()}
    web.asked.append(Asked(method=handler.command, path=parts.path, query=query, headers=headers, body=body))
    with contextlib.suppress(OSError):
        if not _failed(handler, web, parts.path):
            _tell(handler, web, parts.path, query, body, headers)


def _failed(handler: BaseHTTPRequestHandler, web: Web, path: str) -> bool:
    told = json.dumps({"detail": {"error": "no <b>such</b> luck"}}).encode()
    if web.fault.isdigit():
        extra = {"Retry-After": "7"} if web.fault == "429" else {}
        _send(handler, told, status=int(web.fault), **extra)
    elif web.fault == "slow":
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n")
        for _ in range(900):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    elif web.fault == "truncated":
        handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"results": [')
        handler.close_connection = True
    elif web.fault == "huge":
        _send(handler, b" " * 2_000_000 + b"{}")
    elif web.fault == "bomb":
        _send(handler, gzip.compress(b" " * 50_000_000, 1), **{"Content-Encoding": "gzip"})
    elif web.fault == "metadata":
        _send(handler, b"", status=302, Location=METADATA)
    elif web.fault == "garbage":
        _send(handler, b"<html>not what was asked for", kind="text/html")
    elif web.fault == "other":
        _send(handler, b'{"results": [{"name": 1}], "query": 7, "organic": [[]]}')
    elif web.fault == "deep":
        _send(handler, b"[" * 100_000)
    else:
        return False
    return True


def _send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _tell(handler: BaseHTTPRequestHandler, web: Web, path: str, query: dict[str, list[str]], body: Any, headers: dict[str, str]) -> None:
    if path.endswith("/w/api.php"):
        _json(handler, _mediawiki(web.results(query["srsearch"][0]), int(query["srlimit"][0])))
    elif path == "/searxng/search":
        allowed = query.get("format") == ["json"]
        _json(handler, _searxng(query["q"][0], web.results(query["q"][0])), 200 if allowed else 403)
    elif path == "/tavily/search":
        right = headers.get("authorization") == f"Bearer {KEYS['tavily']}"
        _json(handler, _tavily(body["query"], web.results(body["query"]), body["max_results"]), 200 if right else 401)
    elif path == "/serper/search":
        right = headers.get("x-api-key") == KEYS["serper"]
        found = {**_serper(body["q"], web.results(body["q"])), **web.box}
        _json(handler, found if right else {"message": "Unauthorized.", "statusCode": 403}, 200 if right else 403)
    elif path == "/html/":
        _send(handler, _duckduckgo(web.results(body["q"][0])), kind="text/html; charset=utf-8")
    else:
        _json(handler, {}, 404)


def _json(handler: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
    _send(handler, json.dumps(value).encode(), status)


def _mediawiki(pages: Sequence[Recorded], limit: int) -> dict[str, Any]:
    """https://www.mediawiki.org/wiki/API:Search, formatversion 2."""
    found = [
        {"ns": 0, "title": one.title, "pageid": number, "size": 9, "wordcount": 3, "snippet": one.text, "timestamp": "2026-01-02T03:04:05Z"}
        for number, one in enumerate(pages[:limit], 1)
    ]
    return {"batchcomplete": True, "query": {"searchinfo": {"totalhits": len(found)}, "search": found}}


def _searxng(query: str, pages: Sequence[Recorded]) -> dict[str, Any]:
    """https://docs.searxng.org/dev/search_api.html with format=json."""
    found = [
        {
            "url": one.address,
            "title": one.title,
            "content": one.text or None,
            "publishedDate": f"{one.date}T00:00:00" if one.date else None,
            "engine": "brave",
            "engines": ["brave"],
            "score": 1.0,
            "category": "general",
        }
        for one in pages
    ]
    return {"query": query, "number_of_results": 0, "results": found, "answers": [], "infoboxes": [], "unresponsive_engines": []}


def _tavily(query: str, pages: Sequence[Recorded], limit: int) -> dict[str, Any]:
    """https://docs.tavily.com/documentation/api-reference/endpoint/search."""
    found = [
        {"title": one.title, "url": one.address, "content": one.text, "score": 0.9, "raw_content": None}
        | ({"published_date": one.date} if one.date else {})
        for one in pages[:limit]
    ]
    return {"query": query, "answer": None, "images": [], "results": found, "response_time": 0.1, "request_id": "1"}


def _serper(query: str, pages: Sequence[Recorded]) -> dict[str, Any]:
    """What POST google.serper.dev/search answers."""
    found = [
        {"title": one.title, "link": one.address, "snippet": one.text, "position": place} | ({"date": one.date} if one.date else {})
        for place, one in enumerate(pages, 1)
    ]
    return {"searchParameters": {"q": query, "type": "search", "engine": "google"}, "organic": found, "credits": 1}


def _duckduckgo(pages: Sequence[Recorded]) -> bytes:
    """A page of html.duckduckgo.com, as ddgs reads it."""
    found = "".join(
        f'<div class="links_main result__body"><h2><a href="{html.escape(one.address)}">{html.escape(one.title)}</a></h2>'
        f'<a class="result__snippet" href="{html.escape(one.address)}">{html.escape(one.text)}</a></div>'
        for one in pages
    )
    return f"<html><body>{found}</body></html>".encode()
