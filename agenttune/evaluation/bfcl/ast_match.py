"""BFCL's own verdict on calls, reproduced with its leniencies, so that a figure of ours can stand beside one of the leaderboard.

After ``eval_checker/ast_eval/ast_checker.py`` of bfcl-eval 2026.3.23 (Apache-2.0): greedy matching of parallel calls, strings compared
without spaces and ``,./-_*^`` and in lower case (so "-5.0" is "50"), types one level deep. A verdict is ``ok`` or its error type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agenttune.evaluation.bfcl.source_values import read_java, read_javascript
from agenttune.values.trajectory import Json, JsonObject, ToolCall

_PYTHON: Mapping[str, type] = {
    "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict, "any": str,
}  # fmt: skip
_JAVA: Mapping[str, type] = {
    "byte": int, "short": int, "integer": int, "float": float, "double": float, "long": int, "boolean": bool, "char": str,
    "Array": list, "ArrayList": list, "Set": set, "HashMap": dict, "Hashtable": dict, "Queue": list, "Stack": list, "String": str,
    "any": str,
}  # fmt: skip
_JAVASCRIPT: Mapping[str, type] = {
    "String": str, "integer": int, "float": float, "Bigint": int, "Boolean": bool, "dict": dict, "array": list, "any": str,
}  # fmt: skip
_NESTED = {"python": ("array", "tuple"), "java": ("Array", "ArrayList", "array"), "javascript": ("Array", "ArrayList", "array")}
_TYPES = {"python": _PYTHON, "java": _JAVA, "javascript": _JAVASCRIPT}
Truth = Mapping[str, Mapping[str, Sequence[Json]]]  # one call: its name, and for each argument the values that count ("": may be absent)


def language_of(category: str) -> str:
    """``python``, ``java`` or ``javascript``."""
    return {"simple_java": "java", "simple_javascript": "javascript"}.get(category, "python")


def verdict(functions: Sequence[JsonObject], calls: Sequence[ToolCall], truth: Sequence[Truth], category: str) -> str:
    """``ok``, or the error type that BFCL gives to these calls."""
    language = language_of(category)
    if "parallel" in category:
        return _parallel(functions, calls, truth, language)
    if len(calls) != (len(truth) if "multiple" in category else 1):
        return "wrong_count"
    function = _named(functions, next(iter(truth[0]))) if "multiple" in category else functions[0]
    return _call(function, calls[0], truth[0], language)


def _named(functions: Sequence[JsonObject], name: str) -> JsonObject:
    return next(one for one in functions if one["name"] == name)


def _parallel(functions: Sequence[JsonObject], calls: Sequence[ToolCall], truth: Sequence[Truth], language: str) -> str:
    """Each wanted call takes the first made one that fits it and is free."""
    if len(calls) != len(truth):
        return "wrong_count"
    free = list(range(len(calls)))
    for wanted in truth:
        function = _named(functions, next(iter(wanted)))
        taken = next((at for at in free if _call(function, calls[at], wanted, language) == "ok"), None)
        if taken is None:
            return "cannot_find_match"
        free.remove(taken)
    return "ok"


def _call(function: JsonObject, call: ToolCall, truth: Truth, language: str) -> str:
    accepted = next(iter(truth.values()))
    parameters = function["parameters"]
    if call.name != function["name"]:
        return "wrong_func_name"
    if any(name not in call.arguments for name in parameters["required"]):
        return "missing_required"
    for name, value in call.arguments.items():
        if name not in parameters["properties"] or name not in accepted:
            return "unexpected_param"
        found = _value(value, accepted[name], parameters["properties"][name], language)
        if found != "ok":
            return found
    if any(name not in call.arguments and "" not in values for name, values in accepted.items()):
        return "missing_optional"
    return "ok"


def _value(value: Json, accepted: Sequence[Json], schema: JsonObject, language: str) -> str:
    kind = schema["type"]
    wanted = _TYPES[language][kind]
    inner_kind = schema["items"]["type"] if kind in _NESTED[language] else None
    inner = _TYPES[language][inner_kind] if inner_kind else None
    if language != "python":
        if type(value) is not str:
            return f"type_error:{'java' if language == 'java' else 'js'}"
        value = read_java(value, kind, inner_kind) if language == "java" else read_javascript(value, kind, inner_kind)
    elif kind == "float" and type(value) is int:
        value = float(value)
    found, variable = _type(value, accepted, wanted, inner)
    if found != "ok":
        return found
    if variable:
        return "ok" if value in accepted else "value_error:others"
    if wanted is dict:
        return _object(value, accepted)
    if wanted is list and inner is dict:
        return _objects(value, accepted)
    if wanted is str:
        return "ok" if _folded(value) in [_folded(one) for one in accepted if type(one) is str] else "value_error:string"
    if wanted is list:
        made = [_folded(one) for one in value]
        return "ok" if made in [[_folded(one) for one in answer] for answer in accepted] else "value_error:list/tuple"
    return "ok" if value in accepted else "value_error:others"


def _type(value: Json, accepted: Sequence[Json], wanted: type, inner: type | None) -> tuple[str, bool]:
    """The verdict on the type, and whether the value counts as the name of a variable: one of the answers' type, not the parameter's."""
    answer_type = next((type(one) for one in accepted if one != ""), None)
    if type(value) is wanted:
        variable = answer_type is not None and answer_type is not wanted
        if inner is None or any(_all_of(value, answer, inner) for answer in accepted):
            return "ok", variable
        return "type_error:nested" if answer_type is wanted else "type_error:simple", False
    if answer_type is not None and type(value) is answer_type:
        return "ok", True
    return "type_error:simple", False


def _all_of(value: Json, answer: Json, inner: type) -> bool:
    if type(answer) is not list:
        return True
    return all(_type(one, answer, inner, None)[0] == "ok" for one in value)


def _folded(value: Json) -> Json:
    """Text without what BFCL ignores; anything else as it is."""
    return re.sub(r"[ \,\.\/\-\_\*\^]", "", value).lower().replace("'", '"') if type(value) is str else value


def _object(value: JsonObject, accepted: Sequence[Json]) -> str:
    found = "dict_checker:unclear"
    for answer in accepted:
        if answer == "":
            continue
        found = _members(value, answer)
        if found == "ok":
            return found
    return found


def _members(value: JsonObject, answer: Mapping[str, Sequence[Json]]) -> str:
    found = "ok"
    for key, one in value.items():
        if key not in answer:
            found = "value_error:dict_key"
            break
        if _folded(one) not in [_folded(other) for other in answer[key]]:
            found = "value_error:dict_value"
            break
    missing = any(key not in value and "" not in values for key, values in answer.items())
    return "value_error:dict_key" if missing else found


def _objects(value: Sequence[Json], accepted: Sequence[Json]) -> str:
    found = "list_dict_checker:unclear"
    for answer in accepted:
        if len(value) != len(answer):
            found = "value_error:list_dict_count"
            continue
        verdicts = [_object(one, [wanted]) for one, wanted in zip(value, answer, strict=True)]
        found = next((one for one in verdicts if one != "ok"), "ok")
        if found == "ok":
            return found
    return found
