"""ToolBench (OpenBMB, arXiv 2307.16789): what a search over tool calls left behind, each path from the question to a leaf a conversation.

Three shapes: a solution tree of ToolEval (``answer_details``), a whole answer of the search (``tree``), and its one chosen path
(``train_messages``). A path that ends in ``Finish`` with an answer has that answer; the others (given up, pruned, out of steps) failed, and
are read only with ``failed_branches``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id, tool_group
from agenttune.sources.reading.json_text import excerpt, kind_name
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.toolbench.paths import SearchPath, chosen_path, eval_paths, opening, search_paths
from agenttune.values.trajectory import Json, Round, ToolSpec, Trajectory

NAME = "toolbench"
_FIELDS = ("id", "source", "query", "available_tools", "answer", "function", "final_answer", "train_messages", "tree", "answer_generation")
_INNER = ("final_answer", "answer_details", "function", "train_messages", "query")


@dataclass(frozen=True, slots=True)
class _Search:
    """A record in one shape: its question, tools, the answer it names, and all of its paths."""

    query: str
    tools: Json
    final: str
    paths: list[SearchPath]


def detect(record: Json) -> str | None:
    """The fields that each of the three shapes has together."""
    if not isinstance(record, dict):
        return None
    answer = record.get("answer")
    if "query" in record and isinstance(answer, dict) and "answer_details" in answer:
        return 'an "answer" with "answer_details"'
    if isinstance(record.get("train_messages"), list) and ("query" in record or "function" in record):
        return '"query" and "train_messages"'
    inner = record.get("answer_generation")
    if isinstance(inner, dict) and (isinstance(record.get("tree"), dict) or isinstance(inner.get("train_messages"), list)):
        return '"tree" and "answer_generation"'
    return None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """The conversations of a search; with ``branches="best"`` only the one whose answer the record names. Raises `Refusal`.

    A path that cannot be read is yielded as a `Refusal`.
    """
    fields = as_object(record)
    search = _search(fields)
    notes: list[str] = []
    tools = tools_of(search.tools, notes)
    inner = [one for one in (fields.get("answer"), fields.get("answer_generation")) if isinstance(one, dict)]
    if dropped := [*unused(fields, _FIELDS), *(key for one in inner for key in unused(one, _INNER))]:
        notes.append(f"fields_dropped: {', '.join(dropped)}")
    paths = [path for path in search.paths if path.answered or path.problem or options.failed_branches]
    if not paths:
        raise Refusal("failed", "no path of the search reached an answer", search.query)
    if options.branches == "best":
        paths = [_best(paths, search.final)]
    if len(paths) < len(search.paths):
        notes.append(f"branches_left_out: {len(search.paths) - len(paths)}")
    name = record_id(fields, "id", "source")
    for number, path in enumerate(paths, 1):
        id = f"{name}#{number}" if name and len(paths) > 1 else name
        yield path.problem or _trajectory(path, id, search.query, tools, notes, options)


def _best(paths: list[SearchPath], final: str) -> SearchPath:
    """The answered path whose answer the record names, or else the first answered one, or else the first."""
    answered = [path for path in paths if path.answered]
    named = [path for path in answered if final and path.finish.strip() == final.strip()]
    return (named or answered or paths)[0]


def _search(fields: dict[str, Json]) -> _Search:
    inner = fields.get("answer_generation")
    whole = inner if isinstance(inner, dict) else fields
    answer = fields.get("answer")
    final = answer.get("final_answer") if isinstance(answer, dict) else whole.get("final_answer")
    final = final if isinstance(final, str) else ""
    query = whole.get("query", opening(whole.get("train_messages"))[1] or None)
    if not isinstance(query, str) or not query.strip():
        raise Refusal("shape", f'"query" must be text, this is {kind_name(query)}', excerpt(query))
    if isinstance(answer, dict):
        return _Search(query, fields.get("available_tools"), final, eval_paths(answer.get("answer_details"), final))
    if isinstance(inner, dict) and (fields.get("tree") is not None or not inner.get("train_messages")):
        return _Search(query, whole.get("function"), final, search_paths(fields.get("tree"), whole.get("train_messages")))
    return _Search(query, whole.get("function"), final, [chosen_path(whole.get("train_messages"))])


def _trajectory(path: SearchPath, id: str, query: str, tools: tuple[ToolSpec, ...], notes: list[str], options: ReadOptions) -> Trajectory:
    """Where ``Finish`` is only ever the answer it is no tool any more (note ``finish_as_answer``)."""
    others = tuple(tool for tool in tools if tool.name != "Finish")
    user = path.user
    changes = [*notes, *path.notes]
    if not user or (user != query and _is_wrapped(user, query)):
        changes += ["user_from_query"] if user else []
        user = query
    if path.answered:
        changes.append("finish_as_answer")
    return Trajectory(
        id=id,
        file=options.file,
        line=options.line,
        group=tool_group(others),
        system=path.system,
        tools=tools if path.calls_finish() else others,
        rounds=(Round(user=user, steps=tuple(path.steps)),),
        stop="" if path.answered else path.stop,
        notes=tuple(changes),
    )


def _is_wrapped(user: str, query: str) -> bool:
    """Whether the user's message is the question cut short, or the question and the word that starts the search."""
    return query.startswith(user.rstrip()) or user.strip() == f"{query.strip()}\nBegin!"
