"""What `auto` does: the source that knows a file's records, why, and what speaks against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from agenttune.errors import Refusal, UserError
from agenttune.sources.base import ReadOptions
from agenttune.sources.families import family_of
from agenttune.sources.find import SHIPPED, get
from agenttune.values.trajectory import Json, Trajectory

_PLAINEST_FIRST = ("openai", "sharegpt", *SHIPPED)  # what most people mean, where several come as near
_NOT_ITS_SHAPE = ("shape", "trajectory", "flat", "tree")
# What a record with calls nearly always has somewhere, whatever its format: a field, or in a text.
_CALL_FIELDS = re.compile(
    r'"(?:tool_calls?|function_calls?|tool_uses?|toolUse|functionCall|tool_invocations|toolInvocations)": ?(?:\{[^}]|\[[^\]]|"[^"])'
    r'|"(?:tool_use|tool_call|tool-call|function_call)"'
)
_CALL_WORDS = re.compile(r'<tool_call>|<function=|<function_call|<functioncall>|Action Input:|(?:\\n|")Action ?:|Act:')


def detect(record: Json) -> tuple[str, str] | None:
    """The name of the first shipped source that knows this record, and why it thinks so; None if none does."""
    for name in SHIPPED:
        reason = get(name).detect(record)
        if reason is not None:
            return name, reason
    return None


def detect_among(records: Iterable[Json]) -> tuple[str, str]:
    """The source that knows most of these records (the first one asked wins a tie), and why.

    The reason says so where that source reads no call in records that look as if they had some. Raises `UserError` if none knows any; its
    sentence names what they are, where that is known, else what the source that came nearest has against the first record.
    """
    seen = list(records)
    votes: dict[str, list[str]] = {}
    for record in seen:
        found = detect(record)
        if found is not None:
            votes.setdefault(found[0], []).append(found[1])
    if not votes:
        known = f"name one of {', '.join(SHIPPED)}, or bring your own (./my_source.py)"
        family = next(filter(None, map(family_of, seen)), "")
        near = f"they look like {family}, which none of them reads" if family else _nearest(seen[0]) if seen else ""
        raise UserError(f"no source knows these records{f'; {near}' if near else ''}; {known}")
    name = max(votes, key=lambda one: len(votes[one]))
    return name, votes[name][0] + _doubt(name, seen)


def _nearest(record: Json) -> str:
    """What the source that reads furthest has against a record: one that finds its messages comes nearer than one that finds no list."""
    best, said = 0, ""
    for name in _PLAINEST_FIRST:
        problem = _problem(name, record)
        far = 0 if problem is None or problem.code in _NOT_ITS_SHAPE else 1 if problem.code == "role" else 2
        if problem is not None and far > best:
            best, said = far, f'"{name}" came nearest: {problem.sentence}'
    return said


def _problem(name: str, record: Json) -> Refusal | None:
    try:
        return next((one for one in get(name).read(record, ReadOptions()) if isinstance(one, Refusal)), None)
    except Refusal as problem:
        return problem
    except RecursionError:
        return None


def _doubt(name: str, records: Sequence[Json]) -> str:
    looking = [record for record in records if looks_like_calls(record, texts=True)]
    if not looking or any(_calls(name, record) for record in records):
        return ""
    return f"; no call was read in the first {len(records)} records, and {len(looking)} of them look as if they had some"


def looks_like_calls(record: Json, *, texts: bool = False) -> bool:
    """Whether a record has, besides a tool list, a field that calls have in one format or another, or with `texts` the words of one."""
    rest = {key: one for key, one in record.items() if key not in ("tools", "functions")} if isinstance(record, dict) else record
    try:
        said = json.dumps(rest, ensure_ascii=False)
        return _CALL_FIELDS.search(said) is not None or (texts and _CALL_WORDS.search(said) is not None)
    except (RecursionError, ValueError):
        return False


def _calls(name: str, record: Json) -> int:
    try:
        read = [one for one in get(name).read(record, ReadOptions()) if isinstance(one, Trajectory)]
    except (Refusal, RecursionError):
        return 0
    return sum(len(step.calls) for one in read for step in one.steps())
