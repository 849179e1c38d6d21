"""The words in which AgentBench's and AgentInstruct's models act (arXiv 2308.03688, 2310.12823): a thought, and a line of action.

``Act: bash`` with a block of code and ``Act: answer(text)`` (operating system), ``Action: Operation`` with a block of SQL and ``Action:
Answer`` (database), ``Action: get_relations(x)`` and ``Final Answer: #3`` (knowledge graph), ``Action:`` and ``click[x]`` (WebShop),
``ACTION: go to shelf 1`` (ALFWorld). What the user says next is the result. Nothing is run.
"""

from __future__ import annotations

import re

from agenttune.sources.call_text import Said
from agenttune.values.trajectory import Json, ToolCall

LINE_OF_ACTION = re.compile(r"^[ \t]*(Act|Action|ACTION|Final Answer)[ \t]*:", re.MULTILINE)
_LABELS = re.compile(r"^[ \t]*(?:Think|Thought|THOUGHT|Act|Action|ACTION|Action Input|Observation|Final Answer)[ \t]*:", re.MULTILINE)
_THOUGHT = re.compile(r"\s*(?:Think|Thought|THOUGHT)[ \t]*:")
_NAMED = re.compile(r"([A-Za-z_]\w*)(?:\[(?P<brackets>[^\n]*)\]|\((?P<parentheses>[^\n]*)\))")
_ACT = re.compile(r"([A-Za-z_]\w*)(?:\((?P<given>.*)\))?", re.DOTALL)
_CODE = re.compile(r"([A-Za-z_]\w*)\s*```\w*\n(?P<code>.*?)\n?```", re.DOTALL)
_FINAL = re.compile(r"Answer\s+Final Answer:")  # of the database
_ANSWER = "answer"  # of `Act:`, the one that ends a task with a text
_TOOL, _ARGUMENT = "act", "action"  # a line of the world's own words has no name


def tells_to_act(text: str) -> bool:
    """Whether a text of the system or the user says that a model acts in lines of action."""
    return "Action:" in text or "ACTION:" in text


def read_act(text: str, *, told: bool, acted: bool) -> Said | None:
    """The thought and the action, or the answer, of a text in these words; None for any other.

    An action in the world's own words is one only where the conversation has `told` the model to act so, and a final answer only where the
    model has `acted` before.
    """
    label = LINE_OF_ACTION.search(text)
    if label is None:
        return None
    head, body = text[: label.start()], text[label.end() :].strip()
    found = _THOUGHT.match(head)
    thought = head[found.end() if found else 0 :].strip()
    if final := _FINAL.match(body) if label[1] == "Action" else None:
        body, acted = body[final.end() :].strip(), True
    if _LABELS.search(thought) or _LABELS.search(body) or not body:
        return None
    if final or label[1] == "Final Answer":
        return Said(before=body, thought=thought) if acted else None
    return _act(body, thought) if label[1] == "Act" else _action(body, thought, told=told)


def _act(body: str, thought: str) -> Said | None:
    code = _CODE.fullmatch(body)
    found = code or _ACT.fullmatch(body)
    if found is None:
        return None
    given = code["code"] if code else found["given"]
    if found[1] == _ANSWER and given is not None:
        return Said(before=given.strip(), thought=thought)
    return Said(before=thought, calls=[_call(found[1], given)], acts=True)


def _action(body: str, thought: str, *, told: bool) -> Said | None:
    if code := _CODE.fullmatch(body):
        return Said(before=thought, calls=[_call(code[1], code["code"])], acts=True)
    if not told or "\n" in body:
        return None
    found = _NAMED.fullmatch(body)
    given = (found["brackets"] if found["parentheses"] is None else found["parentheses"]) if found else None
    call = _call(found[1], given) if found else ToolCall(name=_TOOL, arguments={_ARGUMENT: body})
    return Said(before=thought, calls=[call], acts=True)


def _call(name: str, given: str | None) -> ToolCall:
    arguments: dict[str, Json] = {} if given is None else {"input": given}
    return ToolCall(name=name, arguments=arguments)
