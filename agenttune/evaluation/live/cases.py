"""What a whole conversation is made of, and where the shipped ones are read.

``desk:live`` is ``evals/desk/live``: one JSON object a line, ``{"id", "tools", "users", "judge": {"how", "accepted"}, "tags",
"clusters"[, "system", "quiet", "fault"]}``. A tool is the name of a shipped one, or ``{"use": "agenttune.desk.tools_…:function",
"name", "description", "parameters": {own name: name here}}``. ``fault`` is what the first call of the case fails with, ``quiet``
lists the rounds that must have no call.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any, cast

from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.find import load
from agenttune.agent.toolbox.permissions import allowing
from agenttune.agent.toolbox.run import Toolbox
from agenttune.agent.toolbox.signatures.functions import Tool
from agenttune.errors import UserError, nearest
from agenttune.evaluation.live.judge import HOWS
from agenttune.files import read_text, shipped

_OWN = re.compile(r"agenttune\.desk\.tools_\w+:\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCase:
    """One conversation: its tools, what is typed round by round, how the end is judged, and the first call's failure, if any."""

    id: str
    tools: tuple[Tool, ...]
    users: tuple[str, ...]
    how: str
    accepted: tuple[Any, ...] = ()
    system: str = ""
    quiet: tuple[int, ...] = ()
    fault: str = ""
    clusters: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def toolbox(self) -> Toolbox:
        """Fresh tools, all of which may run; with a fault the first call of all fails."""
        failed: list[str] = []
        tools = [_failing(one, self.fault, failed) for one in self.tools] if self.fault else self.tools
        return Toolbox(tools, inline=True, ask=allowing({one.spec.name for one in tools}))


def _failing(one: Tool, fault: str, failed: list[str]) -> Tool:
    @functools.wraps(one.function)
    def run(**keywords: Any) -> Any:
        if not failed:
            failed.append(one.spec.name)
            raise ToolError(fault)
        return one.function(**keywords)

    return replace(one, function=cast(FunctionType, run), origin=None)


def is_live(name: str) -> bool:
    """Whether a suite's name (``desk:live``, ``desk:live-dev``) means whole conversations."""
    base, _, split = name.partition(":")
    return split.partition("-")[0] == "live" and (shipped("evals") / base / "live").is_dir()


def read(name: str) -> list[LiveCase]:
    """The cases of ``desk:live`` (its held-out half), ``desk:live-dev``, …. Raises `UserError` for a half or a line that is none."""
    base, _, split = name.partition(":")
    folder = shipped("evals") / base / "live"
    half = split.partition("-")[2] or "heldout"
    halves = sorted(path.stem for path in folder.glob("*.jsonl"))
    if half not in halves:
        raise UserError(f'{base}:live has no half "{half}"{nearest(half, halves)}; it has {", ".join(halves)}')
    path = folder / f"{half}.jsonl"
    lines = read_text(path, "cases").splitlines()
    return [_case(json.loads(line), f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _case(row: Mapping[str, Any], where: str) -> LiveCase:
    if row["judge"]["how"] not in HOWS:
        raise UserError(f'{where} is judged by "{row["judge"]["how"]}"; known: {", ".join(HOWS)}')
    return LiveCase(
        id=row["id"],
        tools=tuple(_tool(one, where) for one in row["tools"]),
        users=tuple(row["users"]),
        how=row["judge"]["how"],
        accepted=tuple(row["judge"]["accepted"]),
        system=row.get("system", ""),
        quiet=tuple(row.get("quiet", ())),
        fault=row.get("fault", ""),
        clusters=tuple(row["clusters"]),
        tags=row["tags"],
    )


def _tool(one: str | Mapping[str, Any], where: str) -> Tool:
    """A shipped tool by its name, or one of the desk's own functions under other names; nothing else is loaded for a file."""
    if isinstance(one, str):
        if not re.fullmatch(r"\w+", one):
            raise UserError(f'{where} names the tool "{one}"; a suite may name shipped tools only')
        return load(one)[0]
    if not _OWN.fullmatch(one["use"]):
        raise UserError(f'{where} uses "{one["use"]}"; a suite may use functions of agenttune.desk.tools_… only')
    (made,) = load(one["use"])
    return made.renamed(one["name"], one["description"], {own: (new, "") for own, new in one["parameters"].items()})


def part(cases: Sequence[LiveCase], most: int | None) -> list[LiveCase]:
    """At most `most` cases in even shares of the kinds, within a kind drawn by a hash of their ids: the same in every run."""
    kinds: dict[str, list[LiveCase]] = {}
    for case in sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).digest()):
        kinds.setdefault(case.tags.get("kind", ""), []).append(case)
    turns = [case for row in range(len(cases)) for _, own in sorted(kinds.items()) for case in own[row : row + 1]]
    kept = {case.id for case in turns[:most]}
    return [case for case in cases if case.id in kept]


def batches(cases: Sequence[LiveCase], size: int) -> Iterator[list[LiveCase]]:
    """Cases with the same tools side by side, so that the list is read once."""
    ordered = sorted(cases, key=lambda case: ([one.spec.name for one in case.tools], len(case.users), case.id))
    yield from (ordered[at : at + size] for at in range(0, len(ordered), size))


def cases_hash(cases: Sequence[LiveCase]) -> str:
    """Changes with whatever is asked, offered or accepted."""
    asked = [(case.id, case.users, case.how, case.accepted, [repr(one.spec) for one in case.tools]) for case in cases]
    return hashlib.sha256(repr(asked).encode()).hexdigest()
