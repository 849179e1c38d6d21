"""What XTuner's last converter of MSAgent data (v0.1.23, ``msagent_react_map_fn``) writes for a record, without what makes it unsafe.

Here nothing is improved: Python reprs, the trailing newlines and the observation in ``system`` are those that its adapters were trained
on. Where it would lose a record this refuses it; where it loses a part in silence, the part is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.msagent import markers
from agenttune.sources.reading.json_text import excerpt, kind_name
from agenttune.sources.reading.literals import literal
from agenttune.values.trajectory import Json

_ANSWER = "Final Answer:"
_DECODER = json.JSONDecoder()
_PROTOCOL = (
    "如果使用工具请遵循以下格式回复：\n```\n"
    "Thought:思考你当前步骤需要解决什么问题，是否需要使用工具\n"
    "Action:工具名称，你的工具必须从 [{names}] 选择\n"
    "Action Input:工具输入参数\n```\n工具返回按照以下格式回复：\n```\n"
    "Response:调用工具后的结果\n```\n如果你已经知道了答案，或者你不需要工具，请遵循以下格式回复\n```\n"
    "Thought:给出最终答案的思考过程\nFinal Answer:最终答案\n```\n开始!\n"
)


@dataclass(slots=True)
class XTunerRow:
    """XTuner's turns (``system``, ``input`` where there is one, ``output``), what they hold, and what was left out of them."""

    conversation: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    calls: int = 0
    observations: int = 0
    answers: int = 0

    def record(self) -> dict[str, Json]:
        """The row as XTuner's map function returns it."""
        return {"conversation": self.conversation}


def convert(record: Json) -> XTunerRow:
    """A raw MSAgent record as XTuner converts it. Raises `Refusal` where XTuner drops the whole record, or stops with an error.

    Notes: ``xtuner_lost_observation``, ``xtuner_lost_answer``, ``xtuner_ignored_role``, ``xtuner_lost_tail``.
    """
    found = XTunerRow()
    system = user = ""
    for message in _messages(record):
        role, value = message["from"], message["value"]
        if role == "system":
            system += _system(_text(value))
        elif role == "user":
            user += f"{value}\n"
        elif role == "assistant":
            _assistant(_text(value), system, user, found)
            system = user = ""
        else:
            found.notes.append("xtuner_ignored_role")
    if not found.conversation:
        raise Refusal("xtuner_empty", "XTuner drops a record without an assistant message")
    found.notes += ["xtuner_lost_tail"] if system or user else []
    return found


def _messages(record: Json) -> list[dict[str, Json]]:
    value = record.get("conversations") if isinstance(record, dict) else None
    if isinstance(value, str):
        value = literal(value)  # XTuner runs it with eval
    if not isinstance(value, list):
        raise Refusal("shape", f'"conversations" must be a list of messages, this is {kind_name(value)}', excerpt(value))
    if len(value) < 2:
        raise Refusal("xtuner_empty", "XTuner drops a record with fewer than two messages", excerpt(value))
    if not all(isinstance(one, dict) and "from" in one and "value" in one for one in value):
        raise Refusal("shape", 'a message needs "from" and "value"', excerpt(value))
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Refusal("shape", f"the value of a message must be text, this is {kind_name(value)}", excerpt(value))
    return value


def _system(text: str) -> str:
    tools: dict[str, Json] = {}
    for tool in _tools(text):
        name, described = tool["name"], tool["description"]
        if isinstance(name, list | dict):
            raise Refusal("tool", "XTuner stops at a tool whose name is no text", excerpt(tool))
        tools[name] = _described(described, _parameters(tool))
    head = "你是一个可以调用外部工具的助手，可以使用的工具包括：\n"
    return f"{head}{tools}\n" + _PROTOCOL.replace("{names}", str(list(tools)))


def _described(description: Json, listed: dict[str, Json] | None) -> Json:
    """The description with its parameters added, as Python adds text: to a text, to a list letter by letter, to nothing else."""
    text = f"\n输入参数: {listed}"
    if listed is not None and isinstance(description, str):
        return description + text
    if listed is not None and isinstance(description, list):
        return description + list(text)
    return description


def _tools(text: str) -> Iterator[dict[str, Json]]:
    """Objects with a name and a description, left to right; one that has not both is entered."""
    at = text.find("{")
    budget = (len(text) << 3) + (1 << 20)  # a text of opening brackets alone is parsed from each of them
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except ValueError as error:
            budget -= getattr(error, "pos", at) - at
            value, end = {}, at + 1
        except RecursionError as error:
            raise Refusal("depth", "XTuner stops at an object that is nested too deeply", text[at : at + 400]) from error
        budget -= end - at
        if budget < 0:
            raise Refusal("size", "the system text holds too many nested or broken objects", text)
        if "name" in value and "description" in value:
            yield value
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)


def _parameters(tool: dict[str, Json]) -> dict[str, Json] | None:
    """``paths[0].parameters`` as name → description; None wherever XTuner's own attempt at that fails."""
    try:
        return {one["name"]: one["description"] for one in tool["paths"][0]["parameters"]}
    except (KeyError, IndexError, TypeError):
        return None


def _assistant(text: str, system: str, user: str, found: XTunerRow) -> None:
    if text.count(markers.RESULT) > 1:
        raise Refusal("xtuner_two_results", "XTuner drops a record with two results in one assistant message", text)
    said, mark, result = text.partition(markers.RESULT)
    output, calls = _thinks(said)
    found.calls += calls
    found.answers += not calls
    output = f"{output}\n" if calls else f"{_ANSWER}{output}\n"
    found.conversation.append({"system": system, "input": user, "output": output})
    if mark:
        _result(mark + result, found)


def _thinks(text: str) -> tuple[str, int]:
    """Each call as Thought, Action and Action Input lines, the text between and after them as it stands; and how many there were."""
    parts: list[str] = []
    at = count = 0
    while (start := text.find(markers.CALL, at)) >= 0 and (end := text.find(markers.CALL_END, start)) >= 0:
        prose = text[at:start].strip()
        call = _loads(text[start + len(markers.CALL) : end])
        if not isinstance(call, dict) or "api_name" not in call or "parameters" not in call:
            raise Refusal("xtuner_call", "XTuner drops a record whose call has no api_name and parameters", text[start:end])
        parts.append(f"Thought:{prose}\n" if prose else "")
        parts.append(f"Action:{call['api_name']}\nAction Input:{call['parameters']}\n")
        at, count = end + len(markers.CALL_END), count + 1
    return "".join(parts) + text[at:], count


def _loads(text: str) -> Json:
    """JSON after XTuner's cleaning, which takes fences and line breaks out even of the texts inside."""
    body = text.replace("```JSON", "").replace("```", "").replace("\n", "")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal("xtuner_json", "XTuner drops a record whose call is not JSON after its cleaning", text) from error


def _result(text: str, found: XTunerRow) -> None:
    """The result as a turn's system text, if something follows that can be its output; else XTuner loses both."""
    end = text.find(markers.RESULT_END)
    if end >= 0:
        try:
            value = _loads(text[len(markers.RESULT) : end])
        except Refusal:
            found.notes += ["xtuner_lost_observation", *(["xtuner_lost_answer"] if text[end + len(markers.RESULT_END) :].strip() else [])]
            return
        rest = text[end + len(markers.RESULT_END) :]
        tail = "\n" if rest.endswith("\n") else ""  # its pattern ends before a last line break
        closing = rest.strip()
        text = f"Response:{value}\n" + (f"{_ANSWER}{closing}\n" if closing else "") + tail
    parts = text.split(_ANSWER)
    if len(parts) == 2:
        found.conversation.append({"system": parts[0], "output": _ANSWER + parts[1]})
        found.observations += 1
        found.answers += 1
        return
    found.notes += ["xtuner_lost_observation", *(["xtuner_lost_answer"] if len(parts) > 2 else [])]
