"""Web search against a server on this machine that speaks MediaWiki's search API."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from agenttune.agent.toolbox import find, load
from agenttune.values.trajectory import Observation, ToolCall

RESULTS = [
    {
        "ns": 0,
        "title": "Ada Lovelace",
        "pageid": 974,
        "snippet": 'Augusta Ada King, <span class="searchmatch">Countess</span> of Lovelace &amp; &quot;first&quot;\n  programmer',
    },
    {"ns": 0, "title": "C++ (language)", "pageid": 1, "snippet": "x" * 1000},
]


class Wiki(BaseHTTPRequestHandler):
    """Answers what its server was told to answer."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, WikiServer)
        server.asked.append(self.path)
        self.send_response(server.status)
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class WikiServer(ThreadingHTTPServer):
    """The answer of every request, and the paths asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Wiki)
        self.status, self.kind = 200, "application/json; charset=utf-8"
        self.body = json.dumps({"batchcomplete": True, "query": {"search": RESULTS}}).encode()
        self.asked: list[str] = []


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[WikiServer]:
    with WikiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AGENTTUNE_SEARCH_URL", f"http://127.0.0.1:{server.server_port}/{{language}}/w/api.php")
        monkeypatch.delenv("AGENTTUNE_SEARCH_LANGUAGE", raising=False)
        yield server
        server.shutdown()
        thread.join()


def search(query: str) -> Observation:
    with find(["web_search"]) as toolbox:
        return toolbox.run([ToolCall(name="web_search", arguments={"query": query})])[0]


def test_results_are_numbered_plain_and_untrusted(wiki: WikiServer) -> None:
    seen = search("first programmer?")
    base = f"http://127.0.0.1:{wiki.server_port}/en/wiki"
    first, second = seen.text.split("\n")
    assert first == f'1. Ada Lovelace: Augusta Ada King, Countess of Lovelace & "first" programmer ({base}/Ada_Lovelace)'
    assert second == f"2. C++ (language): {'x' * 300}… ({base}/C%2B%2B_(language))"
    assert not seen.trusted
    assert not seen.error
    (asked,) = wiki.asked
    assert urlsplit(asked).path == "/en/w/api.php"
    assert parse_qs(urlsplit(asked).query) == {
        "action": ["query"],
        "list": ["search"],
        "srsearch": ["first programmer?"],
        "srlimit": ["5"],
        "format": ["json"],
        "formatversion": ["2"],
    }


@pytest.mark.parametrize(
    ("query", "own", "language"),
    [
        ("北京的人口", "", "zh"),
        ("東京の人口", "", "ja"),
        ("서울", "", "ko"),
        ("Köln", "", "en"),
        ("北京", "de", "de"),
        ("x", "zh-yue", "zh-yue"),
    ],
)
def test_the_language_follows_the_script_or_the_person(
    wiki: WikiServer, query: str, own: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTTUNE_SEARCH_LANGUAGE", own)
    assert not search(query).error
    assert urlsplit(wiki.asked[0]).path == f"/{language}/w/api.php"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, {"query": {"search": []}}, 'No page matches "tea".'),
        (200, {"error": {"code": "toolong", "info": "Search request is <b>longer</b>"}}, "refused: Search request is longer"),
        (200, {"batchcomplete": True}, "in a form that cannot be read"),
        (200, [1], "in a form that cannot be read"),
        (200, {"query": {"search": [{"pageid": 1}]}}, "in a form that cannot be read"),
        (429, {}, "127.0.0.1 answered 429"),
        (503, {}, "127.0.0.1 answered 503"),
    ],
)
def test_answers_without_results(wiki: WikiServer, status: int, body: object, says: str) -> None:
    wiki.status, wiki.body = status, json.dumps(body).encode()
    seen = search("tea")
    assert says in seen.text
    assert seen.error == (not says.startswith("No page"))


def test_a_server_that_is_not_there_and_settings_that_are_wrong(wiki: WikiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    wiki.kind = "text/html"
    wiki.body = b"<html>"
    assert "in a form that cannot be read" in search("tea").text
    monkeypatch.setenv("AGENTTUNE_SEARCH_LANGUAGE", "evil.example/")
    assert search("tea").text == "Error: AGENTTUNE_SEARCH_LANGUAGE is not a language code such as en"
    monkeypatch.delenv("AGENTTUNE_SEARCH_LANGUAGE")
    assert search("  ").text == "Error: the query is empty"
    monkeypatch.setenv("AGENTTUNE_SEARCH_URL", "http://127.0.0.1:1/w/api.php")
    assert search("tea").text == "Error: the connection to 127.0.0.1 failed: Connection refused"


def test_by_default_it_asks_wikipedia() -> None:
    module = sys.modules[load("web_search")[0].function.__module__]
    assert module.API == "https://{language}.wikipedia.org/w/api.php"
