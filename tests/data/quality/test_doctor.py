"""What the doctor sees, how grave it finds it, and what the repairs mend."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune.data.convert.duplicates import DigestIndex
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.data.quality import doctor, repairs
from agenttune.data.quality.finding import refusing
from agenttune.data.quality.mask import failed, mask_failed
from agenttune.data.quality.schema_check import mismatches, plainly_fits
from agenttune.errors import UserError
from agenttune.values.trajectory import Json, Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

TOOL = ToolSpec(
    name="find",
    description="d",
    parameters={
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "q": {"type": "string", "enum": ["a", "b"]},
            "deep": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}},
        },
        "required": ["n"],
    },
)
CALL = ToolCall(name="find", arguments={"n": 1})
ANSWERED = Step(calls=(CALL,), observations=(Observation(text="ok"),))
ANSWER = Step(answer="done")


def talk(*steps: Step, user: str = "q", system: str = "", tools: tuple[ToolSpec, ...] = (TOOL,)) -> Trajectory:
    return Trajectory(id="t", file="f", line=7, system=system, tools=tools, rounds=(Round(user=user, steps=steps),))


def codes(trajectory: Trajectory) -> list[str]:
    return [one.code for one in doctor.examine(trajectory)]


def calling(**arguments: Json) -> Trajectory:
    return talk(Step(calls=(ToolCall(name="find", arguments=arguments),), observations=(Observation(text="ok"),)), ANSWER)


CASES: list[tuple[Trajectory, list[str]]] = [
    (talk(ANSWERED, ANSWER), []),
    (talk(ANSWER, tools=()), []),
    (talk(Step(answer='{"action": "find", "action_input": {"n": 1}}')), ["call_as_text"]),
    (talk(Step(answer="<tool_call>find 1</tool_call>")), ["call_as_text", "stray_markup"]),
    (talk(Step(answer="Act: find", weight=0.0), ANSWER), []),
    (talk(ANSWERED, ANSWER, tools=()), ["undeclared_tools"]),
    (talk(Step(calls=(ToolCall(name="fnid", arguments={}),), observations=(Observation(text=""),)), ANSWER), ["unknown_tool"]),
    (calling(n=1, z=2), ["argument_unknown"]),
    (calling(q="a"), ["argument_missing"]),
    (calling(n="1"), ["argument_type"]),
    (calling(n=True), ["argument_type"]),
    (calling(n=1, q="c"), ["argument_choice"]),
    (calling(n=1, deep=[{"x": True}, {"x": 1}]), ["argument_type"]),
    (calling(n=1, deep=[{}]), ["argument_missing"]),
    (talk(Step(calls=(Malformed(text="{", reason="cut"),), observations=(Observation(text="x"),)), ANSWER), ["malformed_call"]),
    (talk(Step(calls=(CALL,)), ANSWER), ["call_without_result"]),
    (talk(Step(calls=(CALL,), observations=(Observation(text="1"), Observation(text="2"))), ANSWER), ["result_without_call"]),
    (talk(ANSWERED), ["result_unread"]),
    (talk(Step(answer=" ")), ["empty_answer"]),
    (talk(ANSWER, user="<|im_start|>system"), ["control_tokens"]),
    (talk(Step(calls=(CALL,), observations=(Observation(text="</s> [INST]"),)), ANSWER), ["control_tokens"]),
    (talk(Step(answer="It is\nObservation: made up")), ["invented_observation"]),
    (talk(Step(answer="so <|startofexec|>1<|endofexec|>")), ["invented_observation"]),
    (talk(Step(thought="t\nAction: find", answer="a")), ["invented_observation"]),
    (talk(Step(answer='Action: find\nAction Input: {"n": 1}\nObservation: 3')), ["call_as_text"]),
    (talk(Step(answer="", thought="t", weight=0.0), ANSWER), ["empty_answer"]),
    (talk(Step(), ANSWER), ["empty_answer"]),
    (talk(Step(answer="so </think> <|im_end|> </answer>")), ["control_tokens"]),
    (talk(Step(thought="<think>a", reasoning="b</scratchpad>", answer="c")), ["stray_markup", "stray_markup"]),
    (talk(Step(answer="a reader takes `</think>` away, and <div> or <name> is HTML, 1 < 2 > 0")), []),
    (talk(ANSWER, system="You help.\nUser: hi\nAssistant: hello"), ["system_dialogue"]),
    (talk(Step(answer="a", weight=0.0)), ["empty_supervision"]),
    (Trajectory(rounds=(Round(user="a"), Round(user="b", steps=(ANSWER,)))), ["unanswered_user"]),
]


@pytest.mark.parametrize(("trajectory", "wanted"), CASES)
def test_findings(trajectory: Trajectory, wanted: list[str]) -> None:
    assert codes(trajectory) == wanted


def test_a_finding_says_where_and_shows_the_text() -> None:
    (one,) = doctor.examine(calling(n=1, zz="value"))
    assert (one.file, one.line, one.id, one.severity) == ("f", 7, "t", "warning")
    assert '"zz" is not a parameter' in one.sentence
    assert "value" in one.excerpt
    (near,) = doctor.examine(talk(Step(calls=(ToolCall(name="fund", arguments={"n": 1}),), observations=(Observation(text="x"),)), ANSWER))
    assert 'did you mean "find"?' in near.sentence


def test_what_is_refused() -> None:
    warned = doctor.examine(talk(Step(calls=(CALL,)), ANSWER))
    assert refusing(warned, strict=False) is None
    assert refusing(warned, strict=True) == warned[0]
    assert refusing(doctor.examine(talk(ANSWERED)), strict=True) is None
    assert refusing(doctor.examine(talk(Step(answer="a", weight=0.0))), strict=False) is not None


# ---- the schema check against the real one ----

names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
leaf = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.5, 2.0]) | st.sampled_from(["", "x"])
values = st.recursive(leaf, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3), max_leaves=6)
schemas = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True), "enum": st.lists(leaf, min_size=1, max_size=3)}
    ),
    lambda inner: (
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(names, inner, min_size=1, max_size=3),
                "additionalProperties": st.just(False),
            },
            optional={"required": st.lists(names, max_size=2, unique=True)},
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}, optional={"type": kinds})
        | st.fixed_dictionaries({"const": leaf})
        | st.just({"$ref": "#/$defs/one"})
    ),
    max_leaves=4,
)
definitions = st.sampled_from([{"type": "integer"}, {"enum": ["x", None]}, {"anyOf": [{"type": "null"}, {"type": "string"}]}])


@settings(max_examples=300, deadline=None)
@given(schemas, definitions, values)
def test_mismatches_agree_with_jsonschema(schema: dict[str, Any], one: dict[str, Any], value: Json) -> None:
    schema = {**schema, "$defs": {"one": one}}
    assert bool(list(mismatches(value, schema))) == bool(list(jsonschema.Draft202012Validator(schema).iter_errors(value)))


flat = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(names, st.fixed_dictionaries({}, optional={"type": kinds}), max_size=3)},
    optional={"required": st.lists(names, max_size=2)},
)


@settings(max_examples=300, deadline=None)
@given(flat | schemas, st.dictionaries(names, leaf, max_size=3))
def test_what_plainly_fits_has_no_mismatch(schema: dict[str, Any], value: dict[str, Json]) -> None:
    assert not plainly_fits(value, schema) or not list(mismatches(value, schema))


def test_the_usual_call_plainly_fits() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}, "c": {}}, "required": ["a"]}
    assert plainly_fits({"a": "x", "b": 1, "c": None}, schema)
    assert not any(plainly_fits(one, schema) for one in ({"b": 1}, {"a": 1}, {"a": "x", "b": True}, {"a": "x", "d": 1}))


@pytest.mark.parametrize(
    "schema",
    [None, [], "x", {"type": "datetime"}, {"type": ["string", "odd"]}, {"properties": []}, {"required": "a"}, {"enum": []}, {"items": 5}],
)
def test_a_schema_that_is_none_says_nothing(schema: Any) -> None:
    assert [one.kind for one in mismatches([1], schema)] == []


@pytest.mark.parametrize(
    ("schema", "right", "wrong", "kind", "said"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, [3, None], "x", "type", "integer or null"),
        ({"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}, ["a", None], "c", "enum", "not one of its choices"),
        ({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, ["a", ["a"]], [1], "type", '"p[0]" is integer'),
        ({"$ref": "#/$defs/Color"}, ["red"], "green", "enum", "not one of its choices"),
        ({"allOf": [{"$ref": "#/$defs/Color"}], "description": "d"}, ["red"], 3, "type", "integer, not string"),
        ({"const": "now"}, ["now"], "then", "enum", "not one of its choices"),
        ({"type": "string", "nullable": True}, ["a", None], 3, "type", "string or null"),
        (
            {"anyOf": [{"type": "object", "properties": {"x": {"type": "integer"}}}, {"type": "null"}]},
            [{"x": 1}],
            {"y": 1},
            "unknown",
            '"p.y"',
        ),
    ],
)
def test_alternatives_and_references_are_read(schema: dict[str, Any], right: list[Json], wrong: Json, kind: str, said: str) -> None:
    whole = {"type": "object", "properties": {"p": schema}, "$defs": {"Color": {"type": "string", "enum": ["red", "blue"]}}}
    for value in right:
        assert list(mismatches({"p": value}, whole)) == []
    (found,) = mismatches({"p": wrong}, whole)
    assert found.kind == kind
    assert said in found.sentence
    assert not plainly_fits({"p": wrong}, whole)


def test_a_reference_to_itself_ends() -> None:
    whole = {"type": "object", "properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert list(mismatches({"p": 1}, whole)) == []
    tree = {"properties": {"inner": {"$ref": "#/$defs/tree"}, "n": {"type": "integer"}}, "type": "object"}
    whole = {"type": "object", "properties": {"p": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}}
    assert [one.where for one in mismatches({"p": {"inner": {"inner": {"n": "x"}}}}, whole)] == ["p.inner.inner.n"]


# ---- repairs ----


def test_types_are_coerced_only_in_spelling() -> None:
    for value, wanted in (("7", 7), (" 7 ", 7), ("x", "x"), ("7.5", "7.5"), ("NaN", "NaN"), (7, 7), ("true", "true"), (None, None)):
        assert repairs.coerced(value, {"type": "integer"}) == wanted
    assert repairs.coerced("True", {"type": "boolean"}) is True
    assert repairs.coerced("[1]", {"type": "array"}) == [1]
    assert repairs.coerced(5, {"type": "string"}) == "5"
    assert repairs.coerced(True, {"type": "string"}) is True
    assert repairs.coerced("7", {}) == "7"
    assert repairs.coerced("7", {"anyOf": [{"type": "integer"}, {"type": "null"}]}) == 7
    assert repairs.coerced("null", {"anyOf": [{"type": "integer"}, {"type": "null"}]}) is None
    assert repairs.coerced("7", {"$ref": "#/$defs/n"}, {"$defs": {"n": {"type": "integer"}}}) == 7


def test_repairs_are_named_and_counted() -> None:
    wrong = talk(
        Step(
            calls=(ToolCall(name="fined", arguments={"n": "3"}), ToolCall(name="zzz", arguments={})),
            observations=(Observation(text=""),) * 2,
        ),
        ANSWER,
    )
    mended = repairs.repaired(wrong, repairs.NAMES)
    assert mended.rounds[0].steps[0].calls == (ToolCall(name="find", arguments={"n": 3}), ToolCall(name="zzz", arguments={}))
    assert mended.notes == ("fixed_tool_name", "fixed_types")
    assert repairs.repaired(talk(ANSWERED, ANSWER), repairs.NAMES) == talk(ANSWERED, ANSWER)


def test_a_tool_list_is_rebuilt_from_the_calls_seen() -> None:
    calls = [
        ToolCall(name="a", arguments={"x": 1, "y": "t"}),
        ToolCall(name="a", arguments={"x": 2.5}),
        ToolCall(name="b", arguments={"z": None}),
    ]
    bare = talk(*(Step(calls=(call,), observations=(Observation(text=""),)) for call in calls), ANSWER, tools=())
    mended = repairs.repaired(bare, ("tool_list",))
    assert mended.tools == (
        ToolSpec(
            name="a", parameters={"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "string"}}, "required": ["x"]}
        ),
        ToolSpec(name="b", parameters={"type": "object", "properties": {"z": {}}, "required": ["z"]}),
    )
    assert codes(mended) == []


def test_an_unknown_repair_is_the_users_to_change() -> None:
    with pytest.raises(UserError, match="did you mean"):
        repairs.refuse_unknown(["types", "type"])


# ---- failed calls ----


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Traceback (most recent call last):\n x", True),
        ("KeyError: 'a'", True),
        ("Error: no", True),
        ("Status Code: 404. Response: x", True),
        ('{"error": "no such city"}', True),
        ('{"error": "", "response": "fine"}', False),
        ('{"error": null}', False),
        ('{"result": "no error here"}', False),
        ("Errors are human.", False),
        ("Status Code: 200. Response: x", False),
        ("fine", False),
        ('{"error": ', False),
    ],
)
def test_which_results_are_failures(text: str, wanted: bool) -> None:
    assert failed(Observation(text=text)) is wanted
    assert failed(Observation(text=text, error=True))


def test_masking_leaves_the_last_unanswered_call_and_answers_alone() -> None:
    bad = Step(calls=(CALL,), observations=(Observation(text="Error: x"),))
    half = Step(calls=(CALL, CALL), observations=(Observation(text="Error: x"), Observation(text="ok")))
    masked, count = mask_failed(talk(bad, Step(calls=(CALL,)), half, ANSWERED, ANSWER, Step(calls=(CALL,))))
    assert [step.weight for step in masked.rounds[0].steps] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert count == 2


# ---- duplicates ----


def test_seen_digests_against_a_dict() -> None:
    chance = random.Random(3)
    known: dict[bytes, tuple[str, int]] = {}
    with DigestIndex() as seen:
        for number in range(1, 20_001):
            head = chance.choice((b"\0" * 8, b"\1" * 8, chance.randbytes(8)))  # many have their first eight bytes in common
            digest = head + chance.randrange(30).to_bytes(24, "big")
            place = (f"file{number % 3}", number)
            assert seen.first(digest, *place) == known.get(digest)
            known.setdefault(digest, place)
        assert seen.count == len(known)


# ---- real data ----


def test_findings_in_real_data_are_what_another_validator_says(data_dir: Path, tmp_path: Path) -> None:
    systems = json.loads((data_dir / "react-gpt4" / "systems.json").read_text(encoding="utf-8"))
    convert("react", [str(data_dir / "react-gpt4" / "dev.jsonl")], str(tmp_path / "o.jsonl"), options=ConvertOptions(systems=systems))
    found = [json.loads(line) for line in (tmp_path / "o.findings.jsonl").read_text(encoding="utf-8").splitlines()]
    wrong: Counter[int] = Counter()
    for number, line in enumerate((data_dir / "react-gpt4" / "dev.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        record = json.loads(line)
        text = systems[record["scenario"]]
        tools = {tool["name"]: tool for tool in json.loads(text[text.index("[{") : text.rindex("}]") + 2])}
        for message in record["conversations"]:
            name, mark, given = message["value"].partition("\nAction Input: ") if message["from"] == "assistant" else ("", "", "")
            name = name.rpartition("Action: ")[2]
            if mark and name != "finish":
                wrong[number] += name not in tools or not _fits(json.loads(given), tools[name])
    codes = {"unknown_tool", "argument_unknown", "argument_missing", "argument_type"}
    assert {one["line"] for one in found if one["code"] in codes} == {number for number, count in wrong.items() if count}
    assert {one["code"] for one in found} <= codes | {"call_without_result"}


def _fits(arguments: Json, tool: dict[str, Any]) -> bool:
    schema = {**tool["parameters"], "required": tool.get("required", []), "additionalProperties": False}
    return not list(jsonschema.Draft202012Validator(schema).iter_errors(arguments))


def test_of_ten_thousand_unknown_arguments_twenty_are_told_and_the_others_counted() -> None:
    tool = ToolSpec(name="find", parameters={"type": "object", "properties": {"n": {"type": "integer"}}})
    call = ToolCall(name="find", arguments={f"a{number}": number for number in range(10_000)})
    found = doctor.examine(Trajectory(tools=(tool,), rounds=(Round(user="q", steps=(Step(calls=(call,)),)),)))
    unknown = [one for one in found if one.code == "argument_unknown"]
    assert len(unknown) == 21
    assert unknown[0].sentence == '"a0" is not a parameter (tool "find")'
    assert unknown[-1].sentence == '9,980 more arguments do not fit (tool "find")'


def test_names_of_many_tools_are_compared_for_some_calls_only() -> None:
    tools = tuple(ToolSpec(name=f"tool{number}") for number in range(500))
    steps = tuple(Step(calls=(ToolCall(name=f"tol{number}", arguments={}),)) for number in range(500))
    found = [one for one in doctor.examine(Trajectory(tools=tools, rounds=(Round(user="q", steps=steps),))) if one.code == "unknown_tool"]
    assert (len(found), sum("did you mean" in one.sentence for one in found)) == (500, 20)


def test_alternatives_of_alternatives_end_at_a_bound_that_is_said() -> None:
    names = [f"d{number}" for number in range(30)]
    defs: dict[str, Any] = {one: {"anyOf": [{"$ref": f"#/$defs/{next_}"}] * 2} for one, next_ in itertools.pairwise(names)}
    schema = {"type": "object", "properties": {"n": {"$ref": "#/$defs/d0"}}, "$defs": {**defs, "d29": {"type": "string"}}}
    tool = ToolSpec(name="find", parameters=schema)
    steps = tuple(Step(calls=(ToolCall(name="find", arguments={"n": number}),)) for number in range(50))
    found = doctor.examine(Trajectory(tools=(tool,), rounds=(Round(user="q", steps=steps),)))
    assert [one.code for one in found if one.code.startswith("argument")] == ["arguments_unchecked"]
