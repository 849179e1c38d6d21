"""Search without a network: a small encyclopaedia of our own, or the articles that AGENTTUNE_SEARCH_DB names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from agenttune.agent.toolbox import READ_ONLY
from agenttune.agent.toolbox.index import Article, cached_index, search_index

ARTICLES = Path(__file__).with_name("local_search.jsonl")
LENGTH = 400  # characters of one article's text


def local_search(query: str) -> Annotated[str, READ_ONLY]:
    """Searches an offline encyclopaedia of short articles.

    Args:
        query: what to look for, in a few words
    """
    source = Path(os.environ.get("AGENTTUNE_SEARCH_DB") or ARTICLES)
    index = cached_index(source) if source.suffix == ".jsonl" else source
    found = search_index(index, query)
    return "\n".join(f"{rank}. {_line(one, query)}" for rank, one in enumerate(found, 1)) or "No article was found."


def _line(article: Article, query: str) -> str:
    """The title and as much of the text as there is room for, from the first sentence that holds a word of the query."""
    if len(article.text) <= LENGTH:
        return f"{article.title}: {article.text}"
    words = set(re.findall(r"\w{3,}", query.lower()))
    sentences = re.split(r"(?<=[.!?])\s+|(?<=[。！？])", article.text)
    first = next((place for place, one in enumerate(sentences) if words & set(re.findall(r"\w+", one.lower()))), 0)
    text = " ".join(sentences[first:])
    return f"{article.title}: {'… ' if first else ''}{text[:LENGTH]}{'…' if len(text) > LENGTH else ''}"
