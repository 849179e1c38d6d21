"""JSON Schemas of others as a model is shown them: no references, no titles, no more than a prompt can hold."""

from __future__ import annotations

from typing import Any

PARTS = 2000  # nodes of one schema; what lies beyond is any value
DEPTH = 12
_DROPPED = ("$defs", "definitions", "$schema", "$id", "title", "$comment")


def inlined(schema: Any, root: Any = None) -> dict[str, Any]:
    """A copy of an object's schema with every local ``$ref`` replaced by what it names; ``root`` is where references look.

    Small models and many chat templates do badly with references. A schema that refers to itself is cut at depth 12.
    """
    made = _copied(schema, schema if root is None else root, 0, [PARTS])
    properties = made.get("properties")
    return {**made, "type": "object", "properties": properties if isinstance(properties, dict) else {}}


def resolved(held: Any, root: Any) -> dict[str, Any]:
    """An object, or the one that its ``$ref`` names; empty where there is none."""
    for _ in range(DEPTH):
        if not (isinstance(held, dict) and isinstance(held.get("$ref"), str)):
            break
        held = _found(held["$ref"], root)
    return held if isinstance(held, dict) else {}


def _copied(schema: Any, root: Any, depth: int, left: list[int]) -> dict[str, Any]:
    left[0] -= 1
    if not isinstance(schema, dict) or depth > DEPTH or left[0] < 0:
        return {}
    if isinstance(schema.get("$ref"), str):
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_copied(_found(schema["$ref"], root), root, depth + 1, left), **_copied(beside, root, depth + 1, left)}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DROPPED and not (key == "title" and isinstance(value, dict)):
            continue
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            made[key] = {str(name): _copied(one, root, depth + 1, left) for name, one in value.items()}
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            made[key] = [_copied(one, root, depth + 1, left) for one in value]
        elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            made[key] = _copied(value, root, depth + 1, left)
        else:
            made[key] = value
    return _simplified(made)


def _simplified(schema: dict[str, Any]) -> dict[str, Any]:
    """``allOf`` of one schema is that schema."""
    parts = schema.get("allOf")
    if isinstance(parts, list) and len(parts) == 1:
        return {**parts[0], **{key: value for key, value in schema.items() if key != "allOf"}}
    return schema


def _found(reference: str, root: Any) -> Any:
    """What a local reference (``#/a/b``) names; None for any other."""
    if not reference.startswith("#/"):
        return None
    place = root
    for step in reference[2:].split("/"):
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place
