"""API-Bank (DAMO, arXiv 2304.08244): dialogues with API turns, and rows of instruction, input and output that each ask for one step.

A row repeats the dialogue so far in its input and trains only its output, so the steps of its input have weight 0 and its group is its
question: a split never separates the rows of one dialogue.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id, tool_group
from agenttune.sources.chat import Chat
from agenttune.sources.python_calls import MAX_CALL, python_calls
from agenttune.sources.reading.json_text import excerpt, kind_name, loads, text_of
from agenttune.sources.reading.literals import literal
from agenttune.sources.schemas import tool_of, unused
from agenttune.sources.tool_lists import merge_tools
from agenttune.values.trajectory import Json, ToolCall, ToolSpec, Trajectory

NAME = "apibank"
_DIALOGUE = ("id", "file", "turns")
_ROW = ("id", "file", "instruction", "input", "output", "expected_output")
# Lines of the set's own instruction that say how to write a call, with its placeholders: our protocols say it in their own words.
_FORMAT = re.compile(
    r"Generate (?:an API request in the format of \[ApiName|a response as an AI assistant based on).*|The current time is \{\{time\}\}\.?"
    r"|Input:|Expected output:|API descriptions:|User: User's utter[ae]nce|AI: AI's response|API-Request: \[ApiName\(key1=.*",
    re.IGNORECASE,  # "User: User's Utterance" in some rows
)
_LINE = re.compile(r"^(User|AI|API-Request): ?", re.MULTILINE)
_ASK = re.compile(r"\n?Generate (?:API Request|AI Response|the next API Request|the response):\s*\Z")
_CALL = re.compile(r"(\[?)\s*([A-Za-z_][\w.-]*)\(")
_ENDS = {"[": re.compile(r"\)\s*\]"), "": re.compile(r"\)(?=\s*(?:->|\Z))")}
_NEXT_NAME = re.compile(r",\s*(?=[A-Za-z_]\w*\s*=)")
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")


def detect(record: Json) -> str | None:
    """Turns of User, AI and API; or a row whose texts speak of API-Request."""
    if not isinstance(record, dict):
        return None
    turns = record.get("turns")
    if isinstance(turns, list) and all(isinstance(one, dict) and one.get("role") in ("User", "AI", "API") for one in turns):
        return '"turns" of User, AI and API'
    row = isinstance(record.get("instruction"), str) and "API-Request: [" in record["instruction"]
    return '"instruction" asks for an API-Request' if row and isinstance(record.get("input"), str) else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    if "turns" in fields:
        yield _dialogue(fields, options)
    else:
        yield _row(fields, options)


def _dialogue(fields: dict[str, Json], options: ReadOptions) -> Trajectory:
    turns = fields["turns"]
    if not isinstance(turns, list):
        raise Refusal("shape", f'"turns" must be a list, this is {kind_name(turns)}', excerpt(turns))
    if not turns:
        raise Refusal("empty", "the dialogue has no turn")
    chat = Chat()
    names = [name for turn in turns if (name := _turn(turn, chat))]
    if dropped := unused(fields, _DIALOGUE):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    return chat.trajectory(options, id=record_id(fields, "id", "file"), group=tool_group(ToolSpec(name=name) for name in names))


def _turn(turn: Json, chat: Chat) -> str:
    """One turn; the name of the API it calls, if it does."""
    role = turn.get("role") if isinstance(turn, dict) else None
    if role == "API":
        return _api(turn, chat)
    if role not in ("User", "AI") or not isinstance(turn.get("text"), str):
        raise Refusal("role", "a turn must be of User or AI with a text, or of API", excerpt(turn))
    if dropped := unused(turn, ("role", "text")):
        chat.notes.append(f"turn_fields_dropped: {', '.join(dropped)}")
    if role == "User":
        chat.user(turn["text"])
    else:
        chat.says(turn["text"])
    return ""


def _api(turn: dict[str, Json], chat: Chat) -> str:
    """A call and its result. The result's envelope (name, input) says again what the call says; where it does not, a note tells."""
    name, arguments = turn.get("api_name"), turn.get("param_dict")
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise Refusal("call", "an API turn needs api_name and param_dict", excerpt(turn))
    if dropped := unused(turn, ("role", "api_name", "param_dict", "result")):
        chat.notes.append(f"turn_fields_dropped: {', '.join(dropped)}")
    chat.says("", calls=[ToolCall(name=name.strip(), arguments=arguments)])
    if "result" not in turn:
        return name.strip()
    result = turn["result"]
    if not isinstance(result, dict) or "output" not in result:
        chat.sees(text_of(result))
        return name.strip()
    if result.get("input", arguments) != arguments or result.get("api_name", name) != name:
        chat.notes.append("result_input_differs")
    failure = result.get("exception")
    chat.sees(text_of(result["output"] if failure is None else failure), error=failure is not None)
    return name.strip()


def _row(fields: dict[str, Json], options: ReadOptions) -> Trajectory:
    texts = {key: fields.get(key) for key in ("instruction", "input")}
    output = fields.get("output", fields.get("expected_output"))
    for key, value in (*texts.items(), ("output", output)):
        if not isinstance(value, str):
            raise Refusal("shape", f'"{key}" must be text, this is {kind_name(value)}', excerpt(value))
    chat = Chat()
    described, system = _instruction(str(texts["instruction"]), chat.notes)
    chat.system(system)
    listed, dialogue = _listing(str(texts["input"]))
    tools, repeats = merge_tools([_tool(one, chat.notes) for one in (*described, *listed)])
    chat.notes += ["tool_merged"] * repeats
    for role, text in _lines(dialogue):
        _say(role, text, chat, weight=0.0)
    _output(str(output), chat)
    if dropped := unused(fields, _ROW):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    question = hashlib.blake2b(dialogue.partition("\nAPI-Request:")[0].encode("utf-8", "replace"), digest_size=6).hexdigest()
    return chat.trajectory(options, id=_row_id(fields), tools=tools, group=f"question:{question}")


def _row_id(fields: dict[str, Json]) -> str:
    file, number = record_id(fields, "file"), record_id(fields)
    return f"{file}#{number}" if file and number else file or number


def _instruction(text: str, notes: list[str]) -> tuple[list[dict[str, Json]], str]:
    """The API descriptions among the lines of an instruction, and its text without them and without what only explains the format."""
    listed: list[dict[str, Json]] = []
    kept = []
    for line in text.splitlines(keepends=True):
        value = _described(line)
        if value:
            listed += value
        elif _FORMAT.fullmatch(line.strip()):
            notes += ["format_text_dropped"] if "format_text_dropped" not in notes else []
        else:
            kept.append(line)
    whole = len(kept) == len(text.splitlines())
    return listed, text if whole else "".join(kept).strip()


def _described(line: str) -> list[dict[str, Json]]:
    """The API descriptions in one line of JSON: an object or a list of them; none where it is no such line."""
    if line.lstrip()[:1] not in ("{", "["):
        return []
    try:
        value = loads(line.strip())
    except Refusal as problem:
        if problem.code == "key_twice":
            raise
        return []
    listed = value if isinstance(value, list) else [value]
    named = all(isinstance(one, dict) and isinstance(one.get("apiCode", one.get("name")), str) for one in listed)
    return listed if named else []


def _listing(text: str) -> tuple[list[dict[str, Json]], str]:
    """The API descriptions at the head of an input, one JSON object a line, and the dialogue after them."""
    listed = []
    rest = text.lstrip()
    while rest.startswith("{"):
        line, _, after = rest.partition("\n")
        value = loads(line)
        if not isinstance(value, dict):
            raise Refusal("tool", "an API description must be an object", line)
        listed.append(value)
        rest = after.lstrip()
    return listed, _ASK.sub("", rest)


def _tool(value: dict[str, Json], notes: list[str]) -> ToolSpec:
    name = value.get("apiCode", value.get("name"))
    if not isinstance(name, str):
        raise Refusal("tool", "an API description has no apiCode", excerpt(value))
    table = {key: one for key, one in value.items() if key not in ("apiCode", "input_parameters")}
    return tool_of({**table, "name": name, "parameters": value.get("parameters", value.get("input_parameters"))}, notes)


def _lines(dialogue: str) -> Iterator[tuple[str, str]]:
    marks = list(_LINE.finditer(dialogue))
    if not marks or dialogue[: marks[0].start()].strip():
        raise Refusal("shape", "the input does not begin with a line of the User", dialogue)
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(dialogue)
        yield mark.group(1), dialogue[mark.end() : end].removesuffix("\n") if end < len(dialogue) else dialogue[mark.end() :]


def _say(role: str, text: str, chat: Chat, *, weight: float) -> None:
    if role == "User":
        chat.user(text)
    elif role == "AI":
        chat.says(text.strip(), weight=weight)
    else:
        call, rest = _call(text, chat.notes)
        chat.says("", calls=[call], weight=weight)
        if rest.lstrip().startswith("->"):
            chat.sees(rest.lstrip()[2:])
        elif rest.strip():
            raise Refusal("call", "text that is no result follows a call", rest)


def _output(text: str, chat: Chat) -> None:
    mark = _LINE.match(text.lstrip())
    if mark and mark.group(1) != "User":
        _say(mark.group(1), text.lstrip()[mark.end() :].rstrip(), chat, weight=1.0)
    elif text.lstrip().startswith("["):
        _say("API-Request", text.strip(), chat, weight=1.0)
    else:
        _say("AI", text, chat, weight=1.0)


def _call(text: str, notes: list[str]) -> tuple[ToolCall, str]:
    """``[Name(key='value', …)]`` as a call, and the text after it. Nothing is run: values are literals, or failing that text.

    Raises `Refusal` (``call``).
    """
    body = text.lstrip()
    begin = _CALL.match(body)
    if begin is None:
        raise Refusal("call", "an API-Request must be [Name(key=value, …)]", text)
    ends = list(itertools.islice(_ENDS[begin.group(1)].finditer(body, begin.end()), 8))
    for end in ends:
        arguments = _arguments(body[begin.end() : end.start()])
        if arguments is not None:
            return ToolCall(name=begin.group(2), arguments=arguments), body[end.end() :]
    whole = next((end for end in ends if body[end.end() :].lstrip()[:2] in ("", "->")), None)
    bare = _bare(body[begin.end() : whole.start()]) if whole else None
    if whole is None or bare is None:
        raise Refusal("call", "the arguments of an API-Request cannot be told apart", text)
    notes.append("arguments_unquoted")
    return ToolCall(name=begin.group(2), arguments=bare), body[whole.end() :]


def _arguments(text: str) -> dict[str, Json] | None:
    """Literals by name, or None."""
    calls = python_calls(f"f({text})")
    return dict(calls[0].arguments) if len(calls) == 1 else None


def _bare(text: str) -> dict[str, Json] | None:
    """``key=some words, other=more words``, quotes around the words or not; None where a part has no name."""
    found: dict[str, Json] = {}
    for part in _NEXT_NAME.split(text) if len(text) <= MAX_CALL else ():
        name = _NAME.match(part)
        if name is None:
            return None
        value = part[name.end() :].strip()
        try:
            found[name.group(1)] = literal(value)
        except Refusal:
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.group(1)] = value[1:-1] if quoted else value
    return found or None
