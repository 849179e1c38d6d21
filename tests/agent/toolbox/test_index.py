"""The full-text index: every text is a query, none is syntax."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune.agent.toolbox import ToolError
from agenttune.agent.toolbox.articles.index import Article, build_index, cached_index, match_expression, search_index

ARTICLES = [
    Article(title="Amazon", text="A river in Brazil. Rivers flow to the sea."),
    Article(title="Brazil", text="The largest country of South America. Its capital is Brasília."),
    Article(title="北京", text="北京是中国的首都，故宫位于市中心。"),
    Article(title="上海", text="上海在长江入海口，京沪高铁通到北京以外的许多城市。"),
    Article(title="東京", text="東京は日本の首都です。"),
    Article(title="서울", text="서울은 한국의 수도이다."),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "a?b#c%20d.sqlite"
    build_index(ARTICLES, path)
    return path


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("What is the capital of Brazil?", ["Brazil", "Amazon"]),
        ("river", ["Amazon"]),
        ("RIVERS", ["Amazon"]),
        ("brasilia", ["Brazil"]),
        ("北京", ["北京", "上海"]),
        ("故宫在哪里", ["北京"]),
        ("京", ["北京", "東京", "上海"]),
        ("海上", []),
        ("日本の首都", ["東京", "北京"]),
        ("한국", ["서울"]),
        ("nothing here", []),
        ("", []),
        ("!?", []),
        ('"', []),
    ],
)
def test_what_is_found(index: Path, query: str, titles: list[str]) -> None:
    found = [one.title for one in search_index(index, query)]
    assert set(found) == set(titles)
    assert query == "京" or found[:1] == titles[:1]  # one letter ranks by nothing but lengths


@pytest.mark.parametrize(
    "query", ['river" OR title:"x', "river*", "NOT river", "NEAR(river sea)", "river; DROP TABLE articles", "title : river"]
)
def test_syntax_means_nothing(index: Path, query: str) -> None:
    assert search_index(index, query)[0].title == "Amazon"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_every_text_is_a_query(query: str) -> None:
    for term in match_expression(query).split(" OR "):
        assert term == "" or (term[0] == term[-1] == '"' and '"' not in term[1:-1])


@settings(max_examples=50, deadline=None)
@given(query=st.text(alphabet="\"'*^:(){}-+ ANDORNTEriver京\x00\ud800\n", max_size=40))
def test_no_text_breaks_the_search(index: Path, query: str) -> None:
    assert len(search_index(index, query, limit=2)) <= 2


def test_a_cached_index_is_made_once_for_each_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "mine.jsonl"
    source.write_text('{"title": "Tea", "text": "A drink."}\n\n', encoding="utf-8")
    first = cached_index(source)
    stamp = first.stat().st_mtime_ns
    assert cached_index(source) == first
    assert first.stat().st_mtime_ns == stamp
    source.write_text('{"title": "Tea", "text": "A hot drink."}\n', encoding="utf-8")
    second = cached_index(source)
    assert second != first
    assert search_index(second, "hot") == [Article(title="Tea", text="A hot drink.")]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted([first.name, second.name])


@pytest.mark.parametrize(("text", "says"), [("{}", "line 1 of bad.jsonl"), ('{"title": "a", "text": "b"}\nx', "line 2"), ("[1]", "line 1")])
def test_articles_that_are_none(tmp_path: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ToolError, match=says):
        cached_index(tmp_path / "bad.jsonl")
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "notes.sqlite").write_text("notes")
    for name in ("notes.sqlite", "missing.sqlite"):
        with pytest.raises(ToolError, match=f"{name} cannot be searched"):
            search_index(tmp_path / name, "tea")
    assert not (tmp_path / "missing.sqlite").exists()
