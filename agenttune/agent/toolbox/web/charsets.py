"""Bytes of a page as text."""

from __future__ import annotations

import codecs
import re

# Character sets of the web (WHATWG Encoding) by Python's names. Others, such as punycode, decode in quadratic time or are no text.
_KNOWN = re.compile(
    r"ascii|utf-8|utf-16(-[lb]e)?|iso8859-\d+|cp125\d|cp866|koi8-[ru]|mac-roman|gb2312|gbk|gb18030|big5|euc_jp|shift_jis|cp932|iso2022_jp|euc_kr|cp949"
)
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.\-]{1,40})", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode(body: bytes, media: str, declared: str | None) -> str:
    """The text of `body`: by its byte order mark, else the declared character set, else the page's own ``<meta>``, else UTF-8.

    Bytes that do not belong become U+FFFD.
    """
    for mark, marked in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(marked, "replace")
    own = _META.search(body, 0, 4096) if "html" in media else None
    name = _python_name(declared) or _python_name(own.group(1).decode("ascii") if own else None)
    return body.decode(name or "utf-8", "replace")


def _python_name(charset: str | None) -> str | None:
    try:
        name = codecs.lookup(charset.strip()).name if charset else ""
    except (LookupError, ValueError):
        return None
    name = {"iso8859-1": "cp1252", "ascii": "cp1252"}.get(name, name)  # what pages that say Latin-1 are written in
    return name if _KNOWN.fullmatch(name) else None
