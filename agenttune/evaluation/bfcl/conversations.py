"""BFCL's multi-turn items, and the worker process in which their calls run and are judged."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agenttune.agent.toolbox.workers.process import WorkerProcess
from agenttune.errors import UserError
from agenttune.evaluation.bfcl import wheel
from agenttune.evaluation.bfcl.items import tool_of
from agenttune.evaluation.bfcl.world import MODULES
from agenttune.values.trajectory import Json, JsonObject, ToolCall, ToolSpec

DEADLINE = 20.0  # seconds for all calls of a step
_MEMORY, _TEXT = 2 << 30, 1 << 22  # bytes of address space, characters of all answers of a step
_MORE = "{functions}\nI have updated some more functions you can choose from. What about now?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTurnItem:
    """One item: what is typed turn by turn, the tools that are offered at first, the world, and the gold calls of each turn."""

    id: str
    category: str
    users: tuple[str, ...]
    tools: tuple[ToolSpec, ...]
    classes: tuple[str, ...]
    config: JsonObject
    gold: tuple[tuple[str, ...], ...]

    @property
    def world(self) -> dict[str, Json]:
        """The arguments that `world.replay` and `world.judge` share, but for where the wheel is."""
        return {"classes": list(self.classes), "config": dict(self.config), "long_context": "long_context" in self.category}


def read_conversations(folder: wheel.Folder, category: str) -> Iterator[MultiTurnItem]:
    """The items of a category."""
    truths = {row["id"]: row["ground_truth"] for row in wheel.rows(folder / "possible_answer", category)}
    documents = {name: wheel.documents(folder, module) for name, module in MODULES.items()}
    for row in wheel.rows(folder, category):
        functions = [one for name in row["involved_classes"] for one in documents[name]]
        later = {name for names in row.get("missed_function", {}).values() for name in names}
        users = tuple(_user(turn, row.get("missed_function", {}).get(str(at)), functions) for at, turn in enumerate(row["question"]))
        yield MultiTurnItem(
            id=row["id"],
            category=category,
            users=users,
            tools=tuple(tool_of(one, "python") for one in functions if one["name"] not in later),
            classes=tuple(row["involved_classes"]),
            config=row["initial_config"],
            gold=tuple(tuple(turn) for turn in truths[row["id"]]),
        )


def _user(messages: Sequence[Mapping[str, str]], more: Sequence[str] | None, functions: Sequence[JsonObject]) -> str:
    if more is None:
        return "\n\n".join(one["content"] for one in messages)
    return _MORE.format(functions=json.dumps([one for one in functions if one["name"] in more]))


class Worlds:
    """Where the calls of conversations run: a worker process with a deadline, in which a conversation is done over again at each step."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._process = WorkerProcess(memory=_MEMORY, limit=_TEXT)
        weakref.finalize(self, self._process.close)

    def replay(self, item: MultiTurnItem, calls: Sequence[ToolCall], new: int) -> list[str]:
        """The answers of the last `new` of all calls so far. Raises `DeadlineExceeded` or `ProcessEnded` where they do not end well."""
        found: list[str] = json.loads(self._ask("replay", item, {"calls": [_plain(call) for call in calls], "new": new}))
        return found

    def judge(self, item: MultiTurnItem, turns: Sequence[Sequence[ToolCall]]) -> str:
        """See `world.judge`."""
        made = [[_plain(call) for call in turn] for turn in turns]
        return self._ask("judge", item, {"made": made, "wanted": [list(turn) for turn in item.gold]})

    def _ask(self, name: str, item: MultiTurnItem, rest: Mapping[str, Json]) -> str:
        origin = {"module": "agenttune.evaluation.bfcl.world", "file": str(Path(__file__).with_name("world.py")), "name": name}
        keywords = {"wheel": self._root, **item.world, **rest}
        reply = self._process.ask({"origin": origin, "keywords": keywords, "deadline": DEADLINE}, DEADLINE)
        if reply.error:
            raise UserError(f"{item.id}: {reply.text.removeprefix('Error: ')}")
        return reply.text


def _plain(call: ToolCall) -> dict[str, Json]:
    return {"name": call.name, "arguments": dict(call.arguments)}


def is_error(answer: str) -> bool:
    """Whether an answer of the wheel's classes says that a call failed."""
    if answer.startswith("Error during execution"):
        return True
    try:
        value = json.loads(answer)
    except ValueError:
        return False
    return isinstance(value, dict) and "error" in value
