"""One thing that a check found in a trajectory, how grave it is, and when a trajectory is rejected for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agenttune.errors import Refusal
from agenttune.values.counted import counted

NOTE, WARNING, REJECT = "note", "warning", "reject"
SEVERITY = {
    "unknown_tool": WARNING,
    "undeclared_tools": WARNING,
    "argument_unknown": WARNING,
    "argument_missing": WARNING,
    "argument_type": WARNING,
    "argument_choice": WARNING,
    "arguments_unchecked": WARNING,
    "malformed_call": WARNING,
    "call_without_result": WARNING,
    "result_without_call": REJECT,
    "empty_answer": REJECT,
    "call_as_text": REJECT,
    "calls_unread": REJECT,
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
    "vanished": NOTE,  # these two are looked for in a check only
    "misplaced": NOTE,
}
# One and several of them, where the code with spaces says it badly.
_WORDS = {
    "unknown_tool": ("call of an undeclared tool", "calls of undeclared tools"),
    "undeclared_tools": ("conversation that declares no tool and calls some", "conversations that declare no tool and call some"),
    "argument_unknown": ("argument that no parameter takes", "arguments that no parameter takes"),
    "argument_missing": ("missing argument", "missing arguments"),
    "argument_type": ("argument of another type", "arguments of another type"),
    "argument_choice": ("argument that is none of the choices", "arguments that are none of the choices"),
    "arguments_unchecked": ("call whose schema is too large to check", "calls whose schemas are too large to check"),
    "malformed_call": ("malformed call", "malformed calls"),
    "call_without_result": ("call without a result", "calls without a result"),
    "result_without_call": ("result without a call", "results without a call"),
    "orphan": ("result without a call", "results without a call"),
    "empty_answer": ("empty answer", "empty answers"),
    "call_as_text": ("call that was read as text", "calls that were read as text"),
    "calls_unread": (
        "record of which no call was read and which looks as if it held some",
        "records of which no call was read and which look as if they held some",
    ),
    "unanswered_user": ("user message that nobody answered", "user messages that nobody answered"),
    "empty_supervision": ("conversation with nothing to learn", "conversations with nothing to learn"),
    "system_dialogue": ("dialogue in a system text", "dialogues in system texts"),
    "control_tokens": ("text with control tokens", "texts with control tokens"),
    "invented_observation": ("invented result", "invented results"),
    "stray_markup": ("text with stray markup", "texts with stray markup"),
    "too_long": ("conversation that is too long", "conversations that are too long"),
    "duplicate_id": ("id that an earlier record has", "ids that earlier records have"),
    "duplicate_content": ("duplicate", "duplicates"),
    "json": ("record that is not JSON", "records that are not JSON"),
    "empty": ("record without a conversation", "records without a conversation"),
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


def in_words(code: str, count: int) -> str:
    """``177 empty answers``; of a code that has no words of its own, ``5 refused (calls missing)``."""
    words = _WORDS.get(code)
    return counted(count, *words) if words else f"{count:,} refused ({code.replace('_', ' ')})"


def refusing(findings: Iterable[Finding], *, strict: bool) -> Finding | None:
    """The finding that a trajectory is rejected for: the first grave one, or under `strict` the first that is more than a note."""
    grave = (REJECT, WARNING) if strict else (REJECT,)
    return next((one for one in findings if one.severity in grave), None)


def refuse(findings: Sequence[Finding], *, strict: bool) -> None:
    """Raises `Refusal` for a trajectory with such a finding."""
    grave = refusing(findings, strict=strict) if findings else None
    if grave:
        raise Refusal(grave.code, grave.sentence, grave.excerpt)
