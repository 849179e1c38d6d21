"""OpenAssistant trees: every path, or the best-ranked one."""

from __future__ import annotations

import pytest

from agenttune.errors import Refusal
from agenttune.sources import oasst
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Trajectory


def message(id: str, text: str, *replies: Json, role: str = "assistant", rank: Json = None) -> Json:
    return {"message_id": id, "role": role, "text": text, "rank": rank, "replies": list(replies)}


TREE = message(
    "p",
    "q",
    message("a1", "second", rank=1),
    message("a0", "first", message("u", "more?", message("b", "late"), message("c", "better", rank=0), role="prompter"), rank=0),
    message("a2", "unranked"),
    role="prompter",
)


def read(record: Json, branches: str = "all") -> list[Trajectory]:
    found = []
    for one in oasst.read(record, ReadOptions(branches="best" if branches == "best" else "all")):
        assert isinstance(one, Trajectory)
        found.append(one)
    return found


def said(found: list[Trajectory]) -> list[list[str]]:
    return [[text for round_ in one.rounds for text in (round_.user, *(step.answer or "" for step in round_.steps))] for one in found]


def test_every_path_best_ranked_first() -> None:
    found = read({"message_tree_id": "t", "prompt": TREE})
    assert said(found) == [["q", "first", "more?", "better"], ["q", "first", "more?", "late"], ["q", "second"], ["q", "unranked"]]
    assert [one.id for one in found] == ["c", "b", "a1", "a2"]
    assert {one.group for one in found} == {"tree:t"}


def test_the_best_ranked_path_alone() -> None:
    (best,) = read({"prompt": TREE}, "best")
    assert said([best]) == [["q", "first", "more?", "better"]]
    assert best.notes == ("branches_left_out", "message_fields_dropped: message_id, rank")
    (only,) = read({"prompt": message("p", "q", message("a", "yes"), role="prompter")}, "best")
    assert only.notes == ("message_fields_dropped: message_id",)


def test_flat_messages_make_the_same_tree() -> None:
    rows: list[Json] = []

    def flatten(one: Json, parent: Json) -> None:
        rows.append({key: value for key, value in one.items() if key != "replies"} | {"parent_id": parent, "message_tree_id": "t"})
        for reply in one["replies"]:
            flatten(reply, one["message_id"])

    flatten(TREE, None)
    tree = said(read({"prompt": TREE}))
    assert said(read(rows)) == said(read({"messages": rows})) == said(read(rows[::-1])) == tree
    with pytest.raises(Refusal) as refused:
        read(rows[1])
    assert refused.value.code == "flat"
    for broken in (rows[1:], [*rows, rows[0]], [*rows, {**rows[1], "message_id": "z", "parent_id": "nobody"}]):
        with pytest.raises(Refusal) as refused:
            read(broken)
        assert refused.value.code == "tree"


def test_a_chain_may_be_long_and_a_question_may_stay_open() -> None:
    rows = [
        {"message_id": str(n), "parent_id": str(n - 1) if n else None, "role": "prompter" if n % 2 == 0 else "assistant", "text": f"m{n}"}
        for n in range(20_001)
    ]
    (found,) = read(rows)
    assert len(found.rounds) == 10_001
    assert found.rounds[-1].steps == ()


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"prompt": message("p", "q", role="prompter")}, "empty"),
        ({"prompt": {"role": "prompter"}}, "shape"),
        ({"prompt": message("p", "q", 3, role="prompter")}, "shape"),
        ({"prompt": {**TREE, "replies": {}}}, "shape"),
        ({"prompt": message("p", "q", message("a", "x", role="robot"), role="prompter")}, "shape"),
        ({"other": 1}, "shape"),
        ([], "tree"),
        ([{"text": "x"}], "shape"),
    ],
)
def test_what_is_refused(record: Json, code: str) -> None:
    found = []
    try:
        found = [one for one in oasst.read(record, ReadOptions()) if isinstance(one, Refusal)]
    except Refusal as error:
        found.append(error)
    assert [one.code for one in found] == [code]


def test_a_broken_message_refuses_the_whole_tree_before_any_path_is_given() -> None:
    broken = message("p", "q", message("a", "x", rank=0), message("b", "y", 3, rank=1), role="prompter")
    seen: list[Json] = []
    with pytest.raises(Refusal):
        seen += oasst.read({"prompt": broken}, ReadOptions())
    assert seen == []


def test_too_many_paths_are_refused_before_they_are_copied() -> None:
    wide = [message(str(n), "x") for n in range(3000)]
    deep = wide
    for n in range(400):
        deep = [message(f"d{n}", "x", *deep, role="prompter" if n % 2 else "assistant")]
    with pytest.raises(Refusal, match="paths"):
        read({"prompt": message("p", "q", *deep, role="prompter")})
