"""HTML of a page, escaped by default: a text that is not `Html` is shown as the text it is, wherever it is put."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agenttune.screens.inert import inert_html

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VOID = frozenset(("meta", "rect", "line"))  # elements that have no end tag here


@dataclass(frozen=True, slots=True)
class Html:
    """A piece of a page that is markup already. Only `element`, `joined` and a page's own constants make one."""

    markup: str

    def __bool__(self) -> bool:
        return bool(self.markup)


def element(tag: str, *inner: str | int | Html, **attributes: str | int) -> Html:
    """``<tag attribute="…">…</tag>``. Texts and values of attributes are escaped; an attribute's ``_`` at the end is left out (``class_``).

    element("td", "a < b", class_="number")
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    assert _NAME.fullmatch(tag)
    assert all(name == "viewBox" or _NAME.fullmatch(name) for name in names)
    head = "".join([tag, *(f' {name}="{inert_html(str(value))}"' for name, value in names.items())])
    if tag in _VOID and not inner:
        return Html(f"<{head}/>" if tag != "meta" else f"<{head}>")
    return Html(f"<{head}>{joined(inner).markup}</{tag}>")


def joined(parts: Iterable[str | int | Html]) -> Html:
    """Pieces one after the other; texts are escaped."""
    return Html("".join([one.markup if isinstance(one, Html) else inert_html(str(one)) for one in parts]))
