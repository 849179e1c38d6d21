"""The offline encyclopaedia, through the worker as a model uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune.agent.toolbox import find, load
from agenttune.files import shipped
from agenttune.values.trajectory import ToolCall


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AGENTTUNE_SEARCH_DB", raising=False)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("capital of France", "1. France: "),
        ("Who wrote Hamlet?", "1. William Shakespeare: "),
        ("speed of light", "1. Speed of light: The speed of light in empty space is exactly 299,792,458 metres per second"),
        ("deepest lake", "1. Lake Baikal: "),
        ("北京的故宫", "1. 北京: "),
        ("zzzz", "No article was found."),
        ("", "No article was found."),
    ],
)
def test_the_shipped_articles(query: str, first: str) -> None:
    (tool,) = load("local_search")
    assert tool.call({"query": query}).startswith(first)


def test_the_shipped_articles_are_whole() -> None:
    rows = [json.loads(line) for line in (shipped("tools") / "local_search.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 100
    assert len({row["title"] for row in rows}) == len(rows)
    assert all(set(row) == {"title", "text"} and 20 <= len(row["text"]) <= 400 for row in rows)


def test_own_articles_in_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "First. " * 100 + "The gadget weighs 7 kg. " + "Last. " * 100
    (tmp_path / "own.jsonl").write_text(json.dumps({"title": "Gadget", "text": text}) + "\n", encoding="utf-8")
    monkeypatch.setenv("AGENTTUNE_SEARCH_DB", str(tmp_path / "own.jsonl"))
    with find(["local_search"]) as toolbox:
        (seen,) = toolbox.run([ToolCall(name="local_search", arguments={"query": "gadget weighs"})])
        assert seen.text.startswith("1. Gadget: … The gadget weighs 7 kg. Last.")
        assert len(seen.text) < 450
    monkeypatch.setenv("AGENTTUNE_SEARCH_DB", str(tmp_path / "nowhere.jsonl"))
    with find(["local_search"]) as toolbox:
        (seen,) = toolbox.run([ToolCall(name="local_search", arguments={"query": "gadget"})])
        assert (seen.text, seen.error) == ("Error: the articles nowhere.jsonl cannot be read", True)
