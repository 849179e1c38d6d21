"""A page as text. The network's part is tested with `fetch`; here are HTML, and the refusal of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttune.agent.toolbox import find, load
from agenttune.agent.toolbox.web import main_text
from agenttune.agent.toolbox.web.fetch import Page
from agenttune.values.trajectory import ToolCall
from tests.benchmarks.peers import environment
from tests.search_server import SEARCH_PEERS

MODULE = sys.modules[load("web_page")[0].function.__module__]


def text(markup: str, media: str = "text/html", truncated: bool = False) -> str:
    made: str = MODULE._page_text(Page(url="http://site.example/", media=media, text=markup, truncated=truncated))
    return made


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("<p>One<p>Two", "One\n\nTwo"),
        ("<title>T</title><script>var a = '<p>no</p>';</script><style>p {}</style><p>a &amp; b&nbsp;c", "T\n\na & b c"),
        ("<h2>Head</h2><ul><li>one<li>two <b>bold</b></ul>", "## Head\n\n- one\n- two bold"),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "| a | b\n| 1 | 2"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("  many \n\t spaces  ", "many spaces"),
        ("<nav><nav>menu</nav>more</nav><p>text</p>", "menumore\n\ntext"),
        ("<svg><title>no</title></svg><noscript>no</noscript><button>no</button>yes", "yes"),
        ("<p>before<script>never closed", "before"),
        ("plain &lt;b&gt; &#x4e2d; &bogus;", "plain <b> 中 &bogus;"),
        ("<!-- no -->yes<!DOCTYPE html><?php no ?>", "yes"),
        ("x<![if 1]>y<![weird[z]]>", None),
        ("<p hidden " + "a=1 " * 2000 + ">ok", "ok"),
        ("", "The page holds no text."),
    ],
)
def test_html_as_text(markup: str, plain: str | None) -> None:
    if plain is None:
        assert text(markup).startswith("x")
    else:
        assert text(markup) == plain


def test_navigation_goes_where_a_text_is_left() -> None:
    article = "A sentence of the article. " * 20
    assert text(f"<nav>menu</nav><p>{article}</p><footer>imprint</footer>") == article.strip()


def test_other_texts_stay_as_they_are_and_a_cut_is_said() -> None:
    assert text('{"a": "<b>"}', "application/json") == '{"a": "<b>"}'
    assert text("abc", "text/plain", truncated=True) == "abc\n[the page is longer than 1000000 bytes; this is its beginning]"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://169.254.169.254/latest/", "file:///etc/passwd"]
)
def test_this_machine_and_its_files_are_refused(url: str) -> None:
    with find(["web_page"]) as toolbox:
        (seen,) = toolbox.run([ToolCall(name="web_page", arguments={"url": url})])
    assert seen.error
    assert not seen.trusted
    assert "is not a host of the public internet" in seen.text or "only http and https" in seen.text


def test_offline_no_page_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTUNE_OFFLINE", "1")
    with find(["web_page"], inline=True) as toolbox:
        (seen,) = toolbox.run([ToolCall(name="web_page", arguments={"url": "https://site.example/"})])
    assert (seen.text, seen.error) == ("Error: offline: no page is opened", True)


# The main text, by a library that is not always there


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for trafilatura: its functions are the file's."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "trafilatura.py"


ABOUT = "def extract_metadata(markup, default_url):\n    class About: title, date = 'A title', '2023-10-18'\n    return About\n"


@pytest.mark.parametrize(
    ("extract", "plain"),
    [
        ("return 'The main text.'", "A title\nDate: 2023-10-18\n\nThe main text."),
        (
            "return '# A title\\n\\nText [link](' + options['url'] + ')'",
            "Date: 2023-10-18\n\n# A title\n\nText [link](http://site.example/)",
        ),
        ("return None", "all\n\nof it"),
        ("return ''", "all\n\nof it"),
        ("raise ValueError(markup)", "all\n\nof it"),
        ("import os; os._exit(3)", "all\n\nof it"),
        ("print('noise'); return 'text'", "all\n\nof it"),
    ],
)
def test_the_main_text_where_it_is_found(library: Path, extract: str, plain: str) -> None:
    library.write_text(f"{ABOUT}\ndef extract(markup, **options):\n    {extract}\n")
    assert text("<p>all</p><p>of it</p>") == plain
    assert text("all of it", "text/plain") == "all of it"


def test_a_page_that_keeps_the_library_busy_ends_in_time(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.write_text(f"{ABOUT}\ndef extract(markup, **options):\n    while True:\n        pass\n")
    monkeypatch.setattr(main_text, "SECONDS", 1.0)
    start = time.monotonic()
    assert text("<p>all of it").startswith("all of it\n[the main text was not found within ")
    assert time.monotonic() - start < 10


REAL = """
import json, sys
from agenttune.agent.toolbox import load
from agenttune.agent.toolbox.web.fetch import Page
module = sys.modules[load("web_page")[0].function.__module__]
pages = [Page(url="https://site.example/a/b", media="text/html", text=one, truncated=False) for one in json.load(sys.stdin)]
print(json.dumps([module._page_text(page) for page in pages]))
"""


@pytest.mark.slow
def test_trafilatura_itself() -> None:
    python = environment("search", SEARCH_PEERS, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    sentence = "The third forum was held in <a href='/beijing'>Beijing</a> on 17 and 18 October 2023, as was said before. "
    article = f"<article><h1>The third forum</h1><p>{sentence * 3}</p><ul><li>one<li>two</ul><p>{sentence * 3}</p></article>"
    head = "<title>The third forum</title><meta property='article:published_time' content='2023-10-18T01:02:03Z'>"
    pages = [
        f"<html><head>{head}</head><body><nav><a href=/x>menu</a></nav>{article}<footer>imprint</footer></body></html>",
        "<p>short",
        "<div>" * 5000,
    ]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [python, "-c", REAL], input=json.dumps(pages), capture_output=True, text=True, timeout=200, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, short, deep = json.loads(done.stdout)
    assert whole.startswith("Date: 2023-10-18\n\n# The third forum\n")
    assert "[Beijing](https://site.example/beijing)" in whole
    assert "- one\n- two" in whole
    assert "menu" not in whole and "imprint" not in whole
    assert short == "short"
    assert deep == "The page holds no text."
