"""Text of models, tools, data and pages, made harmless for a terminal and for a page."""

from __future__ import annotations

import json
import re
import unicodedata
from html import escape

# C0 (but tab and newline), DEL, C1, halves of surrogate pairs; the controls that reorder what a person reads (Unicode UAX #9); and what is
# not seen at all: blanks without width, fillers, tags, marks of lines and of annotations (Default_Ignorable_Code_Point in UAX #44).
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Joiners are letters' own in many scripts, and variation selectors are those of emoji: beside ASCII, and in a row, they hide something.
    "|(?<=[\x00-\x7f\u200b-\u200d])[\u200c\u200d]|[\u200c\u200d](?=[\x00-\x7f])"
    "|(?<=[\x00-\x22\x24-\x29\x2b-\x2f\x3a-\x7f\ufe00-\ufe0f])[\ufe00-\ufe0f]"
)


def inert(text: str) -> str:
    """`text` with control characters as visible escapes such as ``\\x1b``, and what is invisible by its name, ``\\N{ZERO WIDTH SPACE}``.

    Newlines and tabs stay.
    """
    return _UNSAFE.sub(lambda found: _shown(found.group()), text)


def _shown(letter: str) -> str:
    code = ord(letter)
    name = unicodedata.name(letter, "") if code > 0xFF else ""
    return f"\\N{{{name}}}" if name else f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def inert_json(text: str) -> str:
    """JSON without a character that a terminal obeys or nobody sees: inside its texts they become JSON's own escapes, so it says what it
    said."""
    return _UNSAFE.sub(lambda found: json.dumps(found.group())[1:-1] if found.group() != "\x7f" else "\\u007f", text)


def inert_html(text: str) -> str:
    """`text` for a page: no control character, and nothing that HTML reads as its own."""
    return escape(inert(text))
