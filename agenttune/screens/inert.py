"""Text of models, tools, data and pages, made harmless for a terminal and for a page."""

from __future__ import annotations

import re
from html import escape

# C0 (but tab and newline), DEL, C1, and the bidirectional controls that reorder what a person reads (Unicode UAX #9).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def inert(text: str) -> str:
    """`text` with every control character shown as a visible escape such as ``\\x1b``; newlines and tabs stay."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found.group()):02x}" if ord(found.group()) < 256 else f"\\u{ord(found.group()):04x}", text)


def inert_json(text: str) -> str:
    """JSON without a character that a terminal obeys: inside its texts they become JSON's own escapes, so it says what it said."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def inert_html(text: str) -> str:
    """`text` for a page: no control character, and nothing that HTML reads as its own."""
    return escape(inert(text))
