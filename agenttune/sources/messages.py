"""Messages of every chat-like format: where a record keeps them, and how each becomes part of a `Chat`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agenttune.errors import Refusal
from agenttune.sources.calls import call_of, id_of_call
from agenttune.sources.chat import Chat
from agenttune.sources.parts import CONTENT, Part, Reasoning, Result, content_of, only_text, parts_of, plain_text, result_text, results_of
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value, text_of
from agenttune.sources.schemas import unused
from agenttune.values.trajectory import Json, ToolCall

REASONING = ("reasoning_content", "reasoning", "thinking", "tool_plan")
WEIGHTS = ("weight", "loss_weight", "loss_scale", "loss", "train", "training", "trainable", "train_on_turn")
KNOWN = frozenset(
    ("role", "from", *CONTENT, "parts", "tool_calls", "function_call", "tool_call_id", "tool_call_ids", "refusal", *REASONING, *WEIGHTS)
)
_KNOWN_OF_RESULT = KNOWN | {"name"}
_WEIGHTED = frozenset(WEIGHTS)
_SAYS = (*CONTENT, "parts", "tool_calls", "function_call", "refusal", *REASONING)
_CALL_FIELD = re.compile(r"(?:tool|function)_?(?:call|use|invocation)s?\Z", re.IGNORECASE)
_SHELL = "bash"  # of SWE-agent, whose tool of that name takes a "command"
SYSTEMS = ("system", "systemInstruction", "system_instruction")


def messages_of(fields: Mapping[str, Json], keys: tuple[str, ...], notes: list[str] | None = None) -> list[dict[str, Json]]:
    """The messages under the first of `keys` that the record has, or in a text there. Raises `Refusal` (``shape``)."""
    key = next((one for one in keys if fields.get(one) is not None), keys[0])
    value = fields.get(key)
    if isinstance(value, str):
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("shape", f'"{key}" is a text that holds no list: {error.sentence}', value) from error
        if notes is not None and change:
            notes.append(change)
    if not isinstance(value, list) or not value:
        raise Refusal("shape", f'"{key}" must be a list of messages, this is {_kind(value)}', excerpt(value))
    for one in value:
        if not isinstance(one, dict):
            raise Refusal("shape", f"a message must be an object, this is {kind_name(one)}", excerpt(one))
    return value


def listed(fields: Mapping[str, Json], keys: tuple[str, ...]) -> tuple[str, list[dict[str, Json]]]:
    """What `messages_of` would read, and the key it stands under; an empty list where it would refuse. For `detect`."""
    key = next((one for one in keys if fields.get(one) is not None), "")
    value = fields.get(key)
    if not key or not isinstance(value, str | list) or (isinstance(value, str) and value.lstrip()[:1] not in ("[", "`")):
        return key, []
    try:
        return key, messages_of(fields, keys)
    except Refusal:
        return key, []


def _kind(value: Json) -> str:
    return "an empty list" if value == [] else kind_name(value)


def say_system(fields: Mapping[str, Json], chat: Chat) -> None:
    """The system text that stands beside the messages, in whichever form and under whichever of its names."""
    for key in SYSTEMS:
        value = fields.get(key)
        if isinstance(value, dict) and isinstance(value.get("parts"), list):  # Gemini
            value = value["parts"]
        chat.system(plain_text(value, chat.notes))


def take(message: dict[str, Json], chat: Chat, roles: Mapping[str, str]) -> None:
    """Adds one message to the chat. `roles` maps a message's role to system, user, assistant, call or result. Raises `Refusal`."""
    role = message.get("from", message.get("role"))
    kind = roles.get(role) if isinstance(role, str) else None
    if kind is None:
        raise Refusal("role", f"a message has the role {role!r}; known: {', '.join(roles)}", excerpt(message))
    known = _KNOWN_OF_RESULT if kind == "result" else KNOWN | {"thought", "action"} if _acts(message) else KNOWN
    if dropped := unused(message, known):
        _refuse_dropped(message, dropped)
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if kind == "result":
        _result(message, chat)
        return
    parts = parts_of(message, kind, chat.notes)
    if kind in ("assistant", "call"):
        _assistant(message, parts, chat)
    elif kind == "system":
        chat.system(only_text(parts, kind, chat.notes))
    else:
        _user(parts, chat)


def _refuse_dropped(message: Mapping[str, Json], dropped: list[str]) -> None:
    """Raises `Refusal` where a field that is not read holds calls (``call``), or where no other field could say anything (``content``)."""
    calls = next((key for key in dropped if _CALL_FIELD.search(key) and _names_a_tool(message[key])), "")
    if calls:
        raise Refusal("call", f'a message holds calls in "{calls}", where they are not read', excerpt(message[calls]))
    if not any(key in message for key in _SAYS):
        names = ", ".join(key for key in message if key not in ("role", "from"))
        raise Refusal("content", f"a message has no content; its fields: {names}", excerpt(message))


def _names_a_tool(value: Json) -> bool:
    several = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) and any(key in one for key in ("name", "function", "toolName", "tool_name")) for one in several)


def _acts(message: Mapping[str, Json]) -> bool:
    """Whether a message has an action of its own and no call."""
    action = message.get("action")
    return isinstance(action, str) and bool(action.strip()) and not message.get("tool_calls") and message.get("function_call") is None


def _assistant(message: Mapping[str, Json], parts: list[Part], chat: Chat) -> None:
    """What the assistant says and calls; a result among its parts (of a tool that the server ran) ends a step."""
    weight = weight_of(message)
    own = [*calls_of(message.get("tool_calls"), chat.notes)]
    if message.get("function_call") is not None:
        own.append(call_of(message["function_call"], chat.notes))
    told = next((message[key] for key in REASONING if message.get(key)), "")
    reasoning = [told if isinstance(told, str) else plain_text(told, chat.notes)] if told else []
    if not parts and not own and not reasoning:
        parts = _without_content(message, chat)
    if _acts(message):
        _act(message, chat, weight)
        return
    said = _Said(reasoning=reasoning)
    for part in parts:
        if isinstance(part, Result):
            said.tell(chat, weight)
            said = _Said()
            _see(part, chat)
        else:
            said.add(part, chat.notes)
    said.calls += own
    if said.holds() or not any(isinstance(part, Result) for part in parts):
        said.tell(chat, weight)


def _act(message: Mapping[str, Json], chat: Chat, weight: float) -> None:
    """SWE-agent's ``thought`` and ``action``: a command of its shell, which the user's next message answers (note ``action_as_call``).

    Its content says both once more. Raises `Refusal` (``call_as_text``) where it does not, for this is then another format.
    """
    thought, action, content = message.get("thought"), message["action"], content_of(message)
    parts = (thought, action) if isinstance(thought, str) else (action,)
    if not isinstance(thought, str) or not isinstance(content, str) or not all(one.strip() in content for one in parts):
        raise Refusal("call_as_text", "a message has an action that is no call of a known form", action)
    chat.notes.append("action_as_call")
    chat.says("", thought=thought, calls=[ToolCall(name=_SHELL, arguments={"command": action.strip()})], weight=weight, acts=True)


def _without_content(message: Mapping[str, Json], chat: Chat) -> list[Part]:
    """The refusal of a message without any other content. Raises `Refusal` (``content``) where no field of it is known to hold one."""
    if isinstance(message.get("refusal"), str):
        chat.notes.append("refusal_as_answer")
        return [message["refusal"]]
    if not any(key in message for key in _SAYS):
        names = ", ".join(key for key in message if key not in ("role", "from"))
        raise Refusal("content", f"a message has no content; its fields: {names or 'none'}", excerpt(message))
    return []


class _Said:
    """What the assistant says up to a result or to the end of its message."""

    def __init__(self, reasoning: list[str] | None = None) -> None:
        self.texts: list[str] = []
        self.reasoning = reasoning or []
        self.calls: list[ToolCall] = []

    def holds(self) -> bool:
        return bool(self.texts or self.reasoning or self.calls)

    def add(self, part: Part, notes: list[str]) -> None:
        if isinstance(part, Reasoning):
            self.reasoning.append(part.text)
        elif isinstance(part, ToolCall):
            self.calls.append(part)
        elif isinstance(part, str):
            notes += ["text_after_call"] if self.calls and part.strip() else []
            self.texts.append(part)

    def tell(self, chat: Chat, weight: float) -> None:
        chat.notes += ["parts_joined"] if len(self.texts) > 1 else []
        chat.says("".join(self.texts), reasoning="\n\n".join(self.reasoning), calls=self.calls, weight=weight)


def _user(parts: list[Part], chat: Chat) -> None:
    """Results among a user's words answer the calls before them; text beside them is a new question."""
    for part in parts:
        if isinstance(part, Result):
            _see(part, chat)
    said = [part for part in parts if not isinstance(part, Result)]
    if said or not parts:
        chat.user(only_text(said, "user", chat.notes))


def _see(result: Result, chat: Chat) -> None:
    chat.sees(result.text, call_id=result.call_id, name=result.name, error=result.error)


def _result(message: Mapping[str, Json], chat: Chat) -> None:
    content = content_of(message)
    if parts := results_of(content, chat.notes):
        _user(parts, chat)
        return
    text = result_text(content, chat.notes)
    if not isinstance(content, str | None) and text == text_of(content):
        chat.notes.append("content_as_json")
    name = message.get("name")
    ids = message.get("tool_call_ids")  # SWE-agent's
    call_id = id_of_call({"id": ids[0]} if isinstance(ids, list) and len(ids) == 1 else message, "tool_call_id", "id")
    chat.sees(text, call_id=call_id, name=name if isinstance(name, str) else "")


def calls_of(value: Json, notes: list[str]) -> list[ToolCall]:
    """``tool_calls`` as calls: a list of them, or a text that holds one; nothing for nothing. Raises `Refusal` (``call``)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("call", f'"tool_calls" is a text that holds no list: {error.sentence}', value) from error
        notes += [change] if change else []
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refusal("call", f'"tool_calls" must be a list, this is {kind_name(value)}', excerpt(value))
    return [call_of(one, notes) for one in value]


def weight_of(message: Mapping[str, Json]) -> float:
    """The weight of a message under any of the names that trainers give it; 1 without one. Raises `Refusal` (``weight``)."""
    for key in WEIGHTS if not _WEIGHTED.isdisjoint(message) else ():
        value = message.get(key)
        if value is None:
            continue
        if not isinstance(value, bool | int | float) or not 0 <= value < float("inf"):
            raise Refusal("weight", f'"{key}" of a message must be true, false or a number of 0 or more', excerpt(value))
        return float(value)
    return 1.0
