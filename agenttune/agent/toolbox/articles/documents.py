"""Files of a folder as short articles: Markdown, HTML, plain text, PDF."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from agenttune.agent.toolbox.answers import described
from agenttune.agent.toolbox.articles.index import Article
from agenttune.agent.toolbox.web.charsets import decode
from agenttune.agent.toolbox.web.html_text import readable

KINDS = {".md": "markdown", ".markdown": "markdown", ".txt": "text", ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf"}
LENGTH = 400  # characters of a passage: what `local_search` shows of one
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title[^>]*>", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]\[]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")


class DocumentError(Exception):
    """A file whose text cannot be had, and why."""


def passages(path: Path, name: str) -> list[Article]:
    """A file's text in passages of at most `LENGTH` characters, each under the title of the file and the heading it stands under.

    `name` is what the results say of where a passage is from. Raises `DocumentError`, and `OSError` for a file that cannot be read.
    """
    kind = KINDS[path.suffix.lower()]
    sections = _pdf(path) if kind == "pdf" else _sections(path.read_bytes(), kind, path.stem)
    return [Article(title=_whole(title), text=_whole(text), source=name) for title, body in sections for text in _cut(body)]


def _whole(text: str) -> str:
    """Text without the lone surrogates that some PDFs hold."""
    return text.encode("utf-8", "replace").decode()


def _sections(body: bytes, kind: str, stem: str) -> Iterator[tuple[str, str]]:
    """(title, text) of each section of a text."""
    text = decode(body, f"text/{kind}", None).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise DocumentError("it is not text")
    if kind == "html":
        named = _TITLE.search(text)
        title = " ".join(readable(named.group(1)).split()) if named else ""
        yield from _headed(readable(_TITLE.sub("", text)).split("\n"), title or stem)
    elif kind == "markdown":
        lines = _body(text.split("\n"))
        first = next(filter(None, (heading for _, heading in _read(lines))), "")
        yield from _headed([_LINK.sub(r"\1", line) for line in lines], first or stem)
    else:
        yield stem, text


def _body(lines: list[str]) -> list[str]:
    """Markdown without the YAML that may stand before it."""
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        return lines[[line.strip() for line in lines[1:]].index("---") + 2 :]
    return lines


def _headed(lines: Iterable[str], title: str) -> Iterator[tuple[str, str]]:
    """(title, text) of what stands between headings."""
    under, held = "", list[str]()
    for line, heading in _read(lines):
        if not heading:
            held.append(line)
            continue
        yield _titled(title, under), "\n".join(held)
        under, held = heading, []
    yield _titled(title, under), "\n".join(held)


def _read(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line, and its text where it is a heading. Inside a fence a ``#`` is none; the fences themselves go."""
    fenced = False
    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
            continue
        found = None if fenced else _HEADING.match(line)
        yield line, _unmarked(found.group(2)) if found else ""


def _titled(title: str, heading: str) -> str:
    return title if not heading or heading == title else f"{title}, {heading}"


def _unmarked(text: str) -> str:
    return " ".join(re.sub(r"[*_`]+", "", _LINK.sub(r"\1", text)).split())


def _pdf(path: Path) -> list[tuple[str, str]]:
    """(file and page, text) of each page of a PDF."""
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise DocumentError("PDF needs the extra agenttune[search]: pip install 'agenttune[search]'") from error
    try:
        with path.open("rb") as file:
            pages = [(f"{path.stem}, page {number}", page.extract_text()) for number, page in enumerate(PdfReader(file).pages, 1)]
    except OSError:
        raise
    except Exception as error:  # whatever a broken file does to the library is told with the file's name
        raise DocumentError(f"the PDF cannot be read: {described(error)}") from error
    if not any(text.strip() for _, text in pages):
        raise DocumentError("the PDF holds no text; its pages are pictures")
    return pages


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most `LENGTH` characters, each in one line: whole paragraphs, else whole sentences, else what fits."""
    held = ""
    for piece in (piece for paragraph in re.split(r"\n\s*\n", text) for piece in _pieces(" ".join(paragraph.split()))):
        if held and len(held) + 1 + len(piece) > LENGTH:
            yield held
            held = ""
        held = f"{held} {piece}" if held else piece
    if held:
        yield held


def _pieces(paragraph: str) -> Iterator[str]:
    if len(paragraph) <= LENGTH:
        yield from filter(None, [paragraph])
        return
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", paragraph):
        while len(sentence) > LENGTH:
            at = sentence.rfind(" ", LENGTH // 2, LENGTH)
            yield sentence[: at if at > 0 else LENGTH]
            sentence = sentence[at if at > 0 else LENGTH :].strip()
        yield from filter(None, [sentence])
