"""Live search: Wikipedia without a key, or the service that the environment names; see docs/search.md."""

from __future__ import annotations

from typing import Annotated

from agenttune.agent.toolbox import READ_ONLY, UNTRUSTED, Requires
from agenttune.agent.toolbox.search import listed, search_web


def web_search(query: str) -> Annotated[str, READ_ONLY, UNTRUSTED, Requires("the network")]:
    """Searches the web and gives titles, snippets and page addresses.

    Args:
        query: what to look for, in a few words
    """
    return listed(search_web(query)) or f'No page matches "{query[:300]}".'
