"""BFCL: its verdicts reproduced, item by item, against the wheel's own checker; ours beside them."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.evaluation.bfcl import wheel
from agenttune.evaluation.bfcl.ast_match import language_of, verdict
from agenttune.evaluation.bfcl.source_values import read_java, read_javascript
from agenttune.evaluation.evaluate import score_cases
from agenttune.evaluation.metrics import estimate
from agenttune.values.trajectory import Malformed, Step, ToolCall

CORRUPTIONS = 10


@pytest.fixture
def checker(bfcl_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The wheel's ``ast_checker``, with a stand-in for the module that would import every vendor's client."""
    monkeypatch.syspath_prepend(str(bfcl_wheel))
    stand_in = types.ModuleType("bfcl_eval.constants.model_config")

    class Plain:
        underscore_to_dot = False

    class AnyModel(dict[str, Plain]):
        def __missing__(self, name: str) -> Plain:
            return Plain()

    stand_in.MODEL_CONFIG_MAPPING = AnyModel()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bfcl_eval.constants.model_config", stand_in)
    yield importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    for name in [name for name in sys.modules if name.startswith("bfcl_eval")]:
        del sys.modules[name]


def gold(truth: Sequence[Any], language: str) -> list[ToolCall]:
    """The wanted calls, the first accepted value of each argument; Java's and JavaScript's as source code."""
    return [ToolCall(name=name, arguments=dict(_arguments(values, language))) for call in truth for name, values in call.items()]


def _arguments(values: Any, language: str) -> Iterator[tuple[str, Any]]:
    for key, some in values.items():
        if some and (some[0] != "" or len(some) > 1):
            value = next(one for one in some if one != "")
            yield key, plain(value) if language == "python" else code(value, language)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: next((one for one in some if one != ""), "") for key, some in value.items() if some != [""]}
    return [plain(one) for one in value] if isinstance(value, list) else value


def code(value: Any, language: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        inner = ", ".join(code(one, language) for one in value)
        return f"new Object[]{{{inner}}}" if language == "java" else f"[{inner}]"
    if isinstance(value, dict):
        members = {key: code(some[0], language) for key, some in value.items()}
        if language == "java":
            return "new HashMap<String, String>() {{ " + " ".join(f'put("{key}", {one});' for key, one in members.items()) + " }}"
        return "{" + ", ".join(f"{key}: {one}" for key, one in members.items()) + "}"
    return str(value)


def corrupted(calls: Sequence[ToolCall], pick: random.Random) -> list[ToolCall]:
    """One fault, drawn: a call left out, twice, renamed, or with an argument dropped, made up, or of another value or type."""
    made = list(calls)
    at = pick.randrange(len(made)) if made else 0
    fault = pick.randrange(8)
    if not made or fault == 0:
        return made[:-1]
    call = made[at]
    arguments = dict(call.arguments)
    name = pick.choice(list(arguments)) if arguments else ""
    if fault == 1:
        return [*made, call]
    if fault == 2:
        made[at] = ToolCall(name=call.name + "_x", arguments=arguments)
        return made
    if fault == 3:
        return list(reversed(made))
    if fault == 4 and name:
        del arguments[name]
    elif fault == 5:
        arguments["made_up"] = 1
    elif name:
        arguments[name] = other(arguments[name], pick)
    made[at] = ToolCall(name=call.name, arguments=arguments)
    return made


def other(value: Any, pick: random.Random) -> Any:
    if isinstance(value, list) and value:
        return pick.choice([value[::-1], value[:-1], [*value, value[0]], str(value), [other(value[0], pick), *value[1:]]])
    if isinstance(value, dict) and value:
        key = pick.choice(list(value))
        return pick.choice(
            [{**value, key: other(value[key], pick)}, {one: two for one, two in value.items() if one != key}, {**value, "x": 1}]
        )
    choices = [str(value), f"{value}!", f" {value}.", str(value).upper(), 7, 7.0, True, None, "", [], {}, [value]]
    return pick.choice([one for one in choices if type(one) is not type(value) or one != value])


def theirs(checker: Any, row: Any, calls: Sequence[ToolCall], truth: Any, category: str) -> str:
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]

    made = [{call.name: dict(call.arguments)} for call in calls]
    try:
        found = checker.ast_checker(row["function"], made, truth, Language(language_of(category)), category, "m")
    except Exception as error:
        return f"crash:{type(error).__name__}"
    return "ok" if found["valid"] else str(found["error_type"]).removeprefix("simple_function_checker:").rsplit("checker_no_order:")[-1]


@pytest.mark.parametrize("category", wheel.AST)
def test_every_verdict_is_the_wheels(category: str, located: Path, checker: Any) -> None:
    folder = wheel.data_folder()
    truths = {row["id"]: row["ground_truth"] for row in wheel.rows(folder / "possible_answer", category)}
    pick, seen, crashes = random.Random(category), 0, 0
    for row in wheel.rows(folder, category):
        truth = truths[row["id"]]
        calls = gold(truth, language_of(category))
        for made in [calls, *(corrupted(calls, pick) for _ in range(CORRUPTIONS))]:
            wanted = theirs(checker, row, made, truth, category)
            if wanted.startswith("crash"):
                crashes += 1
                continue
            found = verdict(row["function"], made, truth, category)
            assert (found == "ok") == (wanted == "ok"), (row["id"], made, found, wanted)
            if "count" not in wanted:
                assert found == wanted, (row["id"], made)
            seen += 1
    assert (seen, crashes) == (11 * len(truths), 0)


COUNTS = dict(zip(wheel.CATEGORIES, (400, 100, 50, 200, 200, 200, 258, 1053, 16, 24, 240, 884, 16), strict=True))


@pytest.mark.parametrize("category", wheel.CATEGORIES)
def test_categories_are_read_whole(category: str, located: Path) -> None:
    found = suites.load(f"bfcl:{category}")
    assert len(found.cases) == COUNTS[category]
    assert not found.left_out
    assert {bool(case.answers) for case in found.cases} == {category in wheel.AST}


def test_the_same_command_in_another_process_is_the_same_run(tmp_path: Path, located: Path) -> None:
    given = ["eval", "bfcl:ast", "--model", "chance", "--sample", "10%", "-o", str(tmp_path / "run")]
    for seed in ("1", "2"):  # of Python's own hashes, by which sets are printed
        done = subprocess.run([sys.executable, "-m", "agenttune", *given], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("category", wheel.AST)
def test_whoever_knows_the_answers_is_right_by_both_rules(category: str, located: Path) -> None:
    found = suites.load(f"bfcl:{category}")
    language = language_of(category)
    truths = {row["id"]: row["ground_truth"] for row in wheel.rows(wheel.data_folder() / "possible_answer", category)}
    steps = [Step(calls=tuple(gold(truths[case.id], language)), outcome="ok") for case in found.cases]
    scores = score_cases(found.cases, lambda _: steps, found.judge)
    ours, compat = estimate(scores, "call"), estimate(scores, "bfcl_compat")
    assert ours is not None and compat is not None
    print(category, [(one.case, one.reason) for one in scores if not one.call][:5], ours.value, compat.value)
    assert ours.value >= (0.99 if language == "python" else 0.75)
    assert compat.value >= (0.99 if language == "python" else 0.75)


def test_ours_is_stricter_where_theirs_folds(located: Path) -> None:
    found = suites.load("bfcl:simple_python")
    case = found.cases[0]  # base 10, height 5, unit "units" or nothing

    def judged(**arguments: Any) -> tuple[bool | None, float]:
        step = Step(calls=(ToolCall(name="calculate_triangle_area", arguments=arguments),), outcome="ok")
        made = found.judge(case, step)
        return made.call, made.counts["bfcl_compat"][0]

    assert judged(base=10, height=5) == (True, 1.0)
    assert judged(base=10, height=5, unit="Units") == (True, 1.0)
    assert judged(base=10, height=5, unit="u-n.i*ts") == (False, 1.0)
    assert judged(base=10.0, height=5) == (True, 0.0)  # 10.0 is an integer in JSON Schema, and none there
    assert judged(base="10", height=5) == (False, 0.0)


def test_240_unparsable_outputs_are_no_abstention(located: Path) -> None:
    found = suites.load("bfcl:irrelevance")
    broken = Step(calls=(Malformed(text="?", reason="r"),), outcome="malformed")
    scores = score_cases(found.cases, lambda batch: [broken for _ in batch], found.judge)
    ours, theirs_ = estimate(scores, "abstained"), estimate(scores, "irrelevance_bfcl")
    assert ours is not None and theirs_ is not None
    assert (ours.value, ours.n, theirs_.value, theirs_.n) == (0.0, 240, 1.0, 240)


def test_relevance_asks_for_a_call_of_any_kind(located: Path) -> None:
    found = suites.load("bfcl:live_relevance")
    case = found.cases[0]
    called = found.judge(case, Step(calls=(ToolCall(name="any", arguments={}),), outcome="ok"))
    answered = found.judge(case, Step(answer="no", outcome="ok"))
    assert (called.abstained, called.reason, called.counts["called"]) == (None, "ok", (1, 1))
    assert (answered.abstained, answered.reason, answered.counts["called"]) == (None, "answered", (0, 1))


def test_a_wrong_category_and_a_missing_wheel_are_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no category "simple_pyton" \(did you mean "simple_python"\?\)'):
        suites.load("bfcl:simple_pyton")
    with pytest.raises(UserError, match='no category ""'):
        suites.load("bfcl")
    monkeypatch.setenv(wheel.VARIABLE, str(tmp_path))
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip download --no-deps bfcl-eval"):
        suites.load("bfcl:simple_python")


@pytest.mark.parametrize(
    ("code", "kind", "inner", "value"),
    [
        ("5L", "long", None, 5),
        ("5", "long", None, "5"),
        ("3.5f", "float", None, 3.5),
        ("true", "boolean", None, True),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ('new ArrayList<String>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<>()", "ArrayList", None, []),
        ('new HashMap<String, Object>() {{ put("k", 1); put("l", "v"); }}', "HashMap", None, {"k": 1, "l": "v"}),
        ("anything", "any", None, "anything"),
    ],
)
def test_java_literals(code: str, kind: str, inner: str | None, value: Any) -> None:
    assert read_java(code, kind, inner) == value


@pytest.mark.parametrize(
    ("code", "kind", "inner", "value"),
    [
        ("'a'", "String", None, "a"),
        ("5n", "Bigint", None, 5),
        ("false", "Boolean", None, False),
        ("[1, 2]", "array", "integer", [1, 2]),
        ("new Array(1, 2)", "array", None, [1, 2]),
        ("[[1], ['a', true]]", "array", None, [[1], ["a", True]]),
        ("{'k': 1, l: 'v'}", "dict", None, {"k": 1, "l": "v"}),
        ("f()", "any", None, "f()"),
    ],
)
def test_javascript_literals(code: str, kind: str, inner: str | None, value: Any) -> None:
    assert read_javascript(code, kind, inner) == value
