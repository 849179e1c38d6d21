"""Two questions that no model of 2023 knew: the agent searches, and answers from what it found. The search results are this file's.

The scripted model says nothing by heart: it copies its answer out of the observation in its prompt, so an answer proves the whole path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.react import REACT, ReactText
from agenttune.protocols.react_zh import REACT_ZH
from agenttune.screens.chat import start
from agenttune.screens.chat.options import ChatOptions
from agenttune.values.trajectory import Step, ToolCall
from tests.search_server import Recorded, Web, serving_searches

FORUM = "第三届“一带一路”国际合作高峰论坛的时间和地点是什么？"
CVPR = "帮我查一下 CVPR 2023 的投稿数和录用数"
FOUND = {
    "一带一路": [
        Recorded(
            title="第三届“一带一路”国际合作高峰论坛",
            address="https://news.example/forum",
            text="第三届“一带一路”国际合作高峰论坛于<b>2023年10月17日</b>至18日在<b>北京</b>举行。",
            date="2023-10-18",
        ),
        Recorded(title="一带一路", address="https://wiki.example/bri", text="一带一路是中国于2013年提出的倡议。"),
    ],
    "CVPR": [
        Recorded(
            title="CVPR 2023 Statistics",
            address="https://cvpr.example/2023",
            text="CVPR 2023 received 9155 submissions, of which 2360 were accepted (25.8%).",
        )
    ],
}
CASES = [
    (
        FORUM,
        "一带一路 国际合作高峰论坛 时间 地点",
        r"(2023年10月17日).*?在(北京)",
        "时间是{0}，地点是{1}。",
        "时间是2023年10月17日，地点是北京。",
    ),
    (
        CVPR,
        "CVPR 2023 submissions accepted",
        r"(\d+) submissions, of which (\d+) were accepted \(([\d.]+%)\)",
        "投稿{0}篇，录用{1}篇，录用率{2}。",
        "投稿9155篇，录用2360篇，录用率25.8%。",
    ),
]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    with serving_searches() as server:
        server.found = dict(FOUND)
        yield server


def copying(protocol: ReactText, query: str, pattern: str, answer: str) -> ScriptedModel:
    """Searches first; then answers with what `pattern` finds behind the observation's marker."""
    call = Step(thought="search", calls=(ToolCall(name="web_search", arguments={"query": query}),))

    def reply(prompt: str) -> str:
        _, observed, seen = prompt.rpartition(f"<|im_start|>system\n{protocol.observation}")
        if not observed:
            return protocol.write_step(call)
        found = re.search(pattern, seen)
        return protocol.write_step(Step(thought="found", answer=answer.format(*found.groups()) if found else "unknown"))

    return ScriptedModel(reply)


@pytest.mark.parametrize("service", ["wikipedia", "searxng", "tavily", "serper"])
@pytest.mark.parametrize(("question", "query", "pattern", "answer", "says"), CASES, ids=["forum", "cvpr"])
def test_the_answer_is_what_was_found(
    question: str,
    query: str,
    pattern: str,
    answer: str,
    says: str,
    service: str,
    web: Web,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in web.environment(service).items():
        monkeypatch.setenv(name, value)
    protocol = REACT_ZH if service in ("wikipedia", "serper") else REACT
    monkeypatch.setattr(start.AgentLoader, "_load", lambda loader, adapter: copying(protocol, query, pattern, answer))
    options = ChatOptions(model="scripted", tools=("web_search",), prompt=question, protocol=protocol.name, template="auto", trace=False)
    assert start.chat(options) == 0
    told = capsys.readouterr()
    assert told.out.strip() == says
    assert "web_search" in told.err
    assert len(web.asked) == 1


def test_without_the_search_it_does_not_know(web: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    question, query, pattern, answer, _ = CASES[0]
    web.fault = "429"
    for name, value in web.environment("serper").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(start.AgentLoader, "_load", lambda loader, adapter: copying(REACT_ZH, query, pattern, answer))
    options = ChatOptions(model="scripted", tools=("web_search",), prompt=question, protocol="react_zh", template="auto", trace=False)
    assert start.chat(options) == 4, "a tool failed"
    told = capsys.readouterr()
    assert told.out.strip() == "unknown"
    assert "Serper takes no more searches for now (429); wait 7 s" in told.err
