"""What every dataset format offers, and what each record has: a place, an id, the group of its tools.

A source is a module (or any object) with ``read``. A shipped one has ``NAME`` and ``detect`` as well, so that `auto` finds it; one that is
also a target has ``write``.
"""

from __future__ import annotations

import functools
import hashlib
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import kind_name
from agenttune.values.trajectory import Json, ToolSpec, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Where a record stood, and a person's choices.

    `line` is the line of a ``.jsonl`` file, else the record's number in its file (both from 1). `systems` maps a scenario to its system
    text, for data that keeps them apart. `branches`: of a tree of messages every path, or the best-ranked one. `failed_branches`: also the
    paths of a search tree that ended without an answer. `unanswered`: also a conversation in which the assistant has not spoken yet, as a
    server is sent one.
    """

    file: str = ""
    line: int = 0
    systems: Mapping[str, str] = field(default_factory=dict)
    branches: Literal["all", "best"] = "all"
    failed_branches: bool = False
    unanswered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message whose content is text, and its role in this project's words: system, user, assistant or tool.

    `others` are texts that the assistant could have said as well; `text` is the first of them.
    """

    role: str
    text: str
    weight: float = 1.0
    others: tuple[str, ...] = ()


class Source(typing.Protocol):
    """One raw format. Of a user's own module only ``read`` is asked for; `agenttune.sources.get` fills in the rest."""

    @property
    def NAME(self) -> str:
        """What the format is called on the command line."""

    def detect(self, record: Json, /) -> str | None:
        """Why this record looks like this format, in a few words, or None. Must not raise."""

    def read(self, record: Json, options: ReadOptions, /) -> Iterator[Trajectory | Refusal]:
        """The conversations of a record: usually one. Raises `Refusal` for what cannot be read exactly; where a record holds several
        conversations, a `Refusal` may be yielded in the place of a bad one. A record that yields nothing counts as refused."""


class Target(typing.Protocol):
    """A format that can also be written."""

    NAME: str

    def write(self, trajectory: Trajectory, /) -> Json:
        """The record of a trajectory. Raises `Refusal` for a step the format cannot hold."""


def is_message(value: Json) -> bool:
    """An object that says who speaks, and what."""
    if not isinstance(value, dict) or not isinstance(value.get("role", value.get("from")), str):
        return False
    return any(key in value for key in ("content", "value", "text", "parts", "tool_calls", "function_call"))


def fields_of(record: Json) -> dict[str, Json]:
    """The fields of a record, of which a bare list of messages has one; none for anything else. For `detect`, which must not raise."""
    if isinstance(record, list) and record and all(is_message(one) for one in record):
        return {"conversations" if "from" in record[0] else "messages": record}
    return record if isinstance(record, dict) else {}


def as_object(record: Json) -> dict[str, Json]:
    """The record itself, if it is a JSON object or a bare list of messages. Raises `Refusal` with code ``shape``."""
    if isinstance(record, list):
        record = fields_of(record) or record
    if not isinstance(record, dict):
        raise Refusal("shape", f"a record must be a JSON object, this is {kind_name(record)}", str(record)[:400])
    return record


def record_id(record: Mapping[str, Json], *keys: str) -> str:
    """The first of `keys` (default ``id``) that the record has, as text; empty if it has none."""
    for key in keys or ("id",):
        value = record.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""


def tool_group(tools: Iterable[ToolSpec]) -> str:
    """A short stable name of a tool set, whatever its order; empty where there is no tool."""
    return _group(tuple(tool.name for tool in tools))


@functools.lru_cache(maxsize=512)  # thousands of records share one list
def _group(given: tuple[str, ...]) -> str:
    names = sorted(set(given))
    return "tools:" + hashlib.blake2b("\n".join(names).encode("utf-8", "replace"), digest_size=6).hexdigest() if names else ""


def note_name(note: str) -> str:
    """The name of a note, by which changes are counted: the part before ``": "``; what follows is a detail of this record."""
    return note.partition(": ")[0]
