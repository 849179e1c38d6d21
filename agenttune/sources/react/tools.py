"""The tool list in a system text: a JSON array of tools, or lines ``name: description Parameters: [...]``. The rest stays as it is."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import text_of, value_at
from agenttune.sources.reading.literals import literal
from agenttune.sources.tool_lists import SystemParts, merge_tools, schema_of_list
from agenttune.values.trajectory import Json, ToolSpec

_ARRAY = re.compile(r"\[\s*\{")
_LINE = re.compile(r"^(?:\d{1,3}\.[ \t]*)?([\w.\-]{1,128}):([^\n]*?)\bParameters:[ \t]*(?=[\[{])", re.MULTILINE)
_REST = re.compile(r"[^\n]*\n{0,2}")
_MAX_TRIED = 64  # arrays of one text
_MISSPELLED = "desciption"  # so spelled throughout RoTBench's tool lists


@functools.lru_cache(maxsize=512)
def read_tools(text: str) -> SystemParts:
    """The text without its tool list, the tools, and what was changed. Text without a list comes back as it is."""
    notes: list[str] = []
    kept: list[str] = []
    tools: list[ToolSpec] = []
    at = 0
    for start, end, found in _lists(text, notes):
        kept.append(text[at:start])
        at = end
        tools += found
    merged, repeats = merge_tools(tools)
    return SystemParts("".join([*kept, text[at:]]), merged, (*notes, *["tool_merged"] * repeats))


def _lists(text: str, notes: list[str]) -> Iterator[tuple[int, int, list[ToolSpec]]]:
    listed = False
    for line in _LINE.finditer(text):
        listed = True
        read = _parameters(text, line.end())
        if read is None:
            notes.append("tool_unread")
            continue
        schema, end = read
        rest = _REST.match(text, end)
        assert rest is not None
        said = " ".join(part for part in (line.group(2).strip(), rest.group().strip()) if part and part != ".")
        yield line.start(), rest.end(), [ToolSpec(name=line.group(1), description=said, parameters=schema)]
    if listed:
        return  # the arrays of such a list are parameters
    at = 0
    for _ in range(_MAX_TRIED):
        found = _ARRAY.search(text, at)
        if found is None:
            break
        tools, end = _array(text, found.start(), notes)
        at = end
        if tools:
            yield found.start(), end, tools
            return


def _array(text: str, start: int, notes: list[str]) -> tuple[list[ToolSpec], int]:
    try:
        value, end = value_at(text, start)
        return [tool_of(one, notes) for one in value], end
    except (ValueError, RecursionError):
        pass
    except Refusal as problem:
        if problem.code == "key_twice":
            raise
    return [], start + 1  # some other array: it is part of the text


def _parameters(text: str, start: int) -> tuple[dict[str, Json], int] | None:
    """The schema at `start`, JSON or a Python literal that ends its line, and where it ends."""
    try:
        value, end = value_at(text, start)
    except (ValueError, RecursionError):
        stop = text.find("\n", start)
        end = stop if stop >= 0 else len(text)
        try:
            value = literal(text[start:end])
        except Refusal:
            return None
    try:
        return _schema(value), end
    except Refusal:
        return None


def _schema(value: Json) -> dict[str, Json]:
    if isinstance(value, list):
        return schema_of_list(value)
    if isinstance(value, dict) and isinstance(value.get("properties"), dict):
        return value
    if isinstance(value, dict) and all(isinstance(one, dict) for one in value.values()):
        return schema_of_list([{**one, "name": name} for name, one in value.items()])
    raise Refusal("tool", "the parameters of a tool are no schema", text_of(value)[:400])


def tool_of(value: Json, notes: list[str]) -> ToolSpec:
    """A tool of a JSON list, also in OpenAI's wrapper; ``required`` beside the schema is moved into it. Raises `Refusal` (``tool``)."""
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        raise Refusal("tool", "a tool has no name", str(value))
    parameters = value.get("parameters") or {}
    schema = _spelled(_schema(parameters) if parameters else {"type": "object", "properties": {}}, notes)
    required = value.get("required")
    if isinstance(required, list) and required and "required" not in schema:
        schema["required"] = required
        _once(notes, "tool_required_moved")
    if set(value) - {"name", "description", "parameters", "required"}:
        _once(notes, "tool_details")
    return ToolSpec(name=value["name"], description=text_of(value.get("description")), parameters=schema)


def _spelled(schema: dict[str, Json], notes: list[str]) -> dict[str, Json]:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not any(isinstance(one, dict) and _MISSPELLED in one for one in properties.values()):
        return dict(schema)
    _once(notes, "tool_description_spelling")
    mended = {name: _renamed(one) if isinstance(one, dict) else one for name, one in properties.items()}
    return {**schema, "properties": mended}


def _renamed(schema: dict[str, Json]) -> dict[str, Json]:
    return {"description" if key == _MISSPELLED and "description" not in schema else key: value for key, value in schema.items()}


def _once(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)
