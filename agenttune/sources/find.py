"""A source by its name: a shipped one, a file, a module or an entry point, loaded when asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from agenttune.errors import Refusal, UserError, nearest
from agenttune.sources.base import ReadOptions, Source, Target
from agenttune.values.trajectory import Json, Trajectory

# In the order in which `auto` asks: a format with more telling marks comes first.
SHIPPED = (
    "trajectory", "msagent", "ms_agent", "toolbench", "apibank", "hermes", "react",
    "xlam", "anthropic", "oasst", "openai", "sharegpt", "alpaca",
)  # fmt: skip
ENTRY_POINTS = "agenttune.sources"


def get(name: str) -> Source:
    """The source called `name`: a shipped one, ``./my_source.py``, ``package.module``, or an entry point. Raises `UserError`."""
    if name in SHIPPED:
        return _shipped(name)
    if name.endswith(".py") or "/" in name:
        return _checked(_from_file(name), name)
    import importlib.metadata  # a worker that reads a shipped source starts sooner without it

    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        return _checked(entry.load(), name)
    if "." in name:
        return _checked(_from_package(name), name)
    near = nearest(name, ("auto", *SHIPPED))
    raise UserError(f'there is no source "{name}"{near}; known: {", ".join(SHIPPED)}, ./file.py, package.module')


def get_target(name: str) -> Target:
    """The source called `name`, if it can also be written. Raises `UserError`."""
    source = get(name)
    if not callable(getattr(source, "write", None)):
        raise UserError(f'the format "{name}" can be read but not written')
    return cast(Target, source)


@functools.cache
def _shipped(name: str) -> Source:
    return _checked(importlib.import_module(f"agenttune.sources.{name}"), name)


def _from_file(name: str) -> ModuleType:
    """The module of a file, loaded once as long as the file does not change."""
    path = Path(name).resolve()
    if not path.is_file():
        raise UserError(f"there is no source file {name}")
    stat = path.stat()
    full = f"agenttune_source_{path.stem}_{hash((str(path), stat.st_mtime_ns, stat.st_size)) & 0xFFFFFFFFFFFF:x}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # dataclasses of the file look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[full]
        raise UserError(f"the source file {name} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f'there is no source "{name}": {error}') from error
    except Exception as error:
        raise UserError(f"the source {name} cannot be imported: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlugIn:
    """A user's source with what it left out filled in. `write` is None where the format is not a target."""

    NAME: str
    read: Callable[[Json, ReadOptions], Iterator[Trajectory | Refusal]]
    detect: Callable[[Json], str | None]
    write: Callable[[Trajectory], Json] | None = None


def _never(record: Json) -> str | None:
    return None


def _checked(module: Any, name: str) -> Source:
    """The module as a source. Only ``read`` is needed: ``NAME`` defaults to its file's, ``detect`` to one that knows nothing."""
    parts = {part: getattr(module, part, None) for part in ("read", "detect", "write")}
    if parts["read"] is None:
        raise UserError(f"the source {name} has no function read(record, options)")
    for part, value in parts.items():
        if value is not None and not callable(value):
            raise UserError(f'"{part}" of the source {name} is no function')
    given = getattr(module, "NAME", None)
    if isinstance(given, str) and parts["detect"] is not None:
        return cast(Source, module)
    own = Path(name).stem if name.endswith(".py") or "/" in name else name.rpartition(".")[2]
    detect = parts["detect"] or _never
    return SourcePlugIn(NAME=given if isinstance(given, str) else own, read=module.read, detect=detect, write=parts["write"])
