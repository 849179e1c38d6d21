"""A tool's JSON Schema in the form that a grammar can be made of: JSON Schema's own words, closed objects, allowed orders."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from agenttune.errors import Refusal
from agenttune.sources.schemas import object_schema
from agenttune.values.trajectory import Json, JsonObject

# Formats that llguidance 1.9 knows. JSON Schema calls a format an annotation, so another one says nothing.
FORMATS = frozenset(("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
LARGEST = 10**15  # of a number without bounds
PERMUTED = 3  # properties; a call with so few may name them in any order
_ANNOTATIONS = frozenset(("description", "title", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment"))
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not")


def normalised(parameters: JsonObject) -> dict[str, Json]:
    """The schema of a tool's arguments with foreign type words translated, annotations gone, and no undeclared property allowed."""
    try:
        schema = object_schema(dict(parameters), [])
    except Refusal:
        return {"type": "object"}
    return {"type": "object", **_plain(schema)}


def _plain(schema: Json) -> Json:
    """What constrains a value, at every depth."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Json] = {}
    for key, value in schema.items():
        if key in _ANNOTATIONS or (key == "format" and value not in FORMATS) or (key == "required" and not isinstance(value, list)):
            continue
        if key in _NAMED and isinstance(value, Mapping):
            kept[key] = {name: _plain(one) for name, one in value.items()}
        elif key in _LISTS and isinstance(value, list):
            kept[key] = [_plain(one) for one in value]
        else:
            kept[key] = _plain(value) if key in _SINGLE else value
    if isinstance(kept.get("properties"), Mapping) and not {"additionalProperties", "patternProperties", "allOf", "$ref"} & set(kept):
        kept["additionalProperties"] = False
    return kept


def without_overflow(schema: Json) -> Json:
    """The schema with bounds for numbers that have none, at every depth: a grammar then writes them as plain decimals.

    Without them ``1e999`` would be a valid number of JSON, and infinite in every program that reads it.
    """
    if isinstance(schema, list):
        return [without_overflow(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: value if key in ("enum", "const", "required") else without_overflow(value) for key, value in schema.items()}
    types = schema.get("type")
    free = not {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "const"} & set(schema)
    if free and (types == "number" or (isinstance(types, list) and "number" in types)):
        found |= {"minimum": -LARGEST, "maximum": LARGEST}
    return found


def in_orders(schema: Mapping[str, Json], orders: Sequence[Sequence[str]] = ()) -> list[dict[str, Json]]:
    """The schema once for each order in which its properties may come; a grammar fixes their order.

    `orders` are those of the training data, where they are known. Else `PERMUTED` properties or fewer may come in any order, and more
    in the schema's own.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or len(properties) < 2:
        return [dict(schema)]
    if not orders:
        orders = list(itertools.permutations(properties)) if len(properties) <= PERMUTED else [tuple(properties)]
    found = []
    for order in orders:
        names = [*(name for name in order if name in properties), *(name for name in properties if name not in order)]
        found.append({**schema, "properties": {name: properties[name] for name in names}})
    return found
