"""One page of the web as text a model can read."""

from __future__ import annotations

from typing import Annotated

from agenttune.agent.toolbox import READ_ONLY, UNTRUSTED, Requires, ToolError
from agenttune.agent.toolbox.search.settings import offline
from agenttune.agent.toolbox.web.fetch import Page, fetch
from agenttune.agent.toolbox.web.html_text import readable
from agenttune.agent.toolbox.web.main_text import main_text

BYTES = 1_000_000


def web_page(url: str) -> Annotated[str, READ_ONLY, UNTRUSTED, Requires("the network")]:
    """Opens a web page and gives its text.

    Args:
        url: an http or https address
    """
    if offline():
        raise ToolError("offline: no page is opened")
    return _page_text(fetch(url, timeout=20, max_bytes=BYTES))


def _page_text(page: Page) -> str:
    """The main text of a page where the extra agenttune[search] is installed and finds one; else all its text."""
    text, late = page.text, ""
    if page.media in ("text/html", "application/xhtml+xml"):
        main, late = main_text(page.text, page.url)
        text = main or readable(page.text)
    cut = f"[the page is longer than {BYTES} bytes; this is its beginning]" if page.truncated else ""
    return "\n".join(filter(None, (text.strip() or "The page holds no text.", late, cut)))
