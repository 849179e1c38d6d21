"""The server's description of itself: what it names is there, and what is there is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agenttune.errors import UserError
from agenttune.serving.app import make_app
from agenttune.serving.openapi import description
from agenttune.serving.options import ServeOptions
from agenttune.serving.served import Served


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {(route.path, method.lower()) for route in make_app(Served(models=())).routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert {(path, method) for path, methods in description()["paths"].items() for method in methods} == routes  # type: ignore[union-attr]


def test_schemas_are_schemas_and_refuse_what_the_server_refuses() -> None:
    operation: Any = description()["paths"]["/v1/chat/completions"]["post"]  # type: ignore[index,call-overload]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    whole = {"model": "desk", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    jsonschema.validate(whole, schema)
    for wrong in ({"temperature": -1}, {"max_tokens": 0}, {"messages": []}, {"tool_choice": "perhaps"}, {"stop": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**whole, **wrong}, schema)


def test_it_is_served_without_a_key(serving: Callable[..., Any]) -> None:
    client = serving(lambda prompt: "Final Answer: Hi.", api_key="secret")
    status, body = client.send("GET", "/openapi.json")
    assert (status, body) == (200, json.loads(json.dumps(description())))


def test_adapters_by_name_and_the_base_beside_them(tmp_path: Path) -> None:
    named = ServeOptions(model="m", adapters=("a=runs/a", "runs/b/", "plain=")).named_adapters()
    assert named == [("a", "runs/a"), ("b", "runs/b/"), ("plain", None)]
    with pytest.raises(UserError, match="NAME=DIR"):
        ServeOptions(model="m", adapters=("=runs/a",)).named_adapters()
