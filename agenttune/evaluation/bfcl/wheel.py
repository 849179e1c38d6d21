"""Where the ``bfcl-eval`` wheel's data is: a folder or wheel that was named, an installed package, the cache. It is only read."""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from agenttune.errors import UserError
from agenttune.files import cache_folder
from agenttune.values.trajectory import Json

VARIABLE = "AGENTTUNE_BFCL"
Folder = Path | zipfile.Path
AST = (
    "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
)  # fmt: skip
IRRELEVANCE, RELEVANCE = ("irrelevance", "live_irrelevance"), ("live_relevance",)
CATEGORIES = (*AST, *IRRELEVANCE, *RELEVANCE)
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")


def data_folder() -> Folder:
    """The wheel's ``bfcl_eval/data``. Raises `UserError` that says how to get it."""
    for place in _places():
        found = _inside(place)
        if found is not None:
            return found
    raise UserError(
        "the bfcl suite needs the files of the bfcl-eval wheel: run `pip download --no-deps bfcl-eval -d DIR` and set "
        f"{VARIABLE}=DIR (a folder with the wheel, or the wheel unpacked), or `pip install --no-deps bfcl-eval`"
    )


def _places() -> Iterator[Path]:
    if named := os.environ.get(VARIABLE):
        yield Path(named)
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is not None and spec.origin:
        yield Path(spec.origin).parents[1]
    yield cache_folder() / "bfcl"


def _inside(place: Path) -> Folder | None:
    if place.suffix == ".whl" and place.is_file():
        return zipfile.Path(place, "bfcl_eval/data/")
    if (place / "bfcl_eval" / "data").is_dir():
        return place / "bfcl_eval" / "data"
    wheels = sorted(place.glob("bfcl_eval-*.whl")) if place.is_dir() else []
    return zipfile.Path(wheels[-1], "bfcl_eval/data/") if wheels else None


def module_path(folder: Folder) -> str:
    """What Python imports the wheel from, given its `data_folder`: a folder, or the wheel's file itself."""
    if isinstance(folder, zipfile.Path):
        return str(folder.root.filename)
    return str(folder.parents[1])


def rows(folder: Folder, name: str) -> list[dict[str, Json]]:
    """The JSON lines of ``BFCL_v4_NAME.json``; none where there is no such file (irrelevance has no answers)."""
    path = folder / f"BFCL_v4_{name}.json"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.is_file() else []


def documents(folder: Folder, name: str) -> list[dict[str, Json]]:
    """What the wheel tells models of the functions of one API class."""
    text = (folder / "multi_turn_func_doc" / f"{name}.json").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
