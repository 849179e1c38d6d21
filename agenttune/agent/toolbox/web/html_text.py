"""HTML as plain text, by Python's own parser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DROPPED = frozenset(("script", "style", "noscript", "template", "svg", "iframe", "object", "select", "button"))
_AROUND = frozenset(("nav", "footer", "aside", "form"))  # what stands around a page's own text
_BLOCKS = frozenset(
    (
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "ul",
        "ol",
        "dl",
        "dt",
        "dd",
        "table",
        "blockquote",
        "figure",
        "figcaption",
        "title",
    )
)
_MARKS = {
    "li": "\n- ",
    "br": "\n",
    "tr": "\n",
    "td": " | ",
    "th": " | ",
    "hr": "\n",
    **{f"h{level}": f"\n\n{'#' * level} " for level in range(1, 7)},
}


def readable(markup: str) -> str:
    """HTML as plain text: scripts, styles and controls are dropped, and navigation too where anything else is left."""
    text = _text(markup, _DROPPED | _AROUND)
    return text if len(text) >= 200 else _text(markup, _DROPPED)


def _text(markup: str, dropped: frozenset[str]) -> str:
    reader = _Reader(dropped)
    try:
        reader.feed(_bounded(markup))
        reader.close()
    except AssertionError:  # html.parser's way to say that a declaration cannot be read; what came before it stays
        reader.pieces.append("\n")
    text = re.sub(r"[ \t\r\f\v\xa0]+", " ", "".join(reader.pieces))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", text)).strip()


def _bounded(markup: str) -> str:
    """The same page without what makes Python's parser work long: it looks for the end of each open tag through the whole rest, and
    counts the digits of numbers that name no character.

    Behind the last ``>`` no tag and no comment ends: each ``<`` there is text, as the parser would find out. A CDATA section, which only
    XML has, is a comment up to the next ``>``, as in browsers.
    """
    markup = markup.replace("<![", "<!x[")
    last = markup.rfind(">") + 1
    markup = markup[:last] + markup[last:].replace("<", "&lt;")
    return re.sub(r"&#[1-9][0-9]{7,};?", "\ufffd", re.sub(r"&#0+(?=[0-9])", "&#", markup))


class _Reader(HTMLParser):
    """Collects text; inside a dropped element nothing, until the same element ends."""

    def __init__(self, dropped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.dropped = dropped
        self.pieces: list[str] = []
        self.inside = ""
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.inside:
            self.depth += tag == self.inside
        elif tag in self.dropped:
            self.inside, self.depth = tag, 1
        else:
            self.pieces.append("\n\n" if tag in _BLOCKS else _MARKS.get(tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self.inside:
            self.pieces.append(_MARKS.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if self.inside:
            self.depth -= tag == self.inside
            self.inside = self.inside if self.depth else ""
        elif tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.pieces.append(re.sub(r"\s+", " ", data))
