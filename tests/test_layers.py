"""Imports go one way: a room sees only the rooms before it, and nothing sideways inside a brace."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agenttune"
# A room may import rooms of a lower rank, and itself. Rooms of one rank never see each other.
RANK = {
    "errors": 0,
    "files": 1,
    "folder_lock": 1,
    "yaml_text": 1,
    "own_json": 1,
    "owned_folders": 2,
    "config": 2,
    "values": 3,
    "sources": 4,
    "protocols": 4,
    "templates": 4,
    "data": 5,
    "models": 6,
    "agent": 7,
    "evaluation": 8,
    "desk": 8,
    "training": 9,
    "serving": 10,
    "screens": 10,
    "demo": 11,
    "cli": 12,
    "__main__": 13,
}
HEAVY = ("torch", "transformers", "peft", "datasets", "bitsandbytes", "accelerate", "pandas", "pyarrow", "matplotlib")


def room(path: Path) -> str:
    """The room a file belongs to: its folder, or its own name at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" if node.module == "agenttune" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("agenttune.")}
    return found - {"__version__"}


def test_imports_go_one_way() -> None:
    edges = 0
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        here = room(path)
        if here == "__init__":
            continue
        assert here in RANK, f"{path} is in no room of the design"
        for other in imported_rooms(path) - {here}:
            edges += 1
            if RANK[other] >= RANK[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    print(f"{edges} imports between rooms")
    assert not wrong
    assert edges >= 40


# Inside a room: what each of its walls may see of the others ("screens" are the room's own files, outside every wall).
INSIDE: dict[str, set[str]] = {
    "agent": {"agent/toolbox"},
    "agent/toolbox": set(),
    "data": set(),
    "data/quality": {"data"},
    "data/convert": {"data", "data/quality"},
    "evaluation": {"evaluation/suites"},
    "evaluation/bfcl": set(),
    "evaluation/live": {"evaluation"},
    "evaluation/suites": {"evaluation", "evaluation/bfcl"},  # both ways: which comparisons there are stands beside the scorer
    "models": set(),
    "models/remote": {"models"},
    "protocols": {"protocols/native"},
    "protocols/native": {"protocols"},  # a family is a protocol, found by its name among the others
    "serving": {"serving/backends"},
    "serving/backends": set(),
    "screens": {"screens/show"},  # a run's progress tells what was shared in the words of `agenttune show`
    "screens/show": {"screens"},
    "screens/chat": {"screens", "screens/show"},  # sideways: /show prints a round as `agenttune show` does
    "screens/report": {"screens"},
    "sources": {"sources/reading", "sources/react", "sources/msagent"},  # ms_agent is a dialect of react; whose markers a text holds
    "sources/reading": set(),
    "sources/msagent": {"sources", "sources/reading"},
    "sources/react": {"sources", "sources/reading"},
    "sources/toolbench": {"sources", "sources/reading"},
    "training/kernels": set(),
    "training/memory": {"training/kernels"},
    "training/distributed": {"training"},  # a rank's checkpoint is one of ours
    "training": {"training/kernels", "training/memory", "training/distributed"},
}


def wall(parts: tuple[str, ...]) -> str:
    """The place inside a room: ``training/kernels``, or ``training`` for the room's own files."""
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def imported_files(path: Path) -> set[tuple[str, ...]]:
    """Files of the package that a file imports, as parts of their paths."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = set()
    for name in names:
        parts = tuple(name.split("."))[1:] if name.startswith("agenttune.") else ()
        while parts and not (PACKAGE.joinpath(*parts).is_dir() or PACKAGE.joinpath(*parts).with_suffix(".py").is_file()):
            parts = parts[:-1]  # a name in a module
        if parts:
            found.add((*parts, "__init__") if PACKAGE.joinpath(*parts).is_dir() else parts)
    return found


def test_walls_inside_a_room_are_seen_through_one_way() -> None:
    edges = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) > 1:
            edges |= {(wall(parts), wall(other)) for other in imported_files(path) if other[0] == parts[0] and wall(other) != wall(parts)}
    assert ("training", "training/kernels") in edges
    assert sorted((here, there) for here, there in edges if there not in INSIDE.get(here, ())) == []
    walls = {"/".join(one.relative_to(PACKAGE).parts) for one in PACKAGE.glob("*/*/") if (one / "__init__.py").is_file()}
    assert walls - set(INSIDE) == set()


def test_a_plug_in_tool_sees_only_the_toolbox() -> None:
    files = sorted((ROOT / "tools").glob("*.py"))
    assert len(files) >= 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agenttune"):
                assert node.module.startswith("agenttune.agent.toolbox"), f"{path.name} imports {node.module}"


def test_no_file_runs_text_or_reads_pickles() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py"), *(ROOT / "evals").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), f"{path}: {node.func.id}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not {"pickle", "marshal", "shelve"} & set(names), f"{path} imports {names}"


@pytest.mark.parametrize(
    "module",
    ["agenttune.cli", "agenttune.data.convert.run", "agenttune.data.render", "agenttune.agent.react", "agenttune.evaluation.selftest"],
)
def test_heavy_libraries_wait_until_a_model_is_made(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
