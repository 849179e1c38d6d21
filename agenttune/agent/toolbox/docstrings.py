"""A docstring as a description and a sentence for each parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection

from agenttune.errors import UserError, nearest

_ARGUMENTS = re.compile(r"(args|arguments|parameters|params)\s*:", re.IGNORECASE)
_SECTION = re.compile(r"(returns?|yields?|raises|examples?|notes?|see also|references|warnings?)\s*:.*", re.IGNORECASE)
_ENTRY = re.compile(r"(?P<mark>:param\s+(?:[\w\[\], |]+\s+)?)?(?P<name>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")


def read_docstring(docstring: str, parameters: Collection[str], where: str) -> tuple[str, dict[str, str]]:
    """(description, parameter → text) of a docstring with Google's ``Args:``, plain ``name: text`` or Sphinx's ``:param name:`` lines.

    Raises `UserError` when ``Args:`` describes a parameter that the function has not got.
    """
    description: list[str] = []
    found: dict[str, list[str]] = {}
    section, current, indent = "", "", 0
    for line in inspect.cleandoc(docstring).splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if depth == 0 and text:
            section = "args" if _ARGUMENTS.fullmatch(text) else "other" if _SECTION.fullmatch(text) or section == "args" else section
            if section == "args" and _ARGUMENTS.fullmatch(text):
                current, indent = "", 0
                continue
        entry = _ENTRY.fullmatch(text)
        name = entry["name"].lstrip("*") if entry else ""
        if section == "args" and depth and entry and (not indent or depth <= indent):
            if name not in parameters:
                raise UserError(f'the docstring of {where} describes "{name}", which is not a parameter{nearest(name, parameters)}')
            current, indent = name, depth
            found[name] = [entry["text"]]
        elif section != "args" and depth == 0 and entry and name in parameters:
            current, found[name] = name, [entry["text"]]
        elif current and depth and text:
            found[current].append(text)
        else:
            current = "" if section != "args" else current
            if not section and text and not text.startswith(":"):
                description.append(text)
    return " ".join(description), {name: " ".join(" ".join(lines).split()) for name, lines in found.items()}
