"""A page as text. The network's part is tested with `fetch`; here are HTML, and the refusal of this machine."""

from __future__ import annotations

import sys

import pytest

from agenttune.agent.toolbox import find, load
from agenttune.agent.toolbox.fetch import Page
from agenttune.values.trajectory import ToolCall

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
