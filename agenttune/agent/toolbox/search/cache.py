"""What searches answered, in a SQLite file that only its owner can read; it can be deleted at any time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agenttune.agent.toolbox.search.results import SearchResult
from agenttune.agent.toolbox.search.settings import SearchSettings

FRESH = 600.0  # seconds in which the same search is not made again
KEPT = 90 * 86_400.0  # seconds after which an answer is thrown away
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, results TEXT NOT NULL, at REAL NOT NULL)"


class SearchCache:
    """Answers by service, address, language and query. A file that cannot be read or written is as good as an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, query: str, chosen: SearchSettings, *, oldest: float | None = FRESH) -> tuple[SearchResult, ...] | None:
        """The answer to this search if it is at most `oldest` seconds old (None: of any age); None if there is none."""
        row = None
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as table:
            row = table.execute("SELECT results, at FROM answers WHERE key = ?", (_key(query, chosen),)).fetchone()
        if row is None or (oldest is not None and not 0 <= time.time() - row[1] <= oldest):
            return None
        try:
            return tuple(SearchResult(**one) for one in json.loads(row[0]))
        except (ValueError, TypeError):  # written by another version
            return None

    def put(self, query: str, chosen: SearchSettings, results: Sequence[SearchResult]) -> None:
        """Keeps an answer."""
        text = json.dumps([dataclasses.asdict(one) for one in results], ensure_ascii=True)
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as table:
            table.execute("DELETE FROM answers WHERE at < ?", (time.time() - KEPT,))
            table.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (_key(query, chosen), text, time.time()))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with contextlib.closing(sqlite3.connect(self.path, timeout=2.0)) as table:
            table.execute(_TABLE)
            yield table
            table.commit()


def _key(query: str, chosen: SearchSettings) -> str:
    return json.dumps([chosen.service, chosen.base, chosen.language, " ".join(query.split()).casefold()])
