"""The report as a page: it opens without a network, runs nothing, and shows text of the data as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agenttune.cli import main
from agenttune.data.convert.report import ConvertReport, Detected, FileReport
from agenttune.data.convert.sizes import Sizes
from agenttune.data.quality.finding import Finding
from agenttune.screens.report.html import element, joined
from agenttune.screens.report.page import page, save_page
from agenttune.screens.report.pictures import histogram, names

EVIL = "</script></svg></pre><script>alert(1)</script><img src=x onerror=alert(1)> \"' \x1b[31m \u202e"
VOID = {"meta", "rect", "line", "br"}


class Tags(HTMLParser):
    """The elements of a page, with their attributes, and its text; closes must pair."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def sizes(*values: int) -> Sizes:
    made = Sizes()
    for value in values:
        made.add(value)
    return made


def report(text: str = EVIL, **fields: Any) -> ConvertReport:
    """A report in which every text of the data is `text`."""
    found = Finding(code=text, severity="warning", sentence=text, excerpt=text, file=text, line=3, id=text)
    given: dict[str, Any] = {
        "records": 4, "whole": 3, "refused": 1, "trajectories": 4, "samples": 3, "rejects": 1, "reasons": {text: 1}, "findings": {text: 9},
        "changes": {text: 2}, "examples": (found,), "refusals": (found,), "lengths": sizes(100, 2000, 65000), "steps": sizes(1, 2, 2),
        "unit": text, "tools": {text: 5, "搜索引擎" * 12: 2}, "inputs": (FileReport(name=text, records=4, bytes=9, sha256="ab" * 32),),
        "sources": (Detected(file=text, source="msagent", reason=text),), "notes": (text,), "shard": "1/2",
    }  # fmt: skip
    return ConvertReport(**{"out": f"{text[:3]}out.jsonl", "source": text, "protocol": text, "to": "sample", "job": "j", **given, **fields})


def test_text_of_the_data_is_inert_wherever_it_stands() -> None:
    text = page(report())
    tags = Tags(text)
    assert {tag for tag, _ in tags.seen} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "div", "span", "b", "svg", "rect", "line", "text",
        "table", "tr", "td", "th", "pre",
    }  # fmt: skip
    attributes = {name for _, attrs in tags.seen for name in attrs}
    assert not attrs_that_load(attributes)
    assert "shard 1/2" in text
    assert "2 shards added up: 1/2, 2/2" in page(report(shard="", shards=("1/2", "2/2")))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert EVIL.split("\x1b")[0] in "".join(tags.texts["pre"])


def test_a_text_is_escaped_wherever_it_is_put_and_only_markup_is_not() -> None:
    made = element("td", "a < b & c", 5, element("b", "x"), class_='n"><script>', text_anchor="end")
    assert made.markup == '<td class="n&quot;&gt;&lt;script&gt;" text-anchor="end">a &lt; b &amp; c5<b>x</b></td>'
    assert joined(["<i>", element("i", "</i>")]).markup == "&lt;i&gt;<i>&lt;/i&gt;</i>"
    for tag in ("td onclick=x", "script>", "TD"):
        with pytest.raises(AssertionError):
            element(tag)


def attrs_that_load(names: set[str]) -> set[str]:
    """Attributes that fetch, run or style."""
    return {name for name in names if name.startswith("on") or name in ("src", "href", "style", "action", "xlink:href", "srcset", "data")}


def test_the_policy_forbids_every_source_but_the_pages_own_style() -> None:
    text = page(report())
    policy = next(attrs["content"] for tag, attrs in Tags(text).seen if attrs.get("http-equiv") == "Content-Security-Policy")
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_histogram_shows_every_sample_once() -> None:
    made = histogram(sizes(*range(1, 300), 10_000, 123_456), "tokens", "samples").markup
    bars = re.findall(r"<title>([\d,]+)(?: to ([\d,]+))? tokens: ([\d,]+) samples</title>", made)
    assert sum(int(count) for _, _, count in bars) == 301
    assert 10 <= len(bars) <= 40
    low = [int(one.replace(",", "")) for one, _, _ in bars]
    assert low == sorted(low)
    assert low[0] <= 1
    one = histogram(sizes(7, 7), "steps", "trajectories").markup
    assert re.findall(r"<title>(.*?)</title>", one) == ["trajectories by steps", "7 steps: 2 trajectories"]
    assert not histogram(Sizes(), "steps", "trajectories")


def test_bars_of_names_are_the_most_frequent_and_the_rest_is_counted() -> None:
    made = names({f"tool{number}": 100 - number for number in range(50)}, "calls").markup
    assert re.findall(r"<title>tool(\d+): (\d+)</title>", made) == [(str(number), str(100 - number)) for number in range(20)]
    assert f"and 30 more names with {sum(100 - number for number in range(20, 50)):,}" in made
    assert not names({}, "calls")
    widths = re.findall(r'width="([\d.]+)" height="16"', made)
    assert [float(one) for one in widths] == sorted((float(one) for one in widths), reverse=True)


def test_a_page_is_written_beside_its_output_and_a_nameless_check_has_none(tmp_path: Path) -> None:
    made = report("x", shard="")
    assert save_page(ConvertReport(**{**fields(made), "out": str(tmp_path / "o.jsonl")})) == tmp_path / "o.report.html"
    assert save_page(ConvertReport(**{**fields(made), "out": ""})) is None


def fields(made: ConvertReport) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def test_pages_of_real_data(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["convert", "auto", str(data_dir / "glaive-demo" / "glaive_toolcall_zh_demo.json"), "-o", str(out), "--workers", "1"]) in (
        0,
        1,
    )
    assert f"with pictures: {tmp_path / 'out.report.html'}" in capsys.readouterr().out
    tags = Tags((tmp_path / "out.report.html").read_text(encoding="utf-8"))
    assert sum(tag == "svg" for tag, _ in tags.seen) >= 3
    assert "Characters per sample" in tags.texts["h2"]
