"""Calls that stand as text in what a model says, in the words of many chat templates, and whether a text looks like one of other words.

Known: a call as JSON after a marker (Hermes, Qwen, Nemotron, Mistral, Llama, InternLM2, glaive), Qwen3-Coder's ``<function=name>``, GLM's
``<arg_key>``, ``<invoke name="…">``, Python calls in a list (Llama 3.2), harmony channels (gpt-oss), AgentBench's ``Act:``, and a text that
is nothing but one JSON call or a list of them. Nothing is run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from agenttune.errors import Refusal
from agenttune.sources.calls import call_of
from agenttune.sources.reading.json_text import read_value, strip_fence, value_at
from agenttune.sources.reading.literals import literal
from agenttune.values.trajectory import Json, ToolCall, ToolSpec

MAX_CALL = 1 << 14  # characters of the arguments of a Python call
_MAX_WHOLE = 1 << 16  # characters of a text that may be nothing but calls
# What opens a stretch of calls, and all that may close it; without any of these it ends with the text.
_CLOSERS = {
    "<tool_call>": ("</tool_call>",),
    "<tool_calls>": ("</tool_calls>",),
    "<TOOLCALL>": ("</TOOLCALL>",),
    "<function_call>": ("</function_call>",),
    "<functioncall>": ("</functioncall>", "<|endoftext|>"),
    "<function_calls>": ("</function_calls>",),
    "<|tool_call|>": ("<|/tool_call|>", "<|end|>"),
    "<|python_tag|>": ("<|eom_id|>", "<|eot_id|>"),
    "[TOOL_CALLS]": ("</s>",),
    "<|action_start|><|plugin|>": ("<|action_end|>",),
    "functools": (),
}
_PAYLOAD = r"(?=\s*(?:[\[{`]|<function=|<invoke |[A-Za-z_][\w.\-]*\s*(?:<arg_key>|\(|\[ARGS\])))"
_OPENER = re.compile("|".join(rf"(?<!`){re.escape(one)}{_PAYLOAD}" for one in _CLOSERS) + r"|(?<!`)<function=[\w.\-]+>|(?<!`)<invoke name=")
_FUNCTION = re.compile(r"\s*<function=([\w.\-]+)>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([\w.\-]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_INVOKE = re.compile(r'\s*<invoke name="([^"]+)">(.*?)</invoke>', re.DOTALL)
_NAMED = re.compile(r'<parameter name="([^"]+)"[^>]*>(.*?)</parameter>', re.DOTALL)
_ARG_KEYS = re.compile(r"\s*([\w.\-]+)\s*(?=<arg_key>)")
_ARG = re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_TAGGED = re.compile(r"<function=|<invoke |<arg_key>")
_ARGS = re.compile(r"\s*([\w.\-]+)\[ARGS\]")
_PYTHON = re.compile(r"\A\[?\s*[A-Za-z_][\w.]*\(.*\)\s*\]?\Z", re.DOTALL)
_HARMONY = re.compile(
    r"(?:<\|start\|>\w+)?(?:\s*to=([\w.\-]+))?\s*<\|channel\|>(\w+)(?:\s+to=([\w.\-]+))?[^<]*(?:<\|constrain\|>\w*\s*)?"
    r"<\|message\|>(.*?)(?:<\|(?:end|call|return)\|>|(?=<\|(?:start|channel)\|>)|\Z)",
    re.DOTALL,
)
_ACT = re.compile(r"\A\s*(?:Think:(.*?)\n\s*)?Act:[ \t]*([A-Za-z_]\w*)(?:\((.*?)\))?\s*(?:```\w*\n(.*?)\n?```\s*)?\Z", re.DOTALL)
_ANSWER = "answer"  # of `Act:`, the one that ends a task with a text
_LOOKS = re.compile(
    r"(?<!`)(?:</?(?:tool_calls?|TOOLCALL|function_calls?|functioncall|invoke|function=[\w.\-]*)\b|<\|(?:python_tag|tool_calls?\b|action_start|"
    r"channel|tool_calls_section_begin)|<｜tool▁call|\[TOOL_CALLS\]|functools\[\{)|^(?:Act|ACTION):[ \t]*\S",
    re.MULTILINE,
)
_CALL_NAMES = ("name", "function", "tool", "tool_name", "action", "api_name")
_CALL_ARGUMENTS = ("arguments", "parameters", "args", "action_input", "tool_input", "kwargs")


@dataclass(slots=True)
class Said:
    """What a text holds: words before, between and after calls, the calls, and reasoning; `acts`: the next user message is the result."""

    before: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    after: str = ""
    reasoning: str = ""
    acts: bool = False


def read_said(text: str, notes: list[str], tools: Mapping[str, ToolSpec] | None = None) -> Said | None:
    """The calls of a text in any known words; None for a text without one. Raises `Refusal` (``call``, ``arguments``).

    `tools`: the declared ones by name, if any. JSON or a Python call by itself is then a call only of one of them, and what stands in tags
    takes the type that their schema wants.
    """
    if "<|channel|>" in text and "<|message|>" in text:
        return _harmony(text, notes)
    opener = _OPENER.search(text) if "<" in text or "[TOOL_CALLS]" in text or "functools" in text else None
    if opener is not None:
        return _marked(text, opener, notes, tools or {})
    if "Act:" in text and (found := _ACT.match(text)):
        return _act(found)
    calls = _whole(text, notes, tools or {})
    return Said(calls=calls) if calls else None


def looks_like_call(text: str) -> str:
    """The part of a text that looks like a call, at most 400 characters; empty where nothing does."""
    found = _LOOKS.search(text) if "<" in text or "[" in text or "Act:" in text or "ACTION:" in text else None
    if found:
        return text[max(0, found.start() - 80) : found.start() + 320]
    body = strip_fence(text) if text.lstrip()[:1] in ("{", "[", "`") else ""
    if len(body) > _MAX_WHOLE or body[:1] not in ("{", "["):
        return ""
    if python_calls(body) and body.startswith("["):
        return body[:400]
    value = _value(body)
    listed = value if isinstance(value, list) else [value]
    return body[:400] if listed and all(_is_call(one, _CALL_NAMES, _CALL_ARGUMENTS) for one in listed) else ""


def _value(body: str) -> Json:
    try:
        return read_value(body)[0]
    except Refusal:
        return None


def _is_call(value: Json, names: Collection[str], arguments: Collection[str]) -> bool:
    if not isinstance(value, dict):
        return False
    inner = value.get("function")
    value = inner if isinstance(inner, dict) else value
    named = any(isinstance(value.get(key), str) and value[key] for key in names)
    return named and any(isinstance(value.get(key), dict | str) for key in arguments)


def _whole(text: str, notes: list[str], tools: Mapping[str, ToolSpec]) -> list[ToolCall]:
    """The calls of a text that is nothing else; none where a tool list does not know them."""
    body = strip_fence(text)
    if len(body) > _MAX_WHOLE or not body or (body[0] not in "[{"):
        return []
    calls = python_calls(body) if body[0] == "[" else []
    if not calls and body[0] in "[{":
        value = _value(body)
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(_is_call(one, ("name",), ("arguments", "parameters")) for one in listed):
            return []
        calls = [call_of(one, notes) for one in listed]
    return calls if not tools or all(call.name in tools for call in calls) else []


def _marked(text: str, opener: re.Match[str], notes: list[str], tools: Mapping[str, ToolSpec]) -> Said:
    said = Said(before=text[: opener.start()])
    rest: list[str] = []
    found: re.Match[str] | None = opener
    at = opener.start()
    while found is not None:
        rest.append(text[at : found.start()] if said.calls else "")
        closers = _CLOSERS.get(found.group(), ())
        calls, at = _stretch(text, found.end() if closers or found.group() == "functools" else found.start(), closers, notes)
        said.calls += [_typed(call, tools.get(call.name)) for call in calls] if _TAGGED.search(text, found.start(), at) else calls
        found = _OPENER.search(text, at)
    said.after = "\n".join(part for one in (*rest, text[at:]) if (part := one.strip()))
    return said


def _stretch(text: str, at: int, closers: tuple[str, ...], notes: list[str]) -> tuple[list[ToolCall], int]:
    """The calls between a marker and what closes it, and where that ends."""
    for read in (_json_calls, _tagged_calls, _named_json):
        calls, end = read(text, at, notes)
        close = _closed(text, end, closers) if calls else None
        if calls and close is not None:
            return calls, close
    ends = [found for closer in closers if (found := text.find(closer, at)) >= 0]
    end = min(ends, default=len(text))
    body = text[at:end].strip()
    close = _closed(text, end, closers)
    return python_calls(body) or _as_calls(body, notes), len(text) if close is None else close


def _closed(text: str, at: int, closers: tuple[str, ...]) -> int | None:
    """Behind the closing marker at `at`, or at the text's end; None where something else stands there."""
    at = _past_blanks(text, at)
    for closer in closers:
        if text.startswith(closer, at):
            return at + len(closer)
    return at if at == len(text) or not closers else None


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and (text[at].isspace() or text[at] in ",;"):
        at += 1
    return at


def _json_calls(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], int]:
    """JSON decides, so a closing marker inside a text is text. Several values may stand in a row."""
    calls: list[ToolCall] = []
    at = _past_blanks(text, at)
    while text[at : at + 1] in ("{", "["):
        try:
            value, at = value_at(text, at)
        except (ValueError, RecursionError):
            return [], at  # it may be a Python literal
        calls += [call_of(one, notes) for one in (value if isinstance(value, list) and value else [value])]
        at = _past_blanks(text, at)
    return calls, at


def _tagged_calls(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], int]:
    """``<function=name>``, ``<invoke name="…">`` and GLM's ``name <arg_key>``, one after the other."""
    calls: list[ToolCall] = []
    while True:
        if found := _FUNCTION.match(text, at):
            body = found.group(2)
            arguments = _object(body) if body.strip()[:1] == "{" else _tags(_PARAMETER, body)
        elif found := _INVOKE.match(text, at):
            arguments = _tags(_NAMED, found.group(2))
        elif found := _ARG_KEYS.match(text, at):
            return _arg_keys(text, found)
        else:
            return calls, at
        calls.append(ToolCall(name=found.group(1), arguments=arguments))
        at = found.end()


def _arg_keys(text: str, head: re.Match[str]) -> tuple[list[ToolCall], int]:
    arguments: dict[str, Json] = {}
    at = head.end()
    while found := _ARG.match(text, at):
        arguments[found.group(1).strip()] = _tag_value(found.group(2))
        at = found.end()
    return [ToolCall(name=head.group(1), arguments=arguments)], at


def _named_json(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], int]:
    """Mistral's ``name[ARGS]{…}``."""
    found = _ARGS.match(text, at)
    if found is None:
        return [], at
    try:
        value, end = value_at(text, _past_blanks(text, found.end()))
    except (ValueError, RecursionError):
        return [], at
    return [call_of({"name": found.group(1), "arguments": value}, notes)], end


def _tags(pattern: re.Pattern[str], body: str) -> dict[str, Json]:
    return {found.group(1): _tag_value(found.group(2)) for found in pattern.finditer(body)}


def _tag_value(text: str) -> Json:
    """What stands in a tag: a list or an object if it is JSON, else the text; `_typed` makes numbers of it where the schema wants them."""
    value = _value(text) if text.lstrip()[:1] in ("{", "[") else None
    return value if isinstance(value, dict | list) else text


def _typed(call: ToolCall, tool: ToolSpec | None) -> ToolCall:
    """The call with its texts in the types that its tool declares, where nothing but the spelling changes."""
    properties = tool.parameters.get("properties") if tool else None
    if not isinstance(properties, Mapping):
        return call
    return replace(call, arguments={name: _as_type(value, properties.get(name)) for name, value in call.arguments.items()})


def _as_type(value: Json, schema: Json) -> Json:
    wanted = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(value, str) or wanted not in ("integer", "number", "boolean", "null"):
        return value
    read = _value(value.strip().lower())
    kinds = {"integer": int, "number": int | float, "boolean": bool, "null": type(None)}
    fits = isinstance(read, kinds[wanted]) and (wanted == "boolean" or not isinstance(read, bool))
    return read if fits else value


def _object(body: str) -> dict[str, Json]:
    value = _value(body)
    if not isinstance(value, dict):
        raise Refusal("arguments", "a call's arguments cannot be read", body)
    return value


def _as_calls(body: str, notes: list[str]) -> list[ToolCall]:
    """A Python literal, or JSON in a fence. Raises `Refusal` (``call``)."""
    try:
        value, change = read_value(body)
    except Refusal as error:
        raise Refusal("call", f"a call cannot be read: {error.sentence}", body) from error
    notes += [change] if change else []
    return [call_of(one, notes) for one in (value if isinstance(value, list) and value else [value])]


def _harmony(text: str, notes: list[str]) -> Said | None:
    """Messages in channels: analysis is reasoning, a message to a function a call, commentary to nobody a thought, final the answer."""
    said = Said()
    reasoning, words = [], []
    for found in _HARMONY.finditer(text):
        to, channel, body = found.group(1) or found.group(3) or "", found.group(2), found.group(4)
        if to:
            said.calls.append(call_of({"name": to.removeprefix("functions."), "arguments": body}, notes))
        elif channel == "analysis":
            reasoning.append(body.strip())
        else:
            words.append(body.strip())
    said.reasoning, said.before = "\n\n".join(reasoning), "\n\n".join(words)
    return said if said.calls or said.before or said.reasoning else None


def _act(found: re.Match[str]) -> Said:
    """AgentBench: ``Act: bash`` and a block of code, ``Act: answer(text)``, ``Act: finish``; what the system says next is the result."""
    thought, name, given, code = found.groups()
    before = (thought or "").strip()
    if name == _ANSWER and given is not None:
        return Said(before=given.strip(), reasoning=before)
    text = code if code is not None else given
    call = ToolCall(name=name, arguments={} if text is None else {"input": text})
    return Said(before=before, calls=[call], acts=True)


def python_calls(text: str) -> list[ToolCall]:
    """``[name(key='value', …), …]`` or one call without brackets, values being literals; none for anything else."""
    return list(_python_calls(text)) if len(text) <= MAX_CALL and _PYTHON.match(text) else []


def _python_calls(text: str) -> Iterator[ToolCall]:
    tree = _parsed(text)
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    calls = [(node, _dotted(node.func)) for node in nodes if isinstance(node, ast.Call)]
    if len(calls) != len(nodes) or not all(name for _, name in calls):
        return
    made = [(name, keyword_arguments(text, node)) for node, name in calls]
    if all(arguments is not None for _, arguments in made):
        yield from (ToolCall(name=name, arguments=arguments or {}) for name, arguments in made)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else ""


def _parsed(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a data file is no concern of ours
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def keyword_arguments(text: str, call: ast.Call) -> dict[str, Json] | None:
    """The literals of a call by name, `text` being what the call was parsed from; None where one is no literal or has no name."""
    if call.args:
        return None
    found: dict[str, Json] = {}
    source = text.strip()
    for one in call.keywords:
        value = ast.get_source_segment(source, one.value)
        if one.arg is None or value is None or one.arg in found:
            return None
        try:
            found[one.arg] = _constant(value)
        except Refusal:
            return None
    return found


_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}


def _constant(text: str) -> Json:
    return _WORDS[text] if text in _WORDS else literal(text)
