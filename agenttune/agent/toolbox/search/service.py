"""One search: the service that is configured, what is known already, and the words for both."""

from __future__ import annotations

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.search.cache import SearchCache
from agenttune.agent.toolbox.search.results import DownError, SearchResult
from agenttune.agent.toolbox.search.services import ask
from agenttune.agent.toolbox.search.settings import settings
from agenttune.files import cache_folder

LENGTH = 300  # characters of a query


def search_web(query: str) -> tuple[SearchResult, ...]:
    """The results of a search by the service that the environment chooses (see `settings`).

    The same search within ten minutes is answered from the cache, and offline every search is, whatever its age. Raises a
    `SearchError` in words for the model.
    """
    query = " ".join(query.split())[:LENGTH]
    if not query:
        raise ToolError("the query is empty")
    chosen = settings()
    cache = SearchCache(cache_folder() / "searches.sqlite")
    known = cache.get(query, chosen, oldest=None) if chosen.offline else cache.get(query, chosen)
    if known is not None:
        return known
    if chosen.offline:
        raise DownError(f'offline: "{query}" was not searched before, so nothing is known of it')
    found = ask(query, chosen)
    cache.put(query, chosen, found)
    return found
