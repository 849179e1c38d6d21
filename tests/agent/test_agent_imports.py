"""Files of the agent's room import each other one way: no two of them need each other."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import agenttune.agent

ROOM = Path(agenttune.agent.__file__ or "").parent


def test_no_import_goes_in_a_circle() -> None:
    names = {
        path: ".".join(path.relative_to(ROOM.parents[1]).with_suffix("").parts) for path in ROOM.rglob("*.py") if path.stem != "__init__"
    }
    graph: dict[str, set[str]] = {}
    for path, name in names.items():
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        graph[name] = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module in names.values()}
    assert sum(map(len, graph.values())) > 40
    TopologicalSorter(graph).prepare()  # raises CycleError, for type-checking imports too
