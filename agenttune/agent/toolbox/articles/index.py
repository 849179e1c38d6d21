"""Full-text search over short articles: SQLite FTS5, with Chinese, Japanese and Korean by character."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agenttune.agent.toolbox.answers import ToolError
from agenttune.files import cache_folder, replacing

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_STOP = frozenset(
    _WORD.findall(
        "a about an and are as at be by can did do does for from had has have how i in is it its me my of on or tell that the there this to"
        " was were what when where which who whom whose why will with would you your"
    )
)
_TERMS = 32  # of one query; a longer one is not more precise
_VERSION = 2  # of the table's layout; part of a cached index's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """A title and a short text, and the file it is from; empty for articles that stand for themselves."""

    title: str
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndex:
    """What an index holds: its articles, and the folder and the hashes of the files they were read from."""

    articles: tuple[Article, ...]
    folder: str
    files: Mapping[str, str]


def read_articles(path: Path) -> list[Article]:
    """Articles of a JSON Lines file, ``{"title", "text"}`` a line. Raises `ToolError` that names the first line that is not one."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other line separators, such as U+2028, stand in texts
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"the articles {path.name} cannot be read") from error
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line) if line.strip() else {"title": "", "text": ""}
            found.append(Article(title=str(record["title"]), text=str(record["text"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ToolError(f"line {number} of {path.name} is not an article with a title and a text") from error
    return [article for article in found if article.text]


def build_index(articles: Iterable[Article], path: Path, *, files: Mapping[str, str] | None = None, folder: str = "") -> None:
    """Writes an index of the articles to `path`, whole or not at all; `files` and `folder` tell where they are from (see `ReadIndex`)."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.execute("CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL)")
        made.execute("CREATE TABLE files (folder TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL)")
        made.executemany(
            "INSERT INTO files VALUES (?, ?, ?)", [(folder, name, digest) for name, digest in {"": "", **(files or {})}.items()]
        )
        made.execute("CREATE VIRTUAL TABLE terms USING fts5(title, text, content='', tokenize='porter unicode61')")
        for number, one in enumerate(articles, 1):
            made.execute("INSERT INTO articles VALUES (?, ?, ?, ?)", (number, one.title, one.text, one.source))
            made.execute("INSERT INTO terms (rowid, title, text) VALUES (?, ?, ?)", (number, _spaced(one.title), _spaced(one.text)))
        made.commit()
        with replacing(path, "wb") as file:
            file.write(made.serialize())


def is_index(path: Path) -> bool:
    """Whether a file is an index of this layout."""
    try:
        with _reading(path) as index:
            tables = {name for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            columns = {row[1] for row in index.execute("SELECT * FROM pragma_table_info('articles')")}
    except sqlite3.Error:
        return False
    return {"articles", "files", "terms"} <= tables and {"title", "text", "source"} <= columns


def read_index(path: Path) -> ReadIndex:
    """Everything an index holds. Only for one that `is_index`."""
    with _reading(path) as index:
        rows = index.execute("SELECT title, text, source FROM articles ORDER BY id").fetchall()
        files = index.execute("SELECT folder, name, hash FROM files").fetchall()
    articles = tuple(Article(title=title, text=text, source=source) for title, text, source in rows)
    return ReadIndex(articles=articles, folder=files[0][0], files={name: digest for _, name, digest in files if name})


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as index:
        yield index


def cached_index(source: Path) -> Path:
    """The index of a JSON Lines file of articles, built once for each content in the cache folder."""
    try:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ToolError(f"the articles {source.name} cannot be read") from error
    path = cache_folder() / f"articles-{_VERSION}-{digest}.sqlite"
    if not path.is_file():
        build_index(read_articles(source), path)
    return path


def search_index(path: Path, query: str, limit: int = 3) -> list[Article]:
    """The best articles for the words of a query, by BM25 with the title counted four times. Every text is a query; none is syntax.

    Raises `ToolError` when `path` is no index.
    """
    match = match_expression(query)
    if not match:
        return []
    try:
        with _reading(path) as index:
            rows = index.execute(
                "SELECT articles.title, articles.text, articles.source FROM terms JOIN articles ON articles.id = terms.rowid"
                " WHERE terms MATCH ? ORDER BY bm25(terms, 4.0, 1.0), articles.id LIMIT ?",
                (match, limit),
            ).fetchall()
    except sqlite3.Error as error:
        raise ToolError(f"{path.name} cannot be searched: {error}") from error
    return [Article(title=title, text=text, source=source) for title, text, source in rows]


def match_expression(query: str) -> str:
    """An FTS5 expression of quoted terms only: each word, and each pair of neighbours in a run of CJK characters, joined by OR."""
    words = [word.lower() for word in _WORD.findall(query)]
    wanted = [word for word in words if word not in _STOP] or words
    terms = [f'"{term}"' for word in wanted for term in _terms(word)]
    return " OR ".join(list(dict.fromkeys(terms))[:_TERMS])


def _terms(word: str) -> list[str]:
    if not re.match(f"[{_CJK}]", word) or len(word) == 1:
        return [word]
    return [f"{first} {second}" for first, second in itertools.pairwise(word)]


def _spaced(text: str) -> str:
    """Each CJK character as a word of its own, because FTS5's tokenizer splits at spaces and punctuation only."""
    return re.sub(f"([{_CJK}])", r" \1 ", text)
