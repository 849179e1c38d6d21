"""Operations of an HTTP API as tools, from its OpenAPI 3 description (https://spec.openapis.org/oas/v3.1.0).

A GET is a read whose answer strangers may have written; a DELETE destroys; the other methods act outside this machine. Every request
goes through `fetch`, to the server that the description names and to no other.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from agenttune.agent.toolbox.answers import ToolError, clean
from agenttune.agent.toolbox.names import free_name, usable_name
from agenttune.agent.toolbox.permissions import Effect
from agenttune.agent.toolbox.signatures.functions import Tool, tool_of_schema
from agenttune.agent.toolbox.signatures.schemas import inlined, resolved
from agenttune.agent.toolbox.web.fetch import HttpRequest, fetch
from agenttune.agent.toolbox.web.urls import FetchError, parse
from agenttune.errors import UserError, nearest
from agenttune.files import read_text
from agenttune.values.trajectory import JsonObject

PREFIX = "openapi:"
BYTES = 1_000_000  # of an answer
DESCRIPTION = 10_000_000  # letters of a description
_EFFECTS = {
    "get": Effect.READ,
    "post": Effect.EXTERNAL,
    "put": Effect.EXTERNAL,
    "patch": Effect.EXTERNAL,
    "delete": Effect.DESTRUCTIVE,
}
_NOT_OURS = ("accept", "content-type", "authorization")  # header parameters that the specification ignores


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument: its name for the model, where it goes (path, query, header, body; whole: the body itself) and its name there."""

    name: str
    place: str
    key: str
    schema: Mapping[str, Any]
    required: bool
    explode: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the API wants to know its caller by: a header or a query field, filled from a variable of the environment."""

    variable: str
    place: str
    name: str
    scheme: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request that can be made."""

    name: str
    method: str
    url: str
    description: str
    fields: tuple[Field, ...]
    keys: tuple[Key, ...]
    loopback: bool

    def tool(self) -> Tool:
        """The operation as a tool."""
        required = [one.name for one in self.fields if one.required]
        schema = {"type": "object", "properties": {one.name: dict(one.schema) for one in self.fields}, "required": required}
        needs = ", ".join(["the network", *(one.variable for one in self.keys)])
        shape = schema if required else {key: value for key, value in schema.items() if key != "required"}
        return tool_of_schema(self.name, self.description, shape, self.perform, effect=_EFFECTS[self.method], needs=needs)

    def perform(self, arguments: JsonObject, deadline: float) -> tuple[str, bool]:
        """Makes the request. Raises `ToolError` for a value that cannot stand where it belongs."""
        url, request = self._request(arguments)
        try:
            page = fetch(url, request, timeout=deadline, max_bytes=BYTES, allow_private=self.loopback)
        except FetchError as error:
            return clean(str(error)), True
        note = f"\n[the answer is longer than {BYTES} bytes; this is its beginning]" if page.truncated else ""
        return (page.text or "done; the server sent no text") + note, False

    def _request(self, arguments: JsonObject) -> tuple[str, HttpRequest]:
        url, query, headers, body = self.url, list[tuple[str, str]](), dict[str, str](), None
        for one in self.fields:
            if one.name not in arguments:
                continue
            value = arguments[one.name]
            if one.place == "path":
                url = url.replace(f"{{{one.key}}}", _segment(one.name, value))
            elif one.place == "query":
                query += _query(one, value)
            elif one.place == "header":
                headers[one.key] = _word(value)
            elif one.place == "whole":
                body = value
            else:
                body = {**(body or {}), one.key: value}
        for key in self.keys:
            secret = _secret(key)
            if key.place == "query":
                query.append((key.name, secret))
            else:
                headers[key.name] = f"{key.scheme} {secret}".strip()
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        whole = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url
        return whole, HttpRequest(method=self.method.upper(), headers=headers, body=data)


def openapi_tools(name: str, *, loopback: bool = False) -> tuple[Tool, ...]:
    """The tools of ``openapi:FILE``, or of ``openapi:FILE:operation``. Raises `UserError` for a file that cannot be used.

    With `loopback` the server may be one on this machine.
    """
    place = name.removeprefix(PREFIX)
    file, _, wanted = (place, "", "") if Path(place).is_file() else place.rpartition(":")
    path = Path(file or place)
    found: dict[str, Operation] = {}
    for one in operations(_description(path), path, loopback=loopback):
        free = free_name(one.name, found)
        found[free] = replace(one, name=free)
    if wanted and wanted not in found:
        raise UserError(f'{path} has no operation "{wanted}"{nearest(wanted, found)}')
    if not found:
        raise UserError(f"{path} describes no operation that can be a tool")
    return tuple(one.tool() for one in ([found[wanted]] if wanted else found.values()))


def _description(path: Path) -> dict[str, Any]:
    text = read_text(path, "OpenAPI description")
    if len(text) > DESCRIPTION:
        raise UserError(f"{path} is longer than {DESCRIPTION:,} letters, too long for a description")
    held = _parsed(text, path)
    if not isinstance(held, dict) or not str(held.get("openapi", "")).startswith("3."):
        raise UserError(f"{path} is no OpenAPI 3 description; a Swagger 2 file must be converted first")
    return held


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if path.suffix == ".json":
            raise UserError(f"{path} is not JSON") from None
    import yaml

    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):  # a few of them can stand for a text of any length
                raise UserError(f"{path}: YAML aliases (*name) are not read; write the part out, or use $ref")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())[:200]}") from error


def operations(held: dict[str, Any], path: Path, *, loopback: bool) -> Iterator[Operation]:
    """Every operation of a description whose parameters can be sent."""
    base, local = _server(held, path, loopback)
    for template, item in _objects(held.get("paths")):
        for method, one in _objects(item):
            if method in _EFFECTS:
                unsaid = [{"name": name, "in": "path", "schema": {"type": "string"}} for name in re.findall(r"\{([^{}]+)\}", template)]
                listed = [*unsaid, *_list(item.get("parameters")), *_list(one.get("parameters"))]
                yield Operation(
                    name=usable_name(str(one.get("operationId") or f"{method}{template}")).strip("_") or method,
                    method=method,
                    url=base + template,
                    description=_said(one, f"{method.upper()} {template}"),
                    fields=tuple(_fields(listed, one.get("requestBody"), held)),
                    keys=tuple(_keys(one.get("security", held.get("security")), held)),
                    loopback=local,
                )


def _server(held: dict[str, Any], path: Path, loopback: bool) -> tuple[str, bool]:
    """(the address all requests begin with, whether it is this machine's own)."""
    first = resolved(next(iter(_list(held.get("servers"))), None), held)
    url = str(first.get("url", ""))
    for name, one in _objects(first.get("variables")):
        url = url.replace(f"{{{name}}}", str(one.get("default", "")))
    try:
        host = parse(url).host
    except FetchError as error:
        raise UserError(f"{path} names no server that can be used ({error}); servers must begin with a whole http or https URL") from error
    local = host == "localhost" or _is_loopback(host)
    if local and not loopback:
        raise UserError(f"the server of {path} is {host}, this machine; add --loopback if a model may reach it")
    return url.rstrip("/"), local


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _list(held: Any) -> list[Any]:
    return held if isinstance(held, list) else []


def _objects(held: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(held, dict):
        yield from ((str(name), one) for name, one in held.items() if isinstance(one, dict))


def _said(one: dict[str, Any], otherwise: str) -> str:
    texts = [str(one[key]).strip() for key in ("summary", "description") if one.get(key)]
    return " ".join(" ".join(dict.fromkeys(texts)).split())[:1000] or otherwise


def _fields(listed: list[Any], body: Any, held: dict[str, Any]) -> Iterator[Field]:
    """The arguments of an operation; the operation's own goes before the path's, and a name that stands in two places gets its place."""
    made: dict[tuple[str, str], Field] = {}
    for one in (resolved(parameter, held) for parameter in listed):
        place, key = one.get("in"), one.get("name")
        if place in ("path", "query", "header") and isinstance(key, str) and not (place == "header" and key.lower() in _NOT_OURS):
            schema = {**_schema(one.get("schema"), held), **({"description": str(one["description"])} if one.get("description") else {})}
            required = place == "path" or one.get("required") is True
            made[place, key] = Field(
                name=key, place=place, key=key, schema=schema, required=required, explode=one.get("explode") is not False
            )
    made |= {(of_body.place, of_body.key): of_body for of_body in _body_fields(resolved(body, held), held)}
    names = [field.key for field in made.values()]
    for field in made.values():
        name = field.key if names.count(field.key) == 1 else f"{field.place}_{field.key}"
        yield replace(field, name=usable_name(name))


def _body_fields(body: dict[str, Any], held: dict[str, Any]) -> Iterator[Field]:
    kinds = dict(_objects(body.get("content")))
    json_kind = next((kinds[kind] for kind in kinds if kind.partition(";")[0].strip() in ("application/json", "*/*")), None)
    if json_kind is None:
        return
    schema = _schema(json_kind.get("schema"), held)
    needed = body.get("required") is True
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        yield Field(name="body", place="whole", key="body", schema=schema, required=needed)
        return
    for key, one in properties.items():
        yield Field(name=key, place="body", key=key, schema=one, required=needed and key in _list(schema.get("required")))


def _schema(schema: Any, held: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = inlined({"properties": {"it": schema or {}}}, held)["properties"]["it"]
    return found


def _keys(security: Any, held: dict[str, Any]) -> Iterator[Key]:
    """The keys of the first way in that the description lists; none where one of the ways asks for nothing."""
    if not isinstance(security, list) or not security or not all(isinstance(one, dict) and one for one in security):
        return
    schemes = resolved(resolved(held.get("components"), held).get("securitySchemes"), held)
    for name in security[0]:
        scheme = resolved(schemes.get(name), held)
        variable = f"AGENTTUNE_OPENAPI_KEY_{re.sub(r'[^A-Za-z0-9]+', '_', str(name)).upper()}"
        kind = str(scheme.get("type")), str(scheme.get("scheme", "")).lower()
        if kind[0] == "apiKey" and scheme.get("in") in ("header", "query"):
            yield Key(variable=variable, place=str(scheme["in"]), name=str(scheme.get("name")))
        else:
            yield Key(variable=variable, place="header", name="Authorization", scheme="Basic" if kind[1] == "basic" else "Bearer")


def _secret(key: Key) -> str:
    secret = os.environ.get(key.variable, "")
    if not secret:
        raise ToolError(f"this needs a key: the environment variable {key.variable} is not set")
    return base64.b64encode(secret.encode()).decode() if key.scheme == "Basic" else secret


def _segment(name: str, value: Any) -> str:
    """A value as one part of a path; it cannot lead out of its place."""
    text = _word(value)
    if text in ("", ".", ".."):
        raise ToolError(f'the argument "{name}" cannot be {json.dumps(text)}')
    return quote(text, safe="")


def _query(field: Field, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, list):
        words = [_word(one) for one in value]
        return [(field.key, one) for one in words] if field.explode else [(field.key, ",".join(words))]
    return [(field.key, _word(value))]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
