"""BFCL's API classes of the multi-turn categories, driven by calls that were parsed before: no text of a model is evaluated as code.

The classes are the wheel's own (``bfcl_eval/eval_checker/multi_turn_eval/func_source_code``); the verdict is that of its
``multi_turn_checker.py`` (bfcl-eval 2026.3.23, Apache-2.0). `replay` and `judge` are plain functions of JSON values, so that a worker
process with a deadline can do them: a model may well ask the calculator for ten to the power of a billion.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from agenttune.errors import UserError
from agenttune.values.trajectory import Json, JsonObject

_PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
MODULES: Mapping[str, str] = {
    "GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api", "MessageAPI": "message_api", "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api", "TradingBot": "trading_bot", "TravelAPI": "travel_booking", "VehicleControlAPI": "vehicle_control",
}  # fmt: skip
_STATELESS = frozenset(("MathAPI",))
_FORBIDDEN = frozenset(("kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run"))  # by the wheel


class ApiWorld:
    """Instances of the classes that a conversation is about, as they stand. A call changes them and answers in text."""

    def __init__(self, wheel: str, classes: Sequence[str], config: JsonObject, *, long_context: bool = False) -> None:
        self._instances = {name: _instance(wheel, name, config, long_context) for name in classes}
        self._methods: dict[str, Any] = {}
        for instance in self._instances.values():
            found = inspect.getmembers(instance, predicate=inspect.ismethod)
            self._methods |= {name: method for name, method in found if not name.startswith("_")}

    def call(self, name: str, values: Sequence[Json], arguments: JsonObject) -> str:
        """The answer of one call, in the wheel's words; whatever a method raises is text too."""
        if name in _FORBIDDEN:
            return f"Error during execution: Function call {name} is not allowed."
        if name not in self._methods:
            return f"Error during execution: name '{name}' is not defined"
        try:
            return _as_text(self._methods[name](*values, **copy.deepcopy(dict(arguments))))  # a class may keep and change them
        except Exception as error:  # of the wheel's own code, for arguments of any kind: an answer to the model
            return f"Error during execution: {error}"

    def written(self, text: str) -> str:
        """`call` for a gold call, which the wheel writes as ``cd(folder='document')``."""
        return self.call(*read_call(text))

    def state(self) -> dict[str, dict[str, Any]]:
        """The public attributes of each instance."""
        return {name: {key: value for key, value in vars(one).items() if key[0] != "_"} for name, one in self._instances.items()}


def _instance(wheel: str, name: str, config: JsonObject, long_context: bool) -> Any:
    made = getattr(_module(wheel, MODULES[name]), name)()
    if name not in _STATELESS:
        made._load_scenario(copy.deepcopy(config.get(name, {})), long_context=long_context)
    return made


def _module(wheel: str, name: str) -> Any:
    """A module of the wheel at hand. Raises `UserError` where one that it needs is not installed."""
    if wheel not in sys.path:
        sys.path.append(wheel)
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ImportError as error:
        raise UserError(f"BFCL's {name}.py needs the package {error.name}: pip install {error.name}") from error


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except (TypeError, ValueError):
            return str(value)
    return value if isinstance(value, str) else str(value)


def read_call(text: str) -> tuple[str, list[Json], dict[str, Json]]:
    """(name, values without a name, values by name) of a written call; only literals are read, nothing is run. Raises `ValueError`."""
    call = ast.parse(text.strip(), mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"not a call of a function by its name: {text}")
    named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    return call.func.id, [ast.literal_eval(one) for one in call.args], named


def replay(wheel: str, classes: list[str], config: dict[str, Any], long_context: bool, calls: list[dict[str, Any]], new: int) -> list[str]:
    """The answers of the last `new` calls, in a world in which all of them were made in this order."""
    world = ApiWorld(wheel, classes, config, long_context=long_context)
    answers = [world.call(str(one["name"]), (), one["arguments"]) for one in calls]
    return answers[len(answers) - new :]


def judge(
    wheel: str, classes: list[str], config: dict[str, Any], long_context: bool, made: list[list[dict[str, Any]]], wanted: list[list[str]]
) -> str:
    """``ok``, or the wheel's name for the first fault. `made` are the model's calls turn by turn, `wanted` the gold ones.

    After each turn that wants calls every public attribute must be what the gold calls make it, and each of their answers must be among
    the answers that the model has had so far, each counted once.
    """
    if len(made) != len(wanted):
        return "force_terminated"
    mine, gold = (ApiWorld(wheel, classes, config, long_context=long_context) for _ in range(2))
    seen: list[str] = []
    for calls, written in zip(made, wanted, strict=True):
        seen += [mine.call(str(one["name"]), (), one["arguments"]) for one in calls]
        due = [gold.written(text) for text in written]
        if due and not calls:
            return "empty_turn_model_response"
        if due and not _alike(mine.state(), gold.state()):
            return "instance_state_mismatch"
        if due and not _among(due, seen):
            return "execution_response_mismatch"
    return "ok"


def _alike(mine: Mapping[str, Mapping[str, Any]], gold: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(key in mine[name] and mine[name][key] == value for name, one in gold.items() for key, value in one.items())


def _among(due: Sequence[str], seen: Sequence[str]) -> bool:
    return all(due.count(one) <= seen.count(one) for one in set(due))
