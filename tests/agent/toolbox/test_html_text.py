"""HTML as text: pages that were made to take long take no longer than their length."""

from __future__ import annotations

import pytest

from agenttune.agent.toolbox.web.html_text import readable
from tests.work import grows_linearly

HOSTILE = ["<a ", "<a b=c ", "<a x='", '<a x="', "<!--", "<!-- >", "<![CDATA[ >", "<a<", "</", "<?", "&#1", "<p>", "<script>x</scrip"]


@pytest.mark.parametrize("tail", ["", ">", "'>", "-->"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_takes_as_long_as_it_is(text: str, tail: str) -> None:
    assert grows_linearly(lambda size: readable(text * size + tail), 2000)


def test_what_is_no_tag_is_text() -> None:
    assert readable("a < b <c d") == "a < b <c d"
    assert readable("<p>one</p><p>two <a href='x'>three</a> <b") == "one\n\ntwo three <b"
    assert readable("x<![CDATA[y]]>z") == "xz"


def test_numbers_of_characters() -> None:
    assert readable(f"&#65;&#x42; &#{'9' * 4301}; &#{'0' * 5000}67; &#1114112;") == "AB \ufffd C \ufffd"
