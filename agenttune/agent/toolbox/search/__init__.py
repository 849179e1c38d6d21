"""Web search: several services, one kind of result, one printed form."""

from agenttune.agent.toolbox.search.results import SearchResult, listed
from agenttune.agent.toolbox.search.service import search_web

__all__ = ["SearchResult", "listed", "search_web"]
