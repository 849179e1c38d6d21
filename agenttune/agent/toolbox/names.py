"""Names that others gave their tools, as names that every protocol can carry."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection

NAME = 64  # letters of a name


def usable_name(name: str) -> str:
    """Letters, digits, ``_`` and ``-`` only, at most 64 of them."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:NAME] or "tool"


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken: two names may differ only in letters that no protocol carries."""
    numbered = (f"{name[: NAME - 4]}_{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)
