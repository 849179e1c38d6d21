"""A docstring as a description and a sentence for each parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_ARGUMENTS = re.compile(r"(args|arguments|parameters|params)\s*:", re.IGNORECASE)
_SECTION = re.compile(r"(returns?|yields?|raises|examples?|notes?|see also|references|warnings?|attributes)\s*:.*", re.IGNORECASE)
_ENTRY = re.compile(r"(?P<mark>:param\s+(?:[\w\[\], |]+\s+)?)?(?P<name>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_NUMPY = re.compile(r"\s*-{3,}\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocText:
    """A description, what is said of each parameter, and the names under ``Args:`` that are no parameters."""

    description: str
    parameters: Mapping[str, str]
    strangers: tuple[str, ...] = ()


def read_docstring(docstring: str, parameters: Collection[str]) -> DocText:
    """A docstring with Google's ``Args:``, NumPy's ``Parameters``, plain ``name: text`` or Sphinx's ``:param name:`` lines."""
    description: list[str] = []
    found: dict[str, list[str]] = {}
    strangers: list[str] = []
    section, current, indent = "", "", 0
    for line in _from_numpy(inspect.cleandoc(docstring).splitlines()):
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if depth == 0 and text:
            section = "args" if _ARGUMENTS.fullmatch(text) else "other" if _SECTION.fullmatch(text) or section == "args" else section
            if section == "args" and _ARGUMENTS.fullmatch(text):
                current, indent = "", 0
                continue
        entry = _ENTRY.fullmatch(text)
        name = entry["name"].lstrip("*") if entry else ""
        if section == "args" and depth and entry and (not indent or depth <= indent):
            current, indent = name, depth
            found[name] = [entry["text"]]
            strangers += [name] if name not in parameters else []
        elif section != "args" and depth == 0 and entry and name in parameters:
            current, found[name] = name, [entry["text"]]
        elif current and depth and text:
            found[current].append(text)
        else:
            current = "" if section != "args" else current
            if not section and text and not text.startswith(":"):
                description.append(text)
    texts = {name: " ".join(" ".join(lines).split()) for name, lines in found.items() if name not in strangers}
    return DocText(description=" ".join(description), parameters=texts, strangers=tuple(strangers))


def _from_numpy(lines: list[str]) -> list[str]:
    """NumPy's sections as Google's: a title over dashes becomes a title with a colon, ``name : type`` a line of its own below it.

    https://numpydoc.readthedocs.io/en/latest/format.html
    """
    made: list[str] = []
    inside = False
    for place, line in enumerate(lines):
        if _NUMPY.fullmatch(line) and made and place:
            title = made.pop().strip()
            inside = _ARGUMENTS.fullmatch(f"{title}:") is not None
            made.append(f"{title}:")
        elif inside and line.strip() and not line.startswith(" "):
            follows = place + 1 < len(lines) and _NUMPY.fullmatch(lines[place + 1])
            made.append(line if follows else f"    {line.partition(':')[0].strip()}:")
        else:
            made.append(f"    {line}" if inside and line.strip() else line)
    return made
