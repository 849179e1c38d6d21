"""Python files as modules under private names: no file of tools becomes importable by its own name, and nothing is written beside it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.util
import operator
import sys
from pathlib import Path
from types import ModuleType

from agenttune.agent.toolbox.answers import described
from agenttune.agent.toolbox.signatures.functions import Origin
from agenttune.errors import UserError


class _Source(importlib.abc.ExecutionLoader):
    """Runs the bytes that were read, once; neither reads nor writes ``__pycache__``."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source

    def get_filename(self, fullname: str) -> str:
        return str(self.path)

    def get_source(self, fullname: str) -> str:
        return self.source


def load_file(path: str | Path) -> ModuleType:
    """The module of a Python file, once for each content. Raises `UserError` when there is none or it fails as it loads."""
    path = Path(path).resolve()
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the tool file {path}: {getattr(error, 'strerror', None) or error}") from error
    digest = hashlib.sha256(f"{path}\0{source}".encode()).hexdigest()[:12]
    name = f"_agenttune_tool_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_loader(name, _Source(path, source), origin=str(path))
    assert spec is not None
    assert spec.loader is not None
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and typing look a module up by its name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"the tool file {path} cannot be loaded: {described(error)}{_line(error, path)}") from error
    return module


def _line(error: BaseException, path: Path) -> str:
    """`` (line n)``: the last line of that file that ran."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" (line {lines[-1]})" if lines and "line" not in str(error) else ""


def load_module(name: str) -> ModuleType:
    """The module of a dotted name. Raises `UserError` when there is none or it fails as it loads."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UserError(f"the module {name} cannot be loaded: {described(error)}") from error


def load_origin(origin: Origin) -> object:
    """The function that an `Origin` names: from its module where that is the same file, else from the file itself.

    A name such as ``made:word`` is what the module's function ``made`` returns for that word; ``object.name`` is a method.
    """
    module = sys.modules.get(origin.module)
    if module is None and not origin.module.startswith("_agenttune_tool_"):
        try:
            module = importlib.import_module(origin.module)
        except ImportError:
            module = None
    if module is None or (origin.file and getattr(module, "__file__", None) != origin.file):
        module = load_file(origin.file)
    name, given, word = origin.name.partition(":")
    found = operator.attrgetter(name)(module)
    made: object = found(word) if given else found
    return made
