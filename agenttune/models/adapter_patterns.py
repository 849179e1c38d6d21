"""The patterns of an ``adapter_config.json``: PEFT matches them with Python's `re`, which a pattern of ten letters can keep busy for years.

Here they are matched once, by RE2 (in pyarrow), whose time is linear in pattern and text, and become the names they match.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agenttune.errors import UserError

_PLAIN = re.compile(r"[\w.-]*")  # a name, which takes no time as a pattern
_EVERY = "all-linear"  # PEFT's word for the linear layers


def resolve_patterns(config: Any, names: Sequence[str], where: str) -> None:
    """Puts the modules' names that its patterns match in their place in a `peft.PeftConfig`; `names` are the modules of the base.

    Raises `UserError` for a pattern that RE2 does not read, and for one where PEFT takes names alone.
    """
    for key in ("target_modules", "exclude_modules"):
        pattern = getattr(config, key, None)
        if isinstance(pattern, str) and pattern != _EVERY and not _PLAIN.fullmatch(pattern):
            setattr(config, key, set(_matched(f"^(?:{pattern})$", names, f"{key} of {where}")))
    for key in ("rank_pattern", "alpha_pattern"):
        table = getattr(config, key, None)
        if isinstance(table, dict):
            setattr(config, key, {name: value for one, value in table.items() for name in _keys(str(one), names, f"{key} of {where}")})
    for key in ("modules_to_save", "layers_pattern", "target_parameters"):
        value = getattr(config, key, None)
        for one in [value] if isinstance(value, str) else value or []:
            if not isinstance(one, str) or not _PLAIN.fullmatch(one):
                raise UserError(f"{key} of {where} must hold names of modules, not {str(one)[:100]!r}")


def _keys(pattern: str, names: Sequence[str], where: str) -> list[str]:
    """The keys that stand for this one: itself, or the modules it matches. PEFT takes one that a name ends with, behind a dot."""
    if _PLAIN.fullmatch(pattern):
        return [pattern]
    return [re.escape(name) for name in _matched(rf"^(?:.*\.)?(?:{pattern})$", names, where)]


def _matched(pattern: str, names: Sequence[str], where: str) -> list[str]:
    import pyarrow
    import pyarrow.compute

    try:
        found = pyarrow.compute.match_substring_regex(pyarrow.array(names, pyarrow.string()), pattern)
    except (pyarrow.ArrowInvalid, UnicodeError) as error:
        raise UserError(
            f"{where} is no pattern that is read here ({' '.join(str(error).split())[:200]}); name the modules in a list"
        ) from error
    return [name for name, here in zip(names, found.to_pylist(), strict=True) if here]
