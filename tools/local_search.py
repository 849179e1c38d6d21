"""Search without a network: a small encyclopaedia of our own, or the articles that AGENTTUNE_SEARCH_DB or ``local_search:FILE`` names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from agenttune.agent.toolbox import READ_ONLY, ToolError
from agenttune.agent.toolbox.articles.index import Article, cached_index, is_index, search_index

ARTICLES = Path(__file__).with_name("local_search.jsonl")
LENGTH = 400  # characters of one article's text


def local_search(query: str) -> Annotated[str, READ_ONLY]:
    """Searches an offline encyclopaedia of short articles.

    Args:
        query: what to look for, in a few words
    """
    return _found(os.environ.get("AGENTTUNE_SEARCH_DB") or str(ARTICLES), query)


def made_for(path: str) -> Callable[[str], str]:
    """The search of one file: what ``agenttune tools index`` wrote, or articles as JSON Lines."""
    if not Path(path).is_file():
        raise ToolError(f"there is no such file; make one with agenttune tools index FOLDER -o {Path(path).name}")
    if Path(path).suffix != ".jsonl" and not is_index(Path(path)):
        raise ToolError("it is no search file; make one with agenttune tools index FOLDER")

    def search_file(query: str) -> Annotated[str, READ_ONLY]:
        """Searches the files of a folder.

        Args:
            query: what to look for, in a few words
        """
        return _found(path, query)

    return search_file


def _found(file: str, query: str) -> str:
    source = Path(file)
    index = cached_index(source) if source.suffix == ".jsonl" else source
    found = search_index(index, query)
    return "\n".join(f"{rank}. {_line(one, query)}" for rank, one in enumerate(found, 1)) or "No article was found."


def _line(article: Article, query: str) -> str:
    """The article's text, and the file it is from where it is from one."""
    return _text(article, query) + (f" ({article.source})" if article.source else "")


def _text(article: Article, query: str) -> str:
    """The title and as much of the text as there is room for, from the first sentence that holds a word of the query."""
    if len(article.text) <= LENGTH:
        return f"{article.title}: {article.text}"
    words = set(re.findall(r"\w{3,}", query.lower()))
    sentences = re.split(r"(?<=[.!?])\s+|(?<=[。！？])", article.text)
    first = next((place for place, one in enumerate(sentences) if words & set(re.findall(r"\w+", one.lower()))), 0)
    text = " ".join(sentences[first:])
    return f"{article.title}: {'… ' if first else ''}{text[:LENGTH]}{'…' if len(text) > LENGTH else ''}"
