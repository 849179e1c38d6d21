"""MSAgent-Bench's system value: an identity text, a numbered list of plugins in four shapes, sometimes a dialogue that got into it.

Shapes (A) ``{"plugin_name", …, PLUGIN_SCHEMA: B}``, (B) ``{"name", "description", "url", "paths": [{"parameters": […]}]}``,
(C) ``{"name", "description", "parameters": […]}``, often with brackets too many or too few, (D) any of them with a finished dialogue.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.msagent.markers import PLUGIN_SCHEMA
from agenttune.sources.reading.json_text import text_of, value_at
from agenttune.sources.reading.literals import literal
from agenttune.sources.tool_lists import SystemParts, merge_tools, schema_of_list, schema_type
from agenttune.values.trajectory import Json, ToolSpec

_DIALOGUE = re.compile(r"<\|(?:user|assistant|human|bot)\|>", re.IGNORECASE)
_DIALOGUE_END = "</s>"
_SYSTEM_MARK = re.compile(r"\A\s*<\|system\|>\s*:?", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)\d{1,3}\s*[.、．)）:：]\s*\Z")
_OBJECT = re.compile(r'\{\s*["}]')
_SPARE = re.compile(r"[\s\]},]*")
_NEXT_ITEM = re.compile(r"\n[^\S\n]*\d{1,3}[^\S\n]*[.、．)）:：][^\S\n]*\{|\n\n[^\S\n]*\{")
_CLOSERS = {"{": "}", "[": "]"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MAX_ITEM = 1 << 16  # characters of an item whose brackets are mended
_MAX_DEPTH = 60
_MAX_MENDED = 64  # items of one text that are tried


@functools.lru_cache(maxsize=512)
def read_system(value: str) -> SystemParts:
    """A system value in its parts. An item of the list that cannot be read stays in the text, with the note ``plugin_unread``."""
    notes: list[str] = []
    text = _without_dialogue(value, notes)
    tools: list[ToolSpec] = []
    kept: list[str] = []
    at = 0
    for start, end, found in _items(text, notes):
        kept.append(_NUMBER.sub("", text[at:start]))
        at = end
        tools += found
    kept.append(text[at:])
    merged, repeats = merge_tools(tools)
    notes += ["plugin_merged"] * repeats
    rest = "".join(kept) if not tools else _joined(kept)
    return SystemParts(rest, merged, tuple(notes))


def _joined(kept: list[str]) -> str:
    parts = [part.strip("\n ") if index else part.rstrip() for index, part in enumerate(kept)]
    return "\n".join(part for part in parts if part)


def _without_dialogue(value: str, notes: list[str]) -> str:
    text = _SYSTEM_MARK.sub("", value)
    begin = _DIALOGUE.search(text)
    if begin is None:
        return text
    end = text.rfind(_DIALOGUE_END, begin.start())
    end = len(text) if end < 0 else end + len(_DIALOGUE_END)
    head = text[: begin.start()].rstrip()
    notes.append(f"system_dialogue: {end - begin.start()} characters")
    return head + text[end:]


def _items(text: str, notes: list[str]) -> Iterator[tuple[int, int, list[ToolSpec]]]:
    """Start, end and tools of each item of the list, left to right."""
    at, tries = text.find("{"), _MAX_MENDED
    left = (len(text) << 3) + (1 << 20)  # an object that is no plugin is entered, so nested ones are parsed again and again
    while at >= 0 and left > 0:
        if _PLUGIN.match(text, at) and tries:
            value, end, change = _plugin(text, at)
            tries -= change != ""
        else:
            value, end, change = _plain(text, at)
        try:
            tool = _tool(value)
        except Refusal:
            tool, change = None, "plugin_unread"
        if tool is None:
            if change == "plugin_unread":
                notes.append(change)
            left -= max(end - at, at >> 6)  # a failed parse costs time in proportion to its place in the text
            at = text.find("{", at + 1)
            continue
        spare = _SPARE.match(text, end)
        stop = spare.end() if spare else end
        if change or text[end:stop].strip():
            notes.append(change or "plugin_brackets")
        if _has_details(value):
            notes.append("plugin_details")
        yield at, stop, [tool]
        at = text.find("{", stop)
    if at >= 0:
        notes.append("plugin_unread")


def _plain(text: str, at: int) -> tuple[Json, int, str]:
    """The JSON object at `at` and where it ends; nothing where there is none. Raises `Refusal` (``depth``)."""
    if not _OBJECT.match(text, at):
        return None, at + 1, ""
    try:
        return *value_at(text, at, controls=True), ""
    except ValueError:
        return None, at + 1, ""  # no object: the text stays as it is
    except RecursionError as error:
        raise Refusal("depth", "an object in the system text is nested too deeply", text[at : at + 400]) from error


def _plugin(text: str, at: int) -> tuple[Json, int, str]:
    """The item of the list at `at`, where it ends, and what reading it took: ``plugin_unread`` if nothing helped."""
    value, end, _ = _plain(text, at)
    if value is not None:
        return value, end, ""
    following = _NEXT_ITEM.search(text, at + 1)
    end = min(following.start() if following else len(text), at + _MAX_ITEM)
    item = text[at:end].rstrip()
    for change, mended in (("plugin_brackets", _closed), ("plugin_literal", literal)):
        try:
            return mended(item), at + len(item), change
        except (Refusal, ValueError, RecursionError):
            continue
    return None, at + 1, "plugin_unread"


_PLUGIN = re.compile(r"""\{\s*['"](?:plugin_name|name)['"]\s*:""")


def _closed(item: str) -> Json:
    """The item with the brackets it lacks, and without those that close nothing. Raises `ValueError` or `RecursionError`."""
    out: list[str] = []
    open_: list[str] = []
    at = 0
    while at < len(item):
        string = _STRING.match(item, at) if item[at] == '"' else None
        if len(open_) > _MAX_DEPTH or (item[at] == '"' and string is None):
            raise ValueError("brackets are not all that is wrong")
        piece = string.group() if string else item[at]
        at += len(piece)
        if piece in ("{", "["):
            open_.append(_CLOSERS[piece])
        elif piece in ("}", "]"):
            if piece not in open_:
                continue
            while open_[-1] != piece:
                out.append(open_.pop())
            open_.pop()
        out.append(piece)
    return json.loads("".join(out) + "".join(reversed(open_)), strict=False)


def _tool(value: Json) -> ToolSpec | None:
    """A plugin of any shape as a tool; None for an object that is none."""
    if not isinstance(value, dict):
        return None
    inner = value.get(PLUGIN_SCHEMA)
    if isinstance(inner, dict):
        value = inner
    name = value.get("name")
    if not isinstance(name, str) or not name.strip() or not any(key in value for key in ("description", "parameters", "paths")):
        return None
    description, parameters = _described(value)
    return ToolSpec(name=name.strip(), description=description, parameters=parameters)


def _described(value: dict[str, Json]) -> tuple[str, dict[str, Json]]:
    texts = [text_of(value.get("description"))]
    entries: list[Json] = []
    paths = value.get("paths")
    for path in paths if isinstance(paths, list) else []:
        if not isinstance(path, dict):
            raise Refusal("tool", "a path of a plugin is not an object", str(path))
        texts.append(text_of(path.get("description")))
        entries += _entries(path.get("parameters"))
    entries += _entries(value.get("parameters"))
    schema = value.get("parameters")
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        return _text(texts), schema
    return _text(texts), schema_of_list(entries)


def _text(texts: list[str]) -> str:
    return "\n".join(dict.fromkeys(text for text in texts if text))


def _entries(parameters: Json) -> list[Json]:
    """A plugin's parameters as a list: it may be one, or a table of name → description or schema, or a JSON Schema (none here)."""
    if parameters is None:
        return []
    if isinstance(parameters, list):
        return parameters
    if not isinstance(parameters, dict):
        raise Refusal("tool", "a plugin's parameters are neither a list nor an object", str(parameters))
    if isinstance(parameters.get("properties"), dict):
        return []
    return [_entry(name, schema) for name, schema in parameters.items()]


def _entry(name: str, schema: Json) -> Json:
    if isinstance(schema, dict):
        return {**schema, "name": name}
    text = text_of(schema)
    typed = schema_type(text)
    return {"name": name, **typed} if "type" in typed else {"name": name, "description": text}


_DETAILS = frozenset(("url", "model_id", "method", "plugin_owner"))


def _has_details(value: dict[str, Json]) -> bool:
    """Whether the plugin says more than a tool can hold: a service's url, model, method or owner."""
    inner = value.get(PLUGIN_SCHEMA)
    inner = inner if isinstance(inner, dict) else value
    paths = inner.get("paths")
    parts = [value, inner, *(paths if isinstance(paths, list) else [])]
    return any(not _DETAILS.isdisjoint(part) for part in parts if isinstance(part, dict))
