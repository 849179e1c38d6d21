"""Web search against a server on this machine that speaks every service's documented schema."""

from __future__ import annotations

import email.utils
import json
import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.agent.toolbox import Toolbox, ToolError, find
from agenttune.agent.toolbox.search import results as results_module
from agenttune.agent.toolbox.search import services
from agenttune.agent.toolbox.search.cache import SearchCache
from agenttune.agent.toolbox.search.results import LimitError, SearchResult, listed, result, seconds
from agenttune.agent.toolbox.search.settings import KEYS, PLACES, settings
from agenttune.cli import main
from agenttune.values.trajectory import Observation, ToolCall
from tests.benchmarks.peers import environment
from tests.search_server import FAULTS, METADATA, SEARCH_PEERS, Recorded, Web, serving_searches

SERVICES = ("wikipedia", "searxng", "tavily", "serper")
ADA = Recorded(
    title="Ada Lovelace",
    address="https://site.example/ada",
    text='Augusta Ada King, <span class="searchmatch">Countess</span> of Lovelace &amp; &quot;first&quot;\n  programmer',
    date="2023-10-17",
)
LONG = Recorded(title="C++ (language)", address="https://site.example/c", text="x" * 1000)
FIRST = 'Augusta Ada King, Countess of Lovelace & "first" programmer'


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    names = [name for name, _ in PLACES.values() if name]
    for name in ("AGENTTUNE_SEARCH", "AGENTTUNE_OFFLINE", "AGENTTUNE_SEARCH_LANGUAGE", *KEYS.values(), *names):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving_searches(ADA, LONG) as server:
        yield server


def search(web: Web, service: str, query: str, monkeypatch: pytest.MonkeyPatch) -> Observation:
    for name, value in web.environment(service).items():
        monkeypatch.setenv(name, value)
    return again(query)


def again(query: str) -> Observation:
    with find(["web_search"], inline=True) as toolbox:
        return asked(toolbox, query)


def asked(toolbox: Toolbox, query: str) -> Observation:
    return toolbox.run([ToolCall(name="web_search", arguments={"query": query})])[0]


@pytest.mark.parametrize("service", SERVICES)
def test_results_are_numbered_plain_and_untrusted(web: Web, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in web.environment(service).items():
        monkeypatch.setenv(name, value)
    with find(["web_search"]) as toolbox:
        seen = asked(toolbox, "first programmer?")
    assert not seen.error, seen.text
    assert not seen.trusted
    first, second = seen.text.split("\n")
    if service == "wikipedia":
        assert first == f"1. Ada Lovelace: {FIRST} ({web.url}/en/wiki/Ada_Lovelace)"
        assert second == f"2. C++ (language): {'x' * 300}… ({web.url}/en/wiki/C%2B%2B_(language))"
    else:
        assert first == f"1. Ada Lovelace: {FIRST} (https://site.example/ada, 2023-10-17)"
        assert second == f"2. C++ (language): {'x' * 300}… (https://site.example/c)"


def test_how_each_service_is_asked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        assert not search(web, service, "first programmer?", monkeypatch).error
    wiki, searxng, tavily, serper = web.asked
    assert (wiki.method, wiki.path) == ("GET", "/en/w/api.php")
    assert wiki.query == {
        "action": ["query"],
        "list": ["search"],
        "srsearch": ["first programmer?"],
        "srlimit": ["5"],
        "format": ["json"],
        "formatversion": ["2"],
    }
    assert (searxng.method, searxng.path, searxng.query) == ("GET", "/searxng/search", {"q": ["first programmer?"], "format": ["json"]})
    assert (tavily.method, tavily.path, tavily.body) == ("POST", "/tavily/search", {"query": "first programmer?", "max_results": 5})
    assert tavily.headers["authorization"] == "Bearer tvly-right"
    assert (serper.method, serper.path, serper.body) == ("POST", "/serper/search", {"q": "first programmer?", "num": 5})
    assert serper.headers["x-api-key"] == "serper-right"
    assert all(one.headers["user-agent"].startswith("agenttune/") for one in web.asked)
    assert all("authorization" not in one.headers for one in (wiki, searxng, serper))


def test_serper_tells_its_answer_box_first(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.box = {
        "answerBox": {"title": "CVPR 2023", "snippet": "2360 papers of 9155 were accepted", "link": "https://site.example/box"},
        "knowledgeGraph": {"title": "CVPR", "type": "Conference", "description": "A conference.", "website": "https://cvpr.example/"},
    }
    lines = search(web, "serper", "CVPR", monkeypatch).text.split("\n")
    assert lines[0] == "1. CVPR 2023: 2360 papers of 9155 were accepted (https://site.example/box)"
    assert lines[1] == "2. CVPR: A conference. (https://cvpr.example/)"
    assert lines[2].startswith("3. Ada Lovelace: ")


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
    web: Web, query: str, own: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTTUNE_SEARCH_LANGUAGE", own)
    assert not search(web, "wikipedia", query, monkeypatch).error
    assert web.asked[0].path == f"/{language}/w/api.php"


# What each fault is told as; {name} is the service.
TOLD = {
    "401": "{name} does not accept the key in {key} (401)",
    "429": "{name} takes no more searches for now (429); wait 7 s",
    "432": "the searches of the plan at {name} are used up (432)",
    "500": "{name} is down (500)",
    "truncated": "{name} gave no answer: the connection to 127.0.0.1 failed: it broke off",
    "huge": "{name} answered with more than 500000 bytes",
    "bomb": "{name} answered with more than 500000 bytes",
    "garbage": "{name} answered in a form that cannot be read",
    "other": "{name} answered in a form that cannot be read",
    "deep": "{name} answered in a form that cannot be read",
    "slow": "{name} gave no answer: 127.0.0.1 did not answer in 0.5 s",
}
NAMES = {"wikipedia": "Wikipedia's search", "searxng": "SearXNG", "tavily": "Tavily", "serper": "Serper"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_failure_is_a_sentence(web: Web, service: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    web.fault = fault
    for name, value in web.environment(service).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(services, "SECONDS", 0.5 if fault == "slow" else 10.0)
    with find(["web_search"], inline=True) as toolbox:
        seen = asked(toolbox, "tea")
    keyed = service in KEYS
    told = TOLD.get(fault, "")
    if fault == "403":
        told = "{name} does not accept the key in {key} (403)" if keyed else "{name} refused the search (403)"
    if fault == "metadata":
        told = "{name} gave no answer: " + (
            "127.0.0.1 redirects; a request with a key or a body is not sent on"
            if keyed
            else "169.254.169.254 is not a host of the public internet; it is not opened"
        )
    assert seen.error
    assert seen.text.startswith("Error: " + told.format(name=NAMES[service], key=KEYS.get(service, "the request"))), seen.text
    assert len(seen.text) < 300
    assert METADATA not in seen.text
    assert "right" not in seen.text, "no key is told"
    if service == "searxng" and fault == "403":
        assert "list json under search.formats" in seen.text


@pytest.mark.parametrize(
    ("service", "key", "says"),
    [
        ("tavily", "", "Error: Tavily needs a key; set TAVILY_API_KEY"),
        ("serper", "", "Error: Serper needs a key; set SERPER_API_KEY"),
        ("tavily", "wrong", "Error: Tavily does not accept the key in TAVILY_API_KEY (401)"),
        ("serper", "wrong", "Error: Serper does not accept the key in SERPER_API_KEY (403)"),
        ("tavily", "not\u00a0ascii", "Error: Tavily gave no answer: a header of the request holds a letter that headers cannot hold"),
    ],
)
def test_keys_that_are_missing_or_wrong(web: Web, service: str, key: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**web.environment(service), KEYS[service]: key}.items():
        monkeypatch.setenv(name, value)
    assert again("tea").text == says


@pytest.mark.parametrize(
    ("named", "service"),
    [
        ({}, "wikipedia"),
        ({"AGENTTUNE_SEARCH": "auto"}, "wikipedia"),
        ({"AGENTTUNE_SEARCH_URL": "http://wiki.example/w/api.php"}, "wikipedia"),
        ({"AGENTTUNE_SEARXNG_URL": "http://127.0.0.1:8888"}, "searxng"),
        ({"AGENTTUNE_SEARXNG_URL": "http://127.0.0.1:8888", "SERPER_API_KEY": "k"}, "serper"),
        ({"SERPER_API_KEY": "k", "TAVILY_API_KEY": "k"}, "tavily"),
        ({"SERPER_API_KEY": "k", "TAVILY_API_KEY": " "}, "serper"),
        ({"SERPER_API_KEY": "k", "AGENTTUNE_SEARCH": "ddgs"}, "ddgs"),
    ],
)
def test_auto_takes_the_first_that_is_configured(named: dict[str, str], service: str) -> None:
    assert settings(named).service == service


def test_the_places_of_the_services() -> None:
    assert settings({}).base == "https://{language}.wikipedia.org/w/api.php"
    assert settings({"TAVILY_API_KEY": "k"}).base == "https://api.tavily.com"
    assert settings({"SERPER_API_KEY": "k"}).base == "https://google.serper.dev"
    assert not settings({}).own_base, "only an address that the person named may be one of their own network"
    with pytest.raises(ToolError, match=r'names no search service "gogle".*known: auto, wikipedia, tavily, serper, searxng, ddgs'):
        settings({"AGENTTUNE_SEARCH": "gogle"})


def test_nothing_found_a_wrong_setting_and_a_server_that_is_not_there(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.always = ()
    for service in SERVICES:
        seen = search(web, service, "tea", monkeypatch)
        assert (seen.text, seen.error) == ('No page matches "tea".', False)
    assert search(web, "wikipedia", "  ", monkeypatch).text == "Error: the query is empty"
    monkeypatch.setenv("AGENTTUNE_SEARCH_LANGUAGE", "evil.example/")
    assert again("tea").text == "Error: AGENTTUNE_SEARCH_LANGUAGE is not a language code such as en"
    monkeypatch.delenv("AGENTTUNE_SEARCH_LANGUAGE")
    monkeypatch.setenv("AGENTTUNE_SEARCH_URL", "http://127.0.0.1:1/w/api.php")
    refused = "Error: Wikipedia's search gave no answer: the connection to 127.0.0.1 failed: Connection refused"
    assert again("tea").text == refused
    monkeypatch.setenv("AGENTTUNE_SEARCH", "searxng")
    monkeypatch.delenv("AGENTTUNE_SEARXNG_URL")
    assert again("tea").text == "Error: a SearXNG server has no fixed address; set AGENTTUNE_SEARXNG_URL"


def test_the_form_in_which_adapters_were_trained() -> None:
    plain = listed([SearchResult(title="France", address="", snippet="A country."), SearchResult(title="Paris", address="", snippet="")])
    assert plain == "1. France: A country.\n2. Paris: "


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://site.example/a?b=1", "https://site.example/a?b=1"),
        ("javascript:alert(1)", ""),
        ("https://site.example/a b", ""),
        ("https://site.example/\n2. Forged: text", ""),
        ("https://site.example/" + "x" * 600, ""),
        (None, ""),
        (7, ""),
    ],
)
def test_an_address_is_one_or_none(address: object, kept: str) -> None:
    assert result("t", address, "s").address == kept


def test_a_snippet_cannot_forge_a_second_result() -> None:
    made = listed([result("a\n2. Forged", "https://a.example/", "text\n3. Forged: more\r\u20284. x", "2023\n5. y")])
    assert "\n" not in made
    assert "\u2028" not in made


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds("120") == 120
    assert seconds("soon") is None
    assert seconds("") is None
    assert 80 <= (seconds(email.utils.formatdate(time.time() + 90, usegmt=True)) or 0) <= 91
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert str(LimitError("full", 7.0)) == "full; wait 7 s"
    assert str(LimitError("full", 10.0**8)) == "full; wait for more than a day"
    assert results_module.RESULTS == 5


# The cache


def test_the_same_search_is_not_made_again(web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = search(web, "tavily", "First  Programmer?", monkeypatch)
    assert again("first programmer?").text == first.text
    assert len(web.asked) == 1
    search(web, "serper", "first programmer?", monkeypatch)
    assert len(web.asked) == 2, "another service may answer otherwise"
    path = tmp_path / "cache" / "searches.sqlite"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert b"tvly-right" not in path.read_bytes()
    with sqlite3.connect(path) as table:
        table.execute("UPDATE answers SET at = at - 700")
    again("first programmer?")
    assert len(web.asked) == 3, "after ten minutes it is asked again"


def test_a_failure_is_not_kept(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.fault = "500"
    assert search(web, "tavily", "tea", monkeypatch).error
    web.fault = ""
    assert not again("tea").error


def test_offline_only_the_cache_answers(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = search(web, "searxng", "tea", monkeypatch)
    with sqlite3.connect(tmp_path / "cache" / "searches.sqlite") as table:
        table.execute("UPDATE answers SET at = at - 864000")
    monkeypatch.setenv("AGENTTUNE_OFFLINE", "1")
    assert again("tea").text == known.text
    assert again("coffee").text == 'Error: offline: "coffee" was not searched before, so nothing is known of it'
    assert len(web.asked) == 1
    monkeypatch.setenv("AGENTTUNE_OFFLINE", "0")
    assert main(["tools", "call", "--offline", "web_search", '{"query": "coffee"}']) == 1
    assert "offline:" in capsys.readouterr().err
    assert os.environ["AGENTTUNE_OFFLINE"] == "0", "the option holds for its command"
    assert len(web.asked) == 1


@pytest.mark.parametrize("content", [b"not a database at all", b""])
def test_a_broken_cache_is_as_good_as_none(web: Web, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "searches.sqlite").write_bytes(content)
    assert not search(web, "tavily", "tea", monkeypatch).error


def test_old_answers_go_and_those_of_another_version_are_not_read(tmp_path: Path) -> None:
    cache, chosen = SearchCache(tmp_path / "c.sqlite"), settings({})
    cache.put("old", chosen, [result("t", "", "s")])
    with sqlite3.connect(cache.path) as table:
        table.execute("UPDATE answers SET at = 0")
    cache.put("new", chosen, [result("t", "", "s")])
    with sqlite3.connect(cache.path) as table:
        assert table.execute("SELECT count(*) FROM answers").fetchone() == (1,)
        table.execute("UPDATE answers SET results = '[{\"titel\": 1}]'")
    assert cache.get("new", chosen) is None


# The services' own clients


CLIENTS = """
import json, os, sys
base = sys.argv[1]
from tavily import TavilyClient
from tavily.errors import InvalidAPIKeyError, UsageLimitExceededError
told = {}
told["tavily"] = TavilyClient("tvly-right", api_base_url=base + "/tavily").search("tea", max_results=2)["results"]
try:
    TavilyClient("wrong", api_base_url=base + "/tavily").search("tea", max_results=2)
except InvalidAPIKeyError:
    told["wrong key"] = True
from ddgs.engines.duckduckgo import Duckduckgo
from ddgs import ddgs as library
Duckduckgo.search_url = base + "/html/"
library.ENGINES["text"] = {"duckduckgo": Duckduckgo}  # the one engine that can be led to this machine
from agenttune.agent.toolbox.search import listed, search_web
os.environ["AGENTTUNE_SEARCH"] = "ddgs"
told["ddgs"] = listed(search_web("tea"))
told["none"] = listed(search_web("nothing at all"))
print(json.dumps(told))
"""


@pytest.mark.slow
def test_the_services_own_clients_read_the_same_answers(web: Web, tmp_path: Path) -> None:
    """tavily-python and ddgs themselves: our reading of a schema is not our own invention."""
    python = environment("search", SEARCH_PEERS, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    web.found["nothing"] = ()
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "NO_PROXY": "*"}
    done = subprocess.run([python, "-c", CLIENTS, web.url], capture_output=True, text=True, timeout=300, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert [(one["title"], one["url"], one["content"]) for one in told["tavily"]] == [
        (one.title, one.address, one.text) for one in (ADA, LONG)
    ]
    assert told["wrong key"]
    assert told["ddgs"].split("\n")[1] == f"2. C++ (language): {'x' * 300}… (https://site.example/c)"
    assert told["none"] == ""
    theirs = next(one for one in web.asked if one.path == "/tavily/search")
    assert (theirs.method, theirs.headers["authorization"]) == ("POST", "Bearer tvly-right")
    assert theirs.headers["content-type"] == "application/json"
    assert {"query": "tea", "max_results": 2}.items() <= theirs.body.items()
