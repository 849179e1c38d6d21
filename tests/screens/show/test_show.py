"""One record of a file as a person reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from agenttune import protocols
from agenttune.data.convert.run import convert
from agenttune.data.render import render
from agenttune.errors import UserError
from agenttune.models.scripted import ByteTokenizer
from agenttune.protocols.base import write
from agenttune.screens.show.records import read_record, record_at
from agenttune.screens.show.sharing import line_of_packs
from agenttune.screens.show.show import WIDE, samples_of, show, show_read
from agenttune.screens.show.stats import gather, show_stats, summary
from agenttune.screens.show.tokens import show_rendered, token_lines
from agenttune.screens.show.views import tree
from agenttune.templates import load
from agenttune.values.sample import Sample, Turn, sample_to_json
from agenttune.values.tokens import Rendered
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory
from agenttune.values.trajectory_json import trajectory_to_json

EVIL = "\x1b]0;owned\x07\x9b2J[red]x[/red]"
SAFE = "\\x1b]0;owned\\x07\\x9b2J[red]x[/red]"
ADD = ToolSpec(
    name="add", description="Adds.", parameters={"type": "object", "properties": {"left": {"type": "integer"}, "how": {"enum": ["a", 1]}}}
)


def trajectory() -> Trajectory:
    """A failed call, a repaired one, an answer; then a question nobody answered."""
    return Trajectory(
        id="t1",
        group="sums",
        system="Be kind.",
        tools=(ADD,),
        stop="answer",
        notes=("call_url: http://x",),
        rounds=(
            Round(
                user="1+2?",
                steps=(
                    Step(thought="I add.", calls=(ToolCall(name="add", arguments={"left": "x"}),), weight=0.0,
                         observations=(Observation(text="not a number", error=True),)),
                    Step(reasoning="Hm.", calls=(ToolCall(name="add", arguments={"left": 1}), Malformed(text="add(2", reason="no JSON")),
                         observations=(Observation(text="3\nrows", provenance="web"),)),
                    Step(thought="I know.", answer="It is 3."),
                ),
            ),
            Round(user="Thanks"),
        ),
    )  # fmt: skip


def shown(record: Any, screen: Any, tmp_path: Path, index: int = 0, **options: Any) -> str:
    """What is on the screen for a record of a file that holds it alone (or, for a list, these)."""
    path = tmp_path / "file.jsonl"
    rows = record if isinstance(record, list) else [record]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = screen(**options)
    show_read(made.console, read_record(record_at(str(path), index)))
    return str(made.text)


def test_a_trajectory_in_full(screen: Any, tmp_path: Path) -> None:
    text = shown(trajectory_to_json(trajectory()), screen, tmp_path)
    assert text.split("\n")[1:] == [
        "changed in reading: call_url: http://x",
        "system   Be kind.",
        'tools    add(left: integer, how: ["a", 1])  Adds.',
        "user     1+2?",
        "(context only: the next step is not trained)",
        "thought  I add.",
        'call     add {"left": "x"}',
        "error    not a number",
        "reasons  Hm.",
        'call     add {"left": 1}',
        "result   (untrusted) 3",
        "         rows",
        "call     add(2",
        "unread   no JSON",
        "thought  I know.",
        "answer   It is 3.",
        "user     Thanks",
        "(nobody answered)",
        "",
    ]
    assert re.fullmatch(r"t1  \S+file.jsonl:1  group sums  2 rounds, 3 steps  ended by answer", text.split("\n")[0])


def sample() -> Sample:
    """Two turns, of which the first is context only."""
    meta = {"source": "a.jsonl", "line": 7, "group": "sums", "changes": {"x": 1}}
    turns = (
        Turn(system="Tools:\nadd", input="1+2?", output='Thought: I add.\nAction: add\nAction Input: {"left": 1}', weight=0.0),
        Turn(system="Observation: 3", output="Final Answer: It is 3.", weight=0.5),
        Turn(input="and?"),
    )
    return Sample(id="s1", protocol="react", tools=(ADD,), turns=turns, meta=meta)


def test_a_sample_turn_by_turn(screen: Any, tmp_path: Path) -> None:
    assert shown(sample_to_json(sample()), screen, tmp_path).split("\n") == [
        's1  a.jsonl:7  group sums  protocol react  3 turns, 1 tool  changed: {"x": 1}',
        "- turn 1, context only",
        "system   Tools:",
        "         add",
        "input    1+2?",
        "output   Thought: I add.",
        "         Action: add",
        '         Action Input: {"left": 1}',
        "- turn 2, weight 0.5",
        "system   Observation: 3",
        "output   Final Answer: It is 3.",
        "- turn 3",
        "input    and?",
        "(no output: nobody answered)",
        "",
    ]


def test_a_sample_of_an_unknown_protocol_or_broken_one_is_still_shown(screen: Any, tmp_path: Path) -> None:
    assert "output   out\n" in shown({"protocol": "other", "conversation": [{"input": "in", "output": "out"}]}, screen, tmp_path)
    text = shown({"conversation": [{"input": 3}]}, screen, tmp_path)
    assert "cannot be converted: system, input and output of turn 1 must be text (sample)\n" in text
    assert "input: 3" in text


def test_a_reject_says_why_and_shows_its_record(screen: Any, tmp_path: Path) -> None:
    reject = {
        "file": "in.jsonl",
        "line": 3,
        "id": "r",
        "code": "json",
        "sentence": "not JSON",
        "excerpt": "{x",
        "record": '{"a": [1, "two\\nlines"]}',
    }
    assert shown(reject, screen, tmp_path).split("\n") == [
        "rejected: json  in.jsonl:3  r",
        "why      not JSON",
        "excerpt  {x",
        "record   a:",
        "           [0]: 1",
        "           [1]:",
        "             two",
        "             lines",
        "",
    ]


MSAGENT = {
    "id": "m1",
    "conversations": [
        {"from": "user", "value": "1+2?"},
        {"from": "assistant", "value": '<|startofthink|>{"api_name": "add", "parameters": {"left": 1}}<|endofthink|>'
         "<|startofexec|>3<|endofexec|>\nIt is 3."},
    ],
}  # fmt: skip


def test_a_raw_record_before_and_after(screen: Any, tmp_path: Path) -> None:
    text = shown(MSAGENT, screen, tmp_path)
    before, after = text.split("\n\nafter\n")
    assert before.startswith("before\nrecord   id: m1\n         conversations:\n           [0]:\n             from: user\n")
    assert 'user     1+2?\ncall     add {"left": 1}\nresult   3\nanswer   It is 3.\n' in after


def test_before_and_after_stand_side_by_side_where_there_is_room(screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for colour in (None, "truecolor"):
        text = shown(MSAGENT, screen, Path(), width=WIDE + 2, terminal=True, colour=colour)
        lines = text.rstrip("\n").split("\n")
        half = 61
        assert lines[0] == "before".ljust(half) + " │ after"
        assert {cell_len(line.partition(" │")[0]) for line in lines} == {half}
        assert max(map(cell_len, lines)) <= WIDE + 2
        right = [line.partition(" │ ")[2] for line in lines]
        assert right[2:6] == ["user     1+2?", 'call     add {"left": 1}', "result   3", "answer   It is 3."]


def test_a_raw_record_that_cannot_be_converted_says_why(screen: Any, tmp_path: Path) -> None:
    broken = {"conversations": [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "<|startofthink|>nonsense<|endofthink|>"}]}
    text = shown(broken, screen, tmp_path)
    assert "nonsense" in text.split("after")[0]
    assert "cannot be converted: " in text.split("after")[1]


def test_what_no_source_knows_is_shown_as_it_is(screen: Any, tmp_path: Path) -> None:
    assert (
        shown({"x": {"y": [True, None, {}]}}, screen, tmp_path)
        == "record   x:\n           y:\n             [0]: true\n             [1]: null\n             [2]: {}\n"
    )
    (tmp_path / "bad.jsonl").write_text('{"broken\n')
    made = screen()
    show_read(made.console, read_record(record_at(str(tmp_path / "bad.jsonl"), 0)))
    assert 'record   {"broken\n' in made.text
    assert "(json)" in made.text


def test_a_deep_value_does_not_end_the_program() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    lines = list(tree(deep))
    assert len(lines) == 25
    assert lines[-1].strip().startswith("[[[")


@pytest.mark.parametrize("kind", ["trajectory", "sample", "reject", "raw", "unknown"])
@pytest.mark.parametrize("terminal", [False, True])
def test_everything_shown_is_inert(kind: str, terminal: bool, screen: Any, tmp_path: Path) -> None:
    evil = trajectory_to_json(
        Trajectory(id=EVIL, group=EVIL, system=EVIL, tools=(ToolSpec(name=EVIL, description=EVIL),), notes=(EVIL,), stop=EVIL,
                   rounds=(Round(user=EVIL, steps=(Step(thought=EVIL, calls=(ToolCall(name=EVIL, arguments={EVIL: EVIL}),)),)),))
    )  # fmt: skip
    records: dict[str, Any] = {
        "trajectory": evil,
        "sample": {
            "id": EVIL,
            "protocol": EVIL,
            "conversation": [{"system": EVIL, "input": EVIL, "output": EVIL}],
            "meta": {"group": EVIL, "source": EVIL},
        },
        "reject": {"file": EVIL, "line": EVIL, "code": EVIL, "sentence": EVIL, "excerpt": EVIL, "record": {EVIL: EVIL}},
        "raw": {"id": EVIL, "conversations": [{"from": "user", "value": EVIL}, {"from": "assistant", "value": EVIL + "<|startofthink|>x"}]},
        "unknown": {EVIL: [EVIL, {EVIL: EVIL}]},
    }
    text = shown(records[kind], screen, tmp_path, width=1000, terminal=terminal, colour="truecolor" if terminal else None)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert SAFE in text


def test_an_index_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    for index in (2, -1):
        with pytest.raises(UserError, match=rf"f\.jsonl has records 0 to 1; there is no --index {index}$"):
            show(str(path), index=index)
    path.write_text('{"a": 1}\n')
    with pytest.raises(UserError, match="has only record 0; there is no --index 1"):
        show(str(path), index=1)
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no record"):
        show(str(path))
    with pytest.raises(UserError, match="there is no file"):
        show(str(tmp_path / "none.jsonl"))


def test_show_prints_what_the_record_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in ({"x": 1}, sample_to_json(sample()))))
    assert show(str(path), index=1) == 0
    assert capsys.readouterr().out.startswith(f"{path}, record 1: a sample\ns1  a.jsonl:7")


# Tokens


def test_each_token_is_to_be_seen_and_the_trained_ones_are_marked(screen: Any) -> None:
    tokenizer = ByteTokenizer()
    template = load("auto", tokenizer)
    made = Sample(id="x", turns=(Turn(system="S", input="é\t", output="Final Answer: 天", weight=1.0),))
    (rendered,) = render(made, template, tokenizer)
    lines = [line.plain for line in token_lines(rendered, tokenizer, None, colour=False)]
    assert lines == [
        "<|im_start|>¦s¦y¦s¦t¦e¦m¦⏎¦",
        "S¦<|im_end|>¦⏎¦",
        "<|im_start|>¦u¦s¦e¦r¦⏎¦",
        "‥¦é¦⇥¦<|im_end|>¦⏎¦",
        "<|im_start|>¦a¦s¦s¦i¦s¦t¦a¦n¦t¦⏎¦",
        "⟦F⟧⟦i⟧⟦n⟧⟦a⟧⟦l⟧⟦ ⟧⟦A⟧⟦n⟧⟦s⟧⟦w⟧⟦e⟧⟦r⟧⟦:⟧⟦ ⟧⟦‥⟧⟦‥⟧⟦天⟧⟦<|im_end|>⟧",
    ]


def test_context_only_turns_are_not_marked_and_the_counts_add_up(screen: Any) -> None:
    tokenizer = ByteTokenizer()
    (rendered,) = render(sample(), load("auto", tokenizer), tokenizer)
    made = screen(width=60)
    show_rendered(made.console, rendered, tokenizer)
    assert "A¦c¦t¦i¦o¦n¦:¦" in made.text
    assert "⟦I⟧⟦t⟧⟦ ⟧⟦i⟧⟦s⟧⟦ ⟧⟦3⟧⟦.⟧⟦<|im_end|>⟧" in made.text
    rows = {cells[0]: cells[1:] for cells in (line.split() for line in made.lines) if len(cells) == 3}
    assert rows["thought"] == ["16", "0"]  # "Thought: I add." and its line end
    assert rows["answer"] == ["0", "22"]
    assert rows["stop"] == ["1", "1"]
    assert rows["all"] == [str(len(rendered.token_ids) - 23), "23"]
    assert "the trained tokens weigh 11.5 together" in made.text


def test_with_colour_there_are_no_brackets_and_lines_fit(screen: Any) -> None:
    tokenizer = ByteTokenizer()
    (rendered,) = render(sample(), load("auto", tokenizer), tokenizer)
    made = screen(width=40, colour="truecolor", terminal=True)
    show_rendered(made.console, rendered, tokenizer)
    assert "⟦" not in made.text
    assert "Final Answer: It is 3.<|im_end|>" in made.text
    assert re.search(r"\x1b\[30;42mF\x1b\[0m\x1b\[30;102mi\x1b\[0m", made.raw) or re.search(
        r"\x1b\[30;102mF\x1b\[0m\x1b\[30;42mi\x1b\[0m", made.raw
    )
    assert max(map(cell_len, made.lines)) <= 40


def test_tokens_are_inert(screen: Any) -> None:
    tokenizer = ByteTokenizer()
    made = screen(width=1000, colour="truecolor", terminal=True)
    evil = Sample(id="x", turns=(Turn(input=EVIL, output=f"Final Answer: {EVIL}"),))
    show_rendered(made.console, render(evil, load("auto", tokenizer), tokenizer)[0], tokenizer)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", made.text)
    assert made.text.count("\\x1b]0;owned\\x07") == 2


def test_samples_of_a_trajectory_are_written_under_react_and_others_have_none(tmp_path: Path) -> None:
    whole = Trajectory(id="t", rounds=(Round(user="hi", steps=(Step(answer="Hello."),)),))
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(trajectory_to_json(whole)) + '\n{"x": 1}\n')
    (made,) = samples_of(read_record(record_at(str(path), 0)))
    assert (made.protocol, made.turns) == ("react", write(whole, protocols.get("react")).turns)
    with pytest.raises(UserError, match="this record has no tokens to show: JSON in a form that no source knows"):
        samples_of(read_record(record_at(str(path), 1)))


def test_tokens_of_a_model(smollm2: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(sample_to_json(sample())) + "\n", encoding="utf-8")
    assert show(str(path), tokens=smollm2) == 0
    text = capsys.readouterr().out
    assert "s1  protocol react, template auto, tokenizer smollm2-135m\n" in text
    assert "⟦Final⟧⟦ Answer⟧⟦:⟧⟦ It⟧⟦ is⟧⟦ ⟧⟦3⟧⟦.⟧⟦<|im_end|>⟧" in text
    with pytest.raises(UserError, match='there is no template "automatic"'):
        show(str(path), tokens=smollm2, template="automatic")


# The whole file


def test_counts_over_a_file_add_up(screen: Any, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    reject = {"file": "x", "line": 1, "code": "json", "sentence": "s", "record": None}
    rows = [sample_to_json(sample()), trajectory_to_json(trajectory()), MSAGENT, reject, {"x": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    stats = gather(str(path))
    assert +stats.kinds == {"sample, react": 1, "trajectory": 1, "msagent": 1, "reject": 1, "unknown": 1, "unreadable": 1}
    assert stats.reasons == {"json": 2}
    assert stats.tools == {"add": 4}
    assert stats.steps["answers"] == 3
    assert stats.steps["malformed calls"] == 1
    assert stats.steps["not answered"] == 1
    assert stats.steps["context only"] == 1
    assert stats.sizes["steps"] == [3, 2]
    assert stats.groups >= {"sums"}
    made = screen(width=60)
    show_stats(made.console, str(path), None, "auto")
    assert made.text.startswith(f"{path}: 6 records\n")
    assert re.search(r"^  sample, react +1$", made.text, re.MULTILINE)


def test_tokens_over_a_file_are_those_of_its_renderings(tmp_path: Path) -> None:
    tokenizer = ByteTokenizer()
    template = load("auto", tokenizer)
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(sample_to_json(sample())) + "\n")
    stats = gather(str(path), lambda one: render(one, template, tokenizer))
    (rendered,) = render(sample(), template, tokenizer)
    assert stats.sizes["tokens"] == [len(rendered.token_ids)]
    assert stats.sizes["tokens trained"] == [23]


def test_what_samples_share_is_said_by_cause() -> None:
    # One prompt [1 2 3]; answers [4 5] and [6 5], of which the last token is predicted and never computed.
    rows = (((1, 2, 3, 4, 5), "a"), ((1, 2, 3, 6, 5), "b"))
    made = [Rendered(token_ids=ids, weights=(0, 0, 0, 1, 1), kinds=(), prompt_ends=(3,), id=name) for ids, name in rows]
    said = "10 tokens, 5 computed (50 % saved: 3 tool lists and requests, 2 behind the last trained token)"
    assert line_of_packs(made) == f"in 1 Packs of up to 16 samples: {said}"


def test_an_empty_file_has_no_counts(screen: Any, tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no record"):
        show_stats(screen().console, str(tmp_path / "f.jsonl"), None, "auto")


def test_ranks_of_a_list() -> None:
    assert summary([5]) == (5, 5, 5, 5, 5)
    assert summary(list(range(1, 101))) == (1, 50, 95, 100, 5050)
    assert summary([3, 1, 2]) == (1, 2, 3, 3, 6)


def test_real_records_are_shown_on_both_sides(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(str(data_dir / "msagent" / "ms_agent_bench_20.jsonl")) == 0
    text = capsys.readouterr().out
    assert ", record 0: msagent (" in text
    assert "call     modelscope_text-ie {" in text.split("\nafter\n")[1]


def test_a_sample_stands_beside_the_record_it_was_made_of(screen: Any, tmp_path: Path) -> None:
    raw = [{"messages": [{"role": "user", "content": f"raw {n}"}, {"role": "assistant", "content": f"said {n}"}]} for n in range(3)]
    source, out = tmp_path / "in.json", tmp_path / "out.jsonl"
    source.write_text(json.dumps(raw), encoding="utf-8")
    convert("openai", [str(source)], str(out))

    def seen(width: int) -> list[str]:
        made = screen(width=width, terminal=True)
        show_read(made.console, read_record(record_at(str(out), 1)))
        return [line for line in made.lines if line.strip()]

    wide, narrow = seen(WIDE), seen(80)
    assert any("content: said 1" in line.split("│")[0] for line in wide)
    assert any("output   Final Answer: said 1" in line.split("│")[-1] for line in wide if "│" in line)
    assert narrow.index("before") < narrow.index("             content: said 1") < narrow.index("after")
    assert narrow.index("after") < narrow.index("output   Final Answer: said 1")
    source.unlink()
    assert "before" not in seen(80)


def test_a_source_of_a_sample_that_is_no_data_file_is_not_opened(screen: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    shown_text = shown({"conversation": [{"output": "x"}], "meta": {"source": str(secret), "line": 1}}, screen, tmp_path)
    assert "before" not in shown_text
    assert "secret\n" not in shown_text


def test_system_texts_that_lie_in_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"from": "user", "value": "q"}, {"from": "assistant", "value": 'Thought: t\nAction: finish\nAction Input: {"answer": "a"}'}]
    source, systems = tmp_path / "in.jsonl", tmp_path / "systems.json"
    source.write_text(json.dumps({"scenario": "one", "conversations": turns}) + "\n", encoding="utf-8")
    systems.write_text(json.dumps({"one": "You are in scenario one."}), encoding="utf-8")
    assert show(str(source), systems=str(systems)) == 0
    assert "You are in scenario one." in capsys.readouterr().out
    assert show(str(source), systems=str(systems), stats=True) == 0
    with pytest.raises(UserError, match="the file of system texts"):
        show(str(source), systems=str(tmp_path / "none.json"))
