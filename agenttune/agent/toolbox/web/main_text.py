"""The main text of a web page by the library trafilatura, in a process of its own: pages can be made to keep a parser busy for ever.

Started by its path it is that process: it reads one JSON object from standard input and writes one.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

SECONDS = 12.0  # for the library to be loaded and the page to be read
LATE = f"[the main text was not found within {SECONDS:g} s; this is all the text of the page]"


def main_text(markup: str, url: str) -> tuple[str, str]:
    """(Markdown of a page's main text with its title, date and links; a note); both empty where there is no library or no such text."""
    if importlib.util.find_spec("trafilatura") is None:
        return "", ""
    asked = json.dumps({"path": sys.path, "markup": markup, "url": url})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-X", "utf8", __file__], input=asked.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "", LATE
    try:
        found = json.loads(done.stdout)
    except ValueError:  # it broke on this page, or wrote something else: the plain way remains
        return "", ""
    return _page(str(found["title"]), str(found["date"]), str(found["text"])), ""


def _page(title: str, date: str, text: str) -> str:
    """The text under its title and date, where it does not begin with the title anyway."""
    if not text.strip():
        return ""
    head = [title] if title and not text.lstrip("# ").startswith(title) else []
    return "\n".join([*head, *([f"Date: {date}"] if date else []), *([""] if head or date else []), text.strip()])


def _child() -> None:
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    from trafilatura import extract, extract_metadata

    markdown = extract(asked["markup"], url=asked["url"], output_format="markdown", include_links=True, include_tables=True)
    about = extract_metadata(asked["markup"], default_url=asked["url"]) if markdown else None
    found = {"title": getattr(about, "title", None) or "", "date": getattr(about, "date", None) or "", "text": markdown or ""}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _child()
