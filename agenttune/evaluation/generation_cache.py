"""What models said, by everything that decides it, so that no run asks twice: one SQLite file for all run folders."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import cache_folder
from agenttune.values.tokens import Completion

MOST = 1 << 28  # bytes; then what was used longest ago goes
_KEPT = 0.8  # of them, after that
_AT_ONCE = 500  # keys of one query; SQLite allows 999 at least
_TABLE = "CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, completion TEXT NOT NULL, used INTEGER NOT NULL)"


class GenerationCache:
    """Completions by key (see `key_of_prompt`), in a file of at most `most` bytes. Several processes may use one file at once.

    Raises `UserError` where the file cannot be used.
    """

    def __init__(self, path: Path | None = None, most: int = MOST) -> None:
        self.path = path or cache_folder() / "generations.sqlite"
        self.most = most
        self.hits = self.misses = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=60)
            with self._file:
                self._file.execute(_TABLE)
                self._file.execute("CREATE INDEX IF NOT EXISTS by_use ON said (used)")
            self._now = int(self._file.execute("SELECT COALESCE(MAX(used), 0) FROM said").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"the generation cache {self.path} cannot be used ({error}); remove it, or run with --no-cache") from error

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The completions that are known; each counts as used now."""
        found: dict[str, Completion] = {}
        self._now += 1
        for at in range(0, len(keys), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._file:
                rows = self._file.execute(f"SELECT key, completion FROM said WHERE key IN ({marks})", some).fetchall()
                self._file.execute(f"UPDATE said SET used = ? WHERE key IN ({marks})", [self._now, *some])
            found |= {key: _read(text) for key, text in rows}
        self.hits += sum(key in found for key in keys)
        self.misses += sum(key not in found for key in keys)
        return found

    def put(self, made: Mapping[str, Completion]) -> None:
        """Keeps completions: on the disk when this returns. What was used longest ago gives way where there are too many."""
        rows = [(key, json.dumps(asdict(one)), self._now) for key, one in made.items()]
        with self._file:
            self._file.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", rows)
        if self.bytes > self.most:
            self._make_room()

    @property
    def bytes(self) -> int:
        """What the file holds, without pages that are free."""
        pages, free, size = (int(self._file.execute(f"PRAGMA {name}").fetchone()[0]) for name in _SIZES)
        return (pages - free) * size

    def _make_room(self) -> None:
        """Removes a tenth of the rows at a time, oldest first."""
        while self.bytes > self.most * _KEPT:
            (rows,) = self._file.execute("SELECT COUNT(*) FROM said").fetchone()
            if not rows:
                return
            with self._file:
                self._file.execute(
                    "DELETE FROM said WHERE key IN (SELECT key FROM said ORDER BY used, rowid LIMIT ?)", (max(1, rows // 10),)
                )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


_SIZES = ("page_count", "freelist_count", "page_size")


def key_of_prompt(decides: Mapping[str, Any], ids: Sequence[int]) -> str:
    """A hash of what decides a completion: of the model and the run `decides`, and a prompt's ids."""
    return hashlib.sha256(json.dumps([dict(decides), list(ids)], sort_keys=True).encode()).hexdigest()


def _read(text: str) -> Completion:
    value = json.loads(text)
    return Completion(**{**value, "token_ids": tuple(value["token_ids"])})
