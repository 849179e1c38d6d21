"""Live search without a key: the MediaWiki Action API of Wikipedia, or of the server that AGENTTUNE_SEARCH_URL names.

https://www.mediawiki.org/wiki/API:Search
"""

from __future__ import annotations

import html
import json
import os
import re
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from agenttune.agent.toolbox import READ_ONLY, UNTRUSTED, Requires, ToolError
from agenttune.agent.toolbox.fetch import fetch

API = "https://{language}.wikipedia.org/w/api.php"
RESULTS = 5
SNIPPET = 300  # characters


def web_search(query: str) -> Annotated[str, READ_ONLY, UNTRUSTED, Requires("the network")]:
    """Searches Wikipedia and gives titles, snippets and page addresses.

    Args:
        query: what to look for, in a few words
    """
    if not query.strip():
        raise ToolError("the query is empty")
    own = os.environ.get("AGENTTUNE_SEARCH_URL")
    base = (own or API).replace("{language}", _language(query))
    asked = {"action": "query", "list": "search", "srsearch": query[:300], "srlimit": RESULTS, "format": "json", "formatversion": 2}
    page = fetch(f"{base}{'&' if '?' in base else '?'}{urlencode(asked)}", timeout=10, max_bytes=500_000, allow_private=bool(own))
    found = _results(page.text)
    site = re.sub(r"/w/api\.php.*", "", base)
    return "\n".join(f"{rank}. {_line(one, site)}" for rank, one in enumerate(found[:RESULTS], 1)) or f'No page matches "{query[:300]}".'


def _language(query: str) -> str:
    """AGENTTUNE_SEARCH_LANGUAGE, else the language of the query's script: kana ja, hangul ko, Han zh, anything else en."""
    own = os.environ.get("AGENTTUNE_SEARCH_LANGUAGE", "")
    if own:
        if not re.fullmatch(r"[a-z]{2,12}(-[a-z]{2,12})*", own):
            raise ToolError("AGENTTUNE_SEARCH_LANGUAGE is not a language code such as en")
        return own
    scripts = (("ja", "[\u3040-\u30ff]"), ("ko", "[\uac00-\ud7af]"), ("zh", "[\u3400-\u9fff]"))
    return next((code for code, letters in scripts if re.search(letters, query)), "en")


def _results(text: str) -> list[dict[str, Any]]:
    try:
        answer = json.loads(text)
        if "error" in answer:
            raise ToolError(f"the search service refused: {_plain(str(answer['error'].get('info', answer['error'])))}")
        found = answer["query"]["search"]
        return [one for one in found if isinstance(one["title"], str)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolError("the search service answered in a form that cannot be read") from error


def _line(result: dict[str, Any], site: str) -> str:
    title = _plain(result["title"])
    return f"{title}: {_plain(str(result.get('snippet', '')))} ({site}/wiki/{quote(title.replace(' ', '_'), safe=':/(),')})"


def _plain(markup: str) -> str:
    """Text of a snippet: tags away, entities read, one line."""
    text = " ".join(html.unescape(re.sub(r"<[^<>]*>", "", markup)).split())
    return text if len(text) <= SNIPPET else f"{text[:SNIPPET]}…"
