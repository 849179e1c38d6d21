"""The search services: how each is asked, and its answer as results. All but ddgs go through `fetch`.

Documentation: MediaWiki https://www.mediawiki.org/wiki/API:Search, SearXNG https://docs.searxng.org/dev/search_api.html,
Tavily https://docs.tavily.com/documentation/api-reference/endpoint/search, Serper https://serper.dev.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from agenttune.agent.toolbox.search.results import (
    RESULTS,
    DownError,
    LimitError,
    NoKeyError,
    RefusedError,
    SearchResult,
    UnreadableError,
    of_status,
    plain,
    result,
)
from agenttune.agent.toolbox.search.settings import KEYS, PLACES, SearchSettings
from agenttune.agent.toolbox.web.fetch import BARE, HttpRequest, fetch
from agenttune.agent.toolbox.web.urls import FetchError, StatusError

BYTES = 500_000
SECONDS = 10.0

Service = Callable[[str, SearchSettings], Sequence[SearchResult]]


def wikipedia(query: str, chosen: SearchSettings) -> Sequence[SearchResult]:
    """MediaWiki's full-text search. Its timestamp is left out: it tells when a page was last edited, not when something happened."""
    base = chosen.base.replace("{language}", language(query, chosen))
    asked = {"action": "query", "list": "search", "srsearch": query, "srlimit": RESULTS, "format": "json", "formatversion": 2}
    answer = _json(_with(base, asked), BARE, chosen)
    if isinstance(answer, dict) and "error" in answer:
        told = answer["error"].get("info", answer["error"]) if isinstance(answer["error"], dict) else answer["error"]
        raise RefusedError(f"the search service refused: {plain(told)}")
    site = re.sub(r"/w/api\.php.*", "", base)
    return [result(one["title"], f"{site}/wiki/{_page(one['title'])}", one.get("snippet", "")) for one in answer["query"]["search"]]


def _page(title: str) -> str:
    return quote(title.replace(" ", "_"), safe=":/(),")


def language(query: str, chosen: SearchSettings) -> str:
    """The language a person chose, else that of the query's script: kana ja, hangul ko, Han zh, anything else en."""
    scripts = (("ja", "[\u3040-\u30ff]"), ("ko", "[\uac00-\ud7af]"), ("zh", "[\u3400-\u9fff]"))
    return chosen.language or next((code for code, letters in scripts if re.search(letters, query)), "en")


def searxng(query: str, chosen: SearchSettings) -> Sequence[SearchResult]:
    """A SearXNG server of one's own; its settings must list json under ``search.formats``."""
    if not chosen.base:
        raise NoKeyError(f"a SearXNG server has no fixed address; set {PLACES['searxng'][0]}")
    asked = {"q": query, "format": "json", **({"language": chosen.language} if chosen.language else {})}
    try:
        answer = _json(_with(f"{chosen.base.rstrip('/')}/search", asked), BARE, chosen)
    except RefusedError as error:
        raise RefusedError(f"{error}; a SearXNG server must list json under search.formats in its settings") from error
    return [result(one["title"], one["url"], one.get("content"), _day(one.get("publishedDate"))) for one in answer["results"][:RESULTS]]


def tavily(query: str, chosen: SearchSettings) -> Sequence[SearchResult]:
    """Tavily's search."""
    asked = {"query": query, "max_results": RESULTS}
    answer = _json(f"{chosen.base.rstrip('/')}/search", _post(asked, "Authorization", f"Bearer {_key(chosen)}"), chosen)
    return [result(one["title"], one["url"], one.get("content"), _day(one.get("published_date"))) for one in answer["results"][:RESULTS]]


def serper(query: str, chosen: SearchSettings) -> Sequence[SearchResult]:
    """Google's results by Serper: what its answer box and knowledge graph say comes first."""
    answer = _json(f"{chosen.base.rstrip('/')}/search", _post({"q": query, "num": RESULTS}, "X-API-KEY", _key(chosen)), chosen)
    box, known = answer.get("answerBox") or {}, answer.get("knowledgeGraph") or {}
    found = []
    if box.get("answer") or box.get("snippet"):
        found.append(result(box.get("title") or query, box.get("link"), box.get("answer") or box["snippet"], box.get("date")))
    if known.get("description"):
        found.append(result(known.get("title") or query, known.get("descriptionLink") or known.get("website"), known["description"]))
    found += [result(one["title"], one["link"], one.get("snippet"), one.get("date")) for one in answer.get("organic", [])]
    return found[:RESULTS]


def ddgs(query: str, chosen: SearchSettings) -> Sequence[SearchResult]:
    """Search engines without a key, by the library ddgs: it has connections of its own, to the engines it knows and to nothing else."""
    try:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException
    except ImportError as error:
        raise NoKeyError("this search needs the extra agenttune[search]: pip install 'agenttune[search]'") from error
    region = {"zh": "cn-zh", "ja": "jp-ja", "ko": "kr-ko"}.get(language(query, chosen), "us-en")
    try:
        found = DDGS(timeout=int(SECONDS)).text(query, region=region, max_results=RESULTS)
    except RatelimitException as error:
        raise LimitError("the search engines take no more searches for now") from error
    except TimeoutException as error:
        raise DownError(f"the search engines did not answer in {SECONDS:g} s") from error
    except DDGSException as error:
        if "No results" in str(error):
            return []
        raise DownError(f"the search engines cannot be reached: {plain(error)}") from error
    return [result(one.get("title"), one.get("href"), one.get("body")) for one in found]


SERVICES: dict[str, Service] = {"wikipedia": wikipedia, "tavily": tavily, "serper": serper, "searxng": searxng, "ddgs": ddgs}


def ask(query: str, chosen: SearchSettings) -> tuple[SearchResult, ...]:
    """The results of a search, at most `RESULTS`. Raises a `SearchError`."""
    try:
        return tuple(SERVICES[chosen.service](query, chosen))[:RESULTS]
    except (KeyError, TypeError, AttributeError) as error:  # an answer that lacks what its documentation promises
        raise UnreadableError(f"{_name(chosen)} answered in a form that cannot be read") from error


def _json(url: str, request: HttpRequest, chosen: SearchSettings) -> Any:
    """A service's answer. An address that a person named may lie in their own network."""
    name = _name(chosen)
    try:
        page = fetch(url, request, timeout=SECONDS, max_bytes=BYTES, allow_private=chosen.own_base)
    except StatusError as error:
        raise of_status(name, KEYS.get(chosen.service, ""), error) from error
    except FetchError as error:
        raise DownError(f"{name} gave no answer: {error}") from error
    if page.truncated:
        raise UnreadableError(f"{name} answered with more than {BYTES} bytes")
    try:
        return json.loads(page.text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name} answered in a form that cannot be read") from error


def _name(chosen: SearchSettings) -> str:
    return {"wikipedia": "Wikipedia's search", "tavily": "Tavily", "serper": "Serper", "searxng": "SearXNG"}.get(
        chosen.service, "the search"
    )


def _with(base: str, asked: dict[str, Any]) -> str:
    return f"{base}{'&' if '?' in base else '?'}{urlencode(asked)}"


def _post(asked: dict[str, Any], header: str, value: str) -> HttpRequest:
    body = json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")
    return HttpRequest(method="POST", headers={"Content-Type": "application/json", header: value}, body=body)


def _key(chosen: SearchSettings) -> str:
    if not chosen.key:
        raise NoKeyError(f"{_name(chosen)} needs a key; set {KEYS[chosen.service]}")
    return chosen.key


def _day(date: object) -> str:
    """The day of a moment in ISO 8601; another date as it is."""
    text = str(date or "")
    return text[:10] if re.match(r"\d{4}-\d\d-\d\dT", text) else text
