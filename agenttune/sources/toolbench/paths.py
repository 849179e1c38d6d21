"""The paths of a ToolBench search: chains of thoughts, calls and results, out of each of its three shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from agenttune.errors import Refusal
from agenttune.sources.calls import arguments_of
from agenttune.sources.reading.json_text import excerpt, kind_name, text_of
from agenttune.sources.toolbench.cut import tool_message
from agenttune.values.trajectory import Json, Observation, Step, ToolCall

MAX_COPIED = 1_000_000
_GIVE_UP = "give_up_and_restart"
_CUT = 100  # ToolEval's published trees keep this many characters of a message


@dataclass(slots=True)
class SearchPath:
    """One path. `finish` is the text of the arguments of its ``Finish``; `problem` says why it cannot be read."""

    system: str = ""
    user: str = ""
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    thought: str = ""
    answered: bool = False
    stop: str = "no_answer"
    finish: str = ""
    problem: Refusal | None = None
    cut: bool = False

    def think(self, text: str, *, cut: bool = False) -> None:
        """A thought, which the next call or answer belongs to."""
        text = text.strip()
        self.thought = f"{self.thought}\n\n{text}" if self.thought and text else self.thought or text
        self.cut = self.cut or cut

    def call(self, name: str, arguments: Json, result: str | None) -> None:
        """A call and what it returned; ``Finish`` with an answer is the answer. Raises `Refusal`."""
        read = arguments_of(arguments, self.notes)
        self.notes += ["thought_cut"] if self.cut else []
        thought, weight = self.thought, 0.0 if self.cut else 1.0
        self.thought, self.cut = "", False
        if name == "Finish":
            self.finish = text_of(arguments)
            if answer := _answer(read):
                self.answered, self.stop = True, ""
                self.steps.append(Step(thought=thought, answer=answer, weight=weight))
                return
            if read.get("return_type") == _GIVE_UP:
                self.stop, result = "gave_up", result or None
        seen = () if result is None else (Observation(text=result),)
        self.steps.append(Step(thought=thought, calls=(ToolCall(name=name, arguments=read),), observations=seen, weight=weight))

    def calls_finish(self) -> bool:
        """Whether ``Finish`` is also a call here, not only the answer."""
        return any(isinstance(call, ToolCall) and call.name == "Finish" for step in self.steps for call in step.calls)

    def end(self) -> SearchPath:
        """The path is over; a thought that no call followed is what it said last."""
        if self.thought and not self.answered:
            self.notes += ["thought_cut"] if self.cut else []
            self.steps.append(Step(answer=self.thought, weight=0.0 if self.cut else 1.0))
            self.thought = ""
        elif self.thought:
            self.notes.append("thought_after_answer")
        if not self.steps and self.problem is None:
            self.problem = Refusal("empty", "a path of the search holds no step", self.user)
        return self


def _answer(arguments: dict[str, Json]) -> str:
    """The answer that the arguments of ``Finish`` give, empty for none."""
    answer = arguments.get("final_answer")
    return answer.strip() if isinstance(answer, str) and arguments.get("return_type") != _GIVE_UP else ""


def _walk(roots: Json, children: str) -> Iterator[list[dict[str, Json]]]:
    """Paths from each root to each leaf, left to right. Raises `Refusal` (``shape``)."""
    path: list[dict[str, Json]] = []
    copied = 0
    stack: list[tuple[int, Json]] = [(0, root) for root in reversed(_nodes(roots))]
    while stack:
        depth, node = stack.pop()
        if not isinstance(node, dict):
            raise Refusal("shape", f"a node of the tree must be an object, this is {kind_name(node)}", excerpt(node))
        path[depth:] = [node]
        following = _nodes(node.get(children))
        if not following:
            copied += len(path)
            if copied > MAX_COPIED:
                raise Refusal("size", f"the paths of this tree hold more than {MAX_COPIED} nodes together")
            yield list(path)
        stack += [(depth + 1, one) for one in reversed(following)]


def _nodes(value: Json) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refusal("shape", f"the nodes of a tree must be a list, these are {kind_name(value)}", excerpt(value))
    return value


def _guarded(path: SearchPath, build: Callable[[], None]) -> SearchPath:
    try:
        build()
    except Refusal as problem:
        path.problem = problem
    return path.end()


def eval_paths(details: Json, final: str) -> list[SearchPath]:
    """Paths of a ToolEval tree, nodes of ``role``, ``message``, ``next``. Raises `Refusal` where the tree itself is broken."""
    found = []
    for nodes in _walk(details, "next"):
        path = SearchPath()
        found.append(_guarded(path, partial(_eval_path, path, nodes, final)))
    if not found:
        raise Refusal("empty", "the tree of the answer is empty")
    return found


def _eval_path(path: SearchPath, nodes: list[dict[str, Json]], final: str) -> None:
    longest = max(len(node["message"]) if isinstance(node.get("message"), str) else 0 for node in nodes)
    for node in nodes:
        role, message = node.get("role"), node.get("message")
        text = message if isinstance(message, str) else ""
        if role == "tool":
            path.call(*tool_message(message, final, path.notes))
        elif role == "assistant" and isinstance(message, str | None):
            path.think(text, cut=len(text) == longest == _CUT)
        elif role == "system" and isinstance(message, str | None):
            path.system = text
        elif role == "user" and isinstance(message, str | None) and not path.user:
            path.user = text
        else:
            raise Refusal("role", f"a node of the tree has the role {role!r} or a message that is not text", excerpt(node))


def search_paths(tree: Json, messages: Json) -> list[SearchPath]:
    """Paths of a whole search, nodes of ``node_type`` Thought, Action and Action Input. Raises `Refusal`."""
    root = tree.get("tree") if isinstance(tree, dict) else None
    if not isinstance(root, dict):
        raise Refusal("shape", 'a search must hold its "tree"', excerpt(tree))
    system, user = opening(messages)
    found = []
    for nodes in _walk([root], "children"):
        path = SearchPath(system=system, user=user)
        found.append(_guarded(path, partial(_search_path, path, nodes[1:])))
    return found


def _search_path(path: SearchPath, nodes: list[dict[str, Json]]) -> None:
    name = ""
    for node in nodes:
        kind, text = node.get("node_type"), node.get("description")
        if not isinstance(text, str) or kind not in ("Thought", "Action", "Action Input"):
            raise Refusal("role", f"a node of the search is of the type {kind!r}, or holds no text", excerpt(node))
        if kind == "Thought":
            path.think(text)
        elif kind == "Action":
            name = text.strip()
        elif not name:
            raise Refusal("call", "an Action Input stands without its Action", text)
        else:
            result = node.get("observation")
            path.call(name, text, None if result is None else text_of(result))
            name = ""
    if name:
        raise Refusal("call", f'the path ends between the Action "{name}" and its input', name)


def opening(messages: Json) -> tuple[str, str]:
    """System and user text at the head of the first list of training messages, if there is one."""
    first = messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], list) else messages
    texts = {"system": "", "user": ""}
    for one in first[:2] if isinstance(first, list) else []:
        if isinstance(one, dict) and one.get("role") in ("system", "user") and isinstance(one.get("content"), str):
            texts[one["role"]] = one["content"]
    return texts["system"], texts["user"]


def chosen_path(messages: Json) -> SearchPath:
    """The last list of training messages (each holds the one before it) as a path. Raises `Refusal`."""
    if isinstance(messages, list) and messages and all(isinstance(one, list) for one in messages):
        messages = messages[-1]
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise Refusal("shape", "train_messages must be a list of messages, or a list of such lists", excerpt(messages))
    if not messages:
        raise Refusal("failed", "the search left no path: train_messages is empty")
    path = SearchPath()
    return _guarded(path, partial(_chosen_path, path, messages))


def _chosen_path(path: SearchPath, messages: list[dict[str, Json]]) -> None:
    pending: tuple[str, Json] | None = None
    for message in messages:
        role, text = message.get("role"), text_of(message.get("content"))
        if role == "function":
            if pending is None or message.get("name", pending[0]) != pending[0]:
                raise Refusal("orphan", "a result stands where its function was not called", text)
            path.call(*pending, text)
            pending = None
            continue
        if pending is not None and not (role == "user" and message.get("valid") is False):
            path.call(*pending, None)
            pending = None
        if role == "assistant":
            path.think(text)
            pending = _function_call(message)
        elif role == "user" and message.get("valid") is False:
            path.notes.append("search_prompt_dropped")
        elif role == "user" and not path.user and not path.steps:
            path.user = text
        elif role == "system" and not path.user:
            path.system = text
        else:
            raise Refusal("order", f"a message of the role {role!r} stands where the search has none", text)
    if pending is not None:
        path.call(*pending, None)


def _function_call(message: dict[str, Json]) -> tuple[str, Json] | None:
    call = message.get("function_call")
    if call is None:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"].strip():
        raise Refusal("call", "a function_call must hold a name and arguments", excerpt(call))
    return call["name"].strip(), call.get("arguments")
