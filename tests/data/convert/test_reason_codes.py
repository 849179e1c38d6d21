"""Every reason that a record or a conversation is refused or warned about for: where it stood, a sentence, and the text that shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert
from agenttune.data.quality.finding import REJECT, SEVERITY
from agenttune.sources.reading import records
from agenttune.values.sample import Sample

TOOL = {
    "name": "weather",
    "description": "Weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}}, "required": ["city"]},
}
USER = {"role": "user", "content": "Wetter in Köln?"}
SEEN = {"role": "tool", "content": "12"}
DONE = {"role": "assistant", "content": "It is 12."}


def call(name: str = "weather", **arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": json.dumps(arguments)}}]}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "the-id", "messages": list(messages), "tools": [TOOL], **fields}


@dataclass(frozen=True)
class Long:
    """A measure that finds every sample long."""

    def name(self) -> str:
        return "long"

    def tokens(self, sample: Sample, /) -> int:
        return 5000


GOOD = chat(USER, call(city="Köln"), SEEN, DONE)
# What is wrong, the code, and a part of the text that must be shown.
WARNED = [
    (chat(USER, call("wether", city="Köln"), SEEN, DONE), "unknown_tool", "wether"),
    (chat(USER, call(city="Köln"), SEEN, DONE, tools=[]), "undeclared_tools", "weather"),
    (chat(USER, call(city="Köln", when="now"), SEEN, DONE), "argument_unknown", "when"),
    (chat(USER, call(unit="c"), SEEN, DONE), "argument_missing", "unit"),
    (chat(USER, call(city=3), SEEN, DONE), "argument_type", '"city": 3'),
    (chat(USER, call(city="Köln", unit="k"), SEEN, DONE), "argument_choice", '"k"'),
    (chat(USER, call(city="Köln"), USER, DONE), "call_without_result", "weather"),
    (chat(USER, {**USER, "content": "Hallo?"}, DONE), "unanswered_user", "Wetter in Köln?"),
    (chat({"role": "system", "content": "Hi.\nUser: do it\nAssistant: ok"}, USER, DONE), "system_dialogue", "User: do it"),
    (chat({**USER, "content": "a <|im_end|> b"}, DONE), "control_tokens", "<|im_end|>"),
    (chat(USER, call(city="Köln"), {**SEEN, "content": "x</s>"}, DONE), "control_tokens", "</s>"),
    (chat(USER, {**DONE, "content": "I look.\nObservation: 12\nIt is 12."}), "invented_observation", "Observation: 12"),
    (chat(USER, {**DONE, "content": "It is 12.</think>"}), "stray_markup", "</think>"),
    (chat(USER, {**DONE, "content": "<think>It is 12, I believe."}), "stray_markup", "<think>"),
    (chat(USER, {**DONE, "content": "It is 12.\n</user_visible>"}), "stray_markup", "</user_visible>"),
    (chat(USER, {**call(city="Köln"), "content": "Look.</think>"}, SEEN, DONE), "stray_markup", "Look.</think>"),
    (chat(USER, {**DONE, "content": "It is 12.<|im_end|>"}), "control_tokens", "<|im_end|>"),
    (chat(USER, call(city="Köln"), SEEN), "result_unread", "12"),
]
REFUSED: list[tuple[Any, str, str | None]] = [
    ('{"id": "the-id", "messages": [', "json", '"messages": ['),
    (b'{"id": "\xff"}', "encoding", '{"id": "'),
    ('{"id": "\\ud800"}', "surrogate", "ud800"),
    (json.dumps(chat(USER, {"role": "system", "content": "late"}, DONE)), "order", "late"),
    (json.dumps(chat(USER, {"role": "owl", "content": "hoot"}, DONE)), "role", "hoot"),
    (json.dumps(chat(USER, SEEN, DONE)), "orphan", "12"),
    (json.dumps(chat(USER)), "empty", None),
    (json.dumps(chat(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{x"}}]})), "arguments", "{x"),
    (json.dumps(chat(USER, {"role": "assistant", "content": " ", "reasoning_content": "Hm."}, USER, DONE)), "empty_answer", None),
    (json.dumps(chat(USER, {"role": "assistant", "content": None}, USER, DONE)), "empty_answer", None),
    (json.dumps(chat(USER, {**DONE, "weight": 0})), "empty_supervision", "Wetter in Köln?"),
    (json.dumps(chat(USER, {**DONE, "content": "Act: look outside"})), "call_as_text", "Act: look outside"),
    (json.dumps(chat(USER, {**DONE, "content": "long" * 100})), "size", "the-id"),
    ('{"id": "the-id", "messages": ' + "[" * 90_000 + "]" * 90_000 + "}", "json", "the-id"),
    ('{"id": "the-id", "messages": [], "messages": [1]}', "key_twice", "messages"),
]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\n" for one in lines))
    return path


@pytest.mark.parametrize(("record", "code", "shown"), WARNED)
def test_what_is_warned_of_and_under_strict_refused(tmp_path: Path, record: Any, code: str, shown: str | None) -> None:
    source = written(tmp_path / "in.jsonl", json.dumps({**GOOD, "id": "other"}), json.dumps(record))
    report = convert("openai", [str(source)], str(tmp_path / "out.jsonl"))
    (found,) = (one for one in rows(tmp_path / "out.findings.jsonl") if one["code"] == code)
    assert (found["file"], found["line"], found["id"], found["severity"]) == (str(source), 2, "the-id", SEVERITY[code])
    assert len(found["sentence"]) > 10
    assert shown is None or shown in found["excerpt"]
    assert report.samples == 2
    if SEVERITY[code] != "note":
        strict = convert("openai", [str(source)], str(tmp_path / "strict.jsonl"), options=ConvertOptions(strict=True))
        assert (strict.samples, strict.rejects) == (1, 1)


@pytest.mark.parametrize(("line", "code", "shown"), REFUSED)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | bytes, code: str, shown: str | None) -> None:
    if code == "size":
        monkeypatch.setattr(records, "LIMIT", len(json.dumps(GOOD)) + 10)
    source = written(tmp_path / "in.jsonl", json.dumps({**GOOD, "id": "a"}), line)
    report = convert("openai", [str(source)], str(tmp_path / "out.jsonl"))
    (reject,) = rows(tmp_path / "out.rejects.jsonl")
    assert (reject["file"], reject["line"], reject["code"]) == (str(source), 2, code)
    assert reject["id"] == ("the-id" if code not in ("json", "encoding", "surrogate", "size", "key_twice") else "")
    assert len(reject["sentence"]) > 10
    assert shown is None or shown in reject["excerpt"]
    assert [(one.code, one.line, one.id) for one in report.refusals] == [(code, 2, reject["id"])]


def test_duplicates_and_lengths_are_found_at_their_lines(tmp_path: Path) -> None:
    named = [{**call(city="Köln")["tool_calls"][0], "id": "another"}]  # what a call is called says nothing
    again = chat(USER, {"role": "assistant", "tool_calls": named}, {**SEEN, "tool_call_id": "another"}, DONE, id="again")
    same = chat(USER, DONE)
    source = written(tmp_path / "in.jsonl", *(json.dumps(one) for one in (GOOD, again, same)))
    convert("openai", [str(source)], str(tmp_path / "out.jsonl"), options=ConvertOptions(measure=Long(), length=4000))
    found = [(one["code"], one["line"], one["id"], bool(one["excerpt"])) for one in rows(tmp_path / "out.findings.jsonl")]
    long = [("too_long", line, name, True) for line, name in ((1, "the-id"), (2, "again"), (3, "the-id"))]
    assert sorted(found) == sorted([*long, ("duplicate_content", 2, "again", True), ("duplicate_id", 3, "the-id", True)])


def test_no_code_of_the_doctor_is_without_an_example() -> None:
    elsewhere = {
        "arguments_unchecked",
        "duplicate_content",
        "duplicate_id",
        "too_long",
        "malformed_call",
        "result_without_call",
        "vanished",
        "misplaced",
        "calls_unread",
    }
    shown = {code for _, code, _ in WARNED} | {code for _, code, _ in REFUSED}
    assert set(SEVERITY) - elsewhere - shown == set()
    grave = ["result_without_call", "empty_answer", "call_as_text", "calls_unread", "empty_supervision"]
    assert [code for code, severity in SEVERITY.items() if severity == REJECT] == grave
