"""What the server answers to, as an OpenAPI 3.1 description (https://spec.openapis.org/oas/v3.1.0): served at /openapi.json.

The fields are those that `requests` reads; clients may send others, which are ignored.
"""

from __future__ import annotations

from agenttune import __version__
from agenttune.values.trajectory import Json, JsonObject

_TEXT: JsonObject = {"type": "string"}
_COUNT: JsonObject = {"type": "integer", "minimum": 1}
_FLAG: JsonObject = {"type": "boolean"}
_SAMPLING: JsonObject = {
    "model": {**_TEXT, "description": "a served name; the first without"},
    "max_tokens": {**_COUNT, "description": "tokens of the reply, at most; max_completion_tokens says the same"},
    "max_completion_tokens": _COUNT,
    "temperature": {"type": "number", "minimum": 0, "maximum": 100, "default": 0},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1},
    "top_k": {"type": "integer", "minimum": -1, "default": 0},
    "repetition_penalty": {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "default": 1},
    "seed": {"type": "integer", "default": 0},
    "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    "stop_token_ids": {"type": "array", "items": {"type": "integer"}},
    "stream": {**_FLAG, "default": False},
    "stream_options": {"type": "object", "properties": {"include_usage": _FLAG}},
}
_CHAT: JsonObject = {
    **_SAMPLING,
    "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT}}},
    "tools": {"type": "array", "items": {"type": "object"}},
    "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}]},
    "parallel_tool_calls": {**_FLAG, "default": True},
    "response_format": {"type": "object", "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}}},
    "n": {**_COUNT, "default": 1},
    "chat_template_kwargs": {"type": "object"},
}
_PROMPT: JsonObject = {"anyOf": [_TEXT, {"type": "array", "items": {"type": "integer"}}]}


def description() -> JsonObject:
    """The description, as JSON."""
    paths: JsonObject = {
        "/health": {"get": _operation("whether it lives, and how many requests run and wait", key=False)},
        "/v1/models": {"get": _operation("the names that are served, with protocol, template and context")},
        "/v1/chat/completions": {"post": _operation("the next message of a conversation", _body(_CHAT, "messages"), stream=True)},
        "/v1/completions": {
            "post": _operation("goes on with a text or with token ids", _body({**_SAMPLING, "prompt": _PROMPT}, "prompt"), stream=True)
        },
        "/tokenize": {"post": _operation("the ids of a conversation or a text", _body({**_CHAT, "prompt": _PROMPT}))},
        "/metrics": {"get": _operation("counts in Prometheus' form", text=True)},
        "/openapi.json": {"get": _operation("this description", key=False)},
    }
    error: JsonObject = {
        "type": "object",
        "required": ["message", "type"],
        "properties": {"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "agenttune serve", "version": __version__, "description": "a tuned agent behind OpenAI's chat protocol"},
        "paths": paths,
        "components": {
            "schemas": {"Error": {"type": "object", "required": ["error"], "properties": {"error": error}}},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _body(properties: JsonObject, *required: str) -> JsonObject:
    schema: dict[str, Json] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _operation(summary: str, body: JsonObject | None = None, *, key: bool = True, stream: bool = False, text: bool = False) -> JsonObject:
    anything: JsonObject = {"schema": {"type": "object"}}
    said: dict[str, Json] = {"text/plain": {"schema": _TEXT}} if text else {"application/json": anything}
    if stream:
        said["text/event-stream"] = {"schema": _TEXT}
    error: Json = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: dict[str, Json] = {
        "summary": summary,
        "responses": {"200": {"description": "done", "content": said}, "default": {"description": "why not", "content": error}},
    }
    if body is not None:
        found["requestBody"] = body
    if key:
        found["security"] = [{"key": []}, {}]  # a key is asked for where the server was given one
    return found
