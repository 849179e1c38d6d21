"""One thing that a check found in a trajectory, how grave it is, and when a trajectory is rejected for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agenttune.errors import Refusal

NOTE, WARNING, REJECT = "note", "warning", "reject"
SEVERITY = {
    "unknown_tool": WARNING,
    "undeclared_tools": WARNING,
    "argument_unknown": WARNING,
    "argument_missing": WARNING,
    "argument_type": WARNING,
    "argument_choice": WARNING,
    "malformed_call": WARNING,
    "call_without_result": WARNING,
    "result_without_call": WARNING,
    "empty_answer": WARNING,
    "call_as_text": REJECT,
    "unanswered_user": WARNING,
    "empty_supervision": REJECT,
    "system_dialogue": WARNING,
    "control_tokens": WARNING,
    "invented_observation": WARNING,
    "stray_markup": WARNING,
    "too_long": WARNING,
    "duplicate_id": WARNING,
    "duplicate_content": WARNING,
    "result_unread": NOTE,
}
_EXCERPT = 400  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A reason code, how grave it is (note, warning, reject), a sentence, the offending text, and where: file, line, id of the record."""

    code: str
    severity: str
    sentence: str
    excerpt: str = ""
    file: str = ""
    line: int = 0
    id: str = ""


def finding(code: str, sentence: str, excerpt: str = "") -> Finding:
    """A finding of a known code, as grave as that code is."""
    return Finding(code=code, severity=SEVERITY[code], sentence=sentence, excerpt=excerpt[:_EXCERPT])


def refusing(findings: Iterable[Finding], *, strict: bool) -> Finding | None:
    """The finding that a trajectory is rejected for: the first grave one, or under `strict` the first that is more than a note."""
    grave = (REJECT, WARNING) if strict else (REJECT,)
    return next((one for one in findings if one.severity in grave), None)


def refuse(findings: Sequence[Finding], *, strict: bool) -> None:
    """Raises `Refusal` for a trajectory with such a finding."""
    grave = refusing(findings, strict=strict) if findings else None
    if grave:
        raise Refusal(grave.code, grave.sentence, grave.excerpt)
