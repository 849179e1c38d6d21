"""An item of BFCL in this project's values: its tools as a model sees them, its messages, its answers, and what a call means."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agenttune.errors import Refusal
from agenttune.evaluation.bfcl.ast_match import Truth
from agenttune.evaluation.bfcl.source_values import read_java, read_javascript
from agenttune.values.case import Answer, ExpectedCall
from agenttune.values.trajectory import Json, JsonObject, Malformed, Round, Step, ToolCall, ToolSpec

_SYNTAX = {"python": "Python 3", "java": "Java 8 SDK", "javascript": "JavaScript"}
_SPOKEN = {"java": "Java", "javascript": "JavaScript"}
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}  # the others are JSON Schema's own; "any" is no type
_MOST = 4096  # objects that one answer may stand for


def rounds_of(messages: Sequence[Mapping[str, str]]) -> tuple[str, tuple[Round, ...]]:
    """The system text, and user messages with the answers that stand between them; those in a row are one."""
    system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
    rounds: list[Round] = []
    for one in messages:
        if one["role"] == "assistant" and rounds:
            rounds[-1] = replace(rounds[-1], steps=(Step(answer=one["content"].strip(), weight=0.0),))
        elif one["role"] == "user" and rounds and not rounds[-1].steps:
            rounds[-1] = replace(rounds[-1], user=f"{rounds[-1].user}\n\n{one['content']}")
        elif one["role"] == "user":
            rounds.append(Round(user=one["content"]))
    return system, tuple(rounds)


def tool_of(function: JsonObject, language: str) -> ToolSpec:
    """A function as BFCL shows it to a model: its language is told, and Java's and JavaScript's values are source code in strings."""
    schema = _schema(function["parameters"])
    if language != "python":
        written = {name: _as_code(one, language) for name, one in function["parameters"]["properties"].items()}
        schema = {**schema, "properties": written}
    hint = f" Note that the provided function is in {_SYNTAX[language]} syntax."
    return ToolSpec(name=function["name"], description=function["description"] + hint, parameters=schema)


def _schema(value: Any) -> Any:
    """A schema with JSON Schema's type names."""
    if isinstance(value, list):
        return [_schema(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _schema(one) for key, one in value.items()}
    if isinstance(value.get("type"), str):
        made["type"] = _TYPES.get(value["type"], value["type"])
        if value["type"] == "any":
            del made["type"]
    return made


def _as_code(schema: JsonObject, language: str) -> JsonObject:
    spoken, kind = _SPOKEN[language], schema["type"]
    what = f"can be of any type of {spoken} object" if kind == "any" else f"is {spoken} {kind} type parameter"
    text = f" This {'parameter ' if kind == 'any' else ''}{what} in string representation."
    if "items" in schema:
        text += f" The list elements are of type {schema['items']['type']}; they are not in string representation."
    if "properties" in schema:
        listed = json.dumps(schema["properties"])
        text += f" The dictionary entries have the following schema; they are not in string representation. {listed}"
    return {"type": "string", "description": schema.get("description", "") + text}


def answer_of(truth: Sequence[Truth]) -> Answer:
    """The calls that are wanted, each argument with the values that count. Raises `Refusal` for one that stands for too many."""
    return tuple(_expected(name, values) for call in truth for name, values in call.items())


def _expected(name: str, accepted: Mapping[str, Sequence[Json]]) -> ExpectedCall:
    values = {key: tuple(made for one in some if one != "" for made in _expanded(one)) for key, some in accepted.items()}
    optional = frozenset(key for key, some in accepted.items() if "" in some)
    bare = {key: some or ("",) for key, some in values.items()}  # only "" is accepted: the argument may be left out, or empty
    return ExpectedCall(name=name, arguments=bare, optional=optional)


def _expanded(value: Json) -> Iterator[Json]:
    """An object whose members list what they may be (empty text: they may be absent) as every object it stands for; lists of them too."""
    if isinstance(value, dict):
        members = [[(key, one) for one in some if one != ""] + ([None] if "" in some else []) for key, some in value.items()]
        combined: Iterator[tuple[Any, ...]] = itertools.product(*members)
        made = (dict(filter(None, chosen)) for chosen in combined)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        made = (list(chosen) for chosen in itertools.product(*(list(_expanded(one)) for one in value)))  # type: ignore[misc]
    else:
        yield value
        return
    for number, one in enumerate(made):
        if number == _MOST:
            raise Refusal("answers", f"an answer stands for more than {_MOST} objects")
        yield one


def native_call(call: ToolCall | Malformed, functions: Sequence[JsonObject], language: str) -> ToolCall | Malformed:
    """A call with its Java or JavaScript values read as what they mean."""
    function = next((one for one in functions if isinstance(call, ToolCall) and one["name"] == call.name), None)
    if not isinstance(call, ToolCall) or function is None or language == "python":
        return call
    read, schemas = read_java if language == "java" else read_javascript, function["parameters"]["properties"]

    def value(name: str, one: Json) -> Json:
        schema = schemas.get(name)
        return read(one, schema["type"], schema.get("items", {}).get("type")) if schema and isinstance(one, str) else one

    return replace(call, arguments={name: value(name, one) for name, one in call.arguments.items()})
