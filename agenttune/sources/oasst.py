"""OpenAssistant message trees (OASST1, arXiv 2304.07327): each path from the first prompt to a leaf, or the best-ranked one.

A record is a tree file's row (``prompt`` with nested ``replies``), a prompt message alone, or a list of flat messages with ``parent_id``. A
flat row by itself is one message of a tree and no conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat
from agenttune.sources.reading.json_text import excerpt, kind_name
from agenttune.sources.schemas import unused
from agenttune.values.trajectory import Json, Trajectory

NAME = "oasst"
_ROLES = ("prompter", "assistant")
_READ = ("message_tree_id", "role", "text", "replies")
MAX_COPIED = 1_000_000


@dataclass(frozen=True, slots=True)
class _Message:
    """One message of a tree; a lower rank is better, and a message without one comes after all that have one."""

    id: str
    role: str
    text: str
    rank: int | float
    replies: list[Json]
    dropped: tuple[str, ...] = ()


def detect(record: Json) -> str | None:
    """A prompt with replies, or messages with ``parent_id`` and the roles prompter and assistant."""
    if isinstance(record, list):
        return "a list of messages with parent_id" if record and all(_is_flat(one) for one in record) else None
    if not isinstance(record, Mapping):
        return None
    prompt = record.get("prompt")
    if isinstance(prompt, Mapping) and prompt.get("role") in _ROLES and "text" in prompt:
        return 'a "prompt" with nested replies'
    if isinstance(record.get("messages"), list) and record["messages"] and all(_is_flat(one) for one in record["messages"]):
        return '"messages" with parent_id'
    return "one message of a tree" if _is_flat(record) or (record.get("role") in _ROLES and "replies" in record) else None


def _is_flat(value: Json) -> bool:
    return isinstance(value, Mapping) and value.get("role") in _ROLES and "text" in value and "message_id" in value and "parent_id" in value


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """The conversations of a tree, in order of rank. Raises `Refusal`; a path on which the assistant says nothing is yielded as one."""
    name, root = _tree(record)
    notes: list[str] = []
    paths = list(_paths(root, notes, best=options.branches == "best"))  # all of them first: a tree is read whole or refused whole
    for number, path in enumerate(paths, 1):
        try:
            yield _trajectory(path, options, name, number, notes)
        except Refusal as error:
            yield error


def _trajectory(path: list[_Message], options: ReadOptions, name: str, number: int, notes: list[str]) -> Trajectory:
    chat = Chat(notes=list(notes))
    for message in path:
        if message.role == "prompter":
            chat.user(message.text)
        else:
            chat.says(message.text)
    if dropped := sorted({field for message in path for field in message.dropped}):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    id = path[-1].id or f"{name}-{number}"
    return chat.trajectory(options, id=id, group=f"tree:{name}" if name else "")


def _tree(record: Json) -> tuple[str, _Message]:
    """The tree's name and its first prompt."""
    if isinstance(record, list):
        return _from_flat(record)
    fields = as_object(record)
    if isinstance(fields.get("messages"), list):
        return _from_flat(fields["messages"])
    if "prompt" in fields:
        root = _message(fields["prompt"])
        return record_id(fields, "message_tree_id", "id") or root.id, root
    if "replies" in fields:
        root = _message(fields)
        return record_id(fields, "message_tree_id") or root.id, root
    if _is_flat(fields):
        raise Refusal("flat", "this is one message of a tree; give the trees, or all messages of a tree in one record", excerpt(fields))
    raise Refusal("shape", 'a record must hold a "prompt" with replies, or messages with parent_id', excerpt(fields))


def _from_flat(rows: list[Json]) -> tuple[str, _Message]:
    """The tree that flat messages make, each under its parent."""
    children: dict[str, list[Json]] = {}
    roots: list[Json] = []
    for row in rows:
        if not _is_flat(row):
            raise Refusal("shape", "a message of a tree needs message_id, parent_id, role and text", excerpt(row))
        parent = row["parent_id"]
        (roots if parent is None else children.setdefault(str(parent), [])).append({**row, "replies": []})
    if len(roots) != 1:
        raise Refusal("tree", f"the messages make {len(roots)} trees, not one", excerpt(rows))
    ids = [str(row["message_id"]) for row in rows]
    if len(set(ids)) != len(ids) or not set(children) <= set(ids):
        raise Refusal("tree", "a message's parent is missing, or two messages have one id", excerpt(rows))
    placed, queue = 0, list(roots)
    while queue:
        row = queue.pop()
        placed += 1
        row["replies"] = children.get(str(row["message_id"]), [])
        queue += row["replies"]
    if placed != len(rows):
        raise Refusal("tree", "some messages hang on no root", excerpt(rows))
    root = _message(roots[0])
    return record_id(roots[0], "message_tree_id") or root.id, root


def _message(value: Json) -> _Message:
    if not isinstance(value, Mapping) or value.get("role") not in _ROLES or not isinstance(value.get("text"), str):
        raise Refusal("shape", "a message of a tree needs text and a role, prompter or assistant", excerpt(value))
    replies, rank = value.get("replies"), value.get("rank")
    if not isinstance(replies, list | None):
        raise Refusal("shape", f"replies must be a list, this is {kind_name(replies)}", excerpt(replies))
    if not isinstance(rank, int | float) or isinstance(rank, bool):
        rank = float("inf")
    return _Message(record_id(value, "message_id"), value["role"], value["text"], rank, replies or [], tuple(unused(value, _READ)))


def _paths(root: _Message, notes: list[str], *, best: bool) -> Iterator[list[_Message]]:
    """Paths from `root` to leaves, best-ranked replies first; only the first of them with `best` (note ``branches_left_out``)."""
    path: list[_Message] = []
    copied = 0
    stack: list[tuple[int, _Message]] = [(0, root)]
    while stack:
        depth, message = stack.pop()
        path[depth:] = [message]
        replies = sorted((_message(one) for one in message.replies), key=lambda one: one.rank)
        if not replies:
            copied += len(path)
            if copied > MAX_COPIED:
                raise Refusal("size", f"the paths of this tree hold more than {MAX_COPIED} messages together")
            yield list(path)
            if best:
                notes += ["branches_left_out"] if stack else []
                return
        stack += [(depth + 1, reply) for reply in reversed(replies)]
