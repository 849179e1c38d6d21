"""The two ways a person's input can be wrong: it cannot be used at all, or one record of it cannot."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import islice

_NAMES, _LONG = 1000, 100  # names that are compared, and characters of one


def _cut(sentence: str, most: int) -> str:
    """At most so many characters: a name out of somebody's file may be long."""
    return sentence if len(sentence) <= most else f"{sentence[:most]}…"


class UserError(Exception):
    """Input or set-up that a person must change: one sentence that says what, where and what to do. The CLI exits with 2.

    What is longer than 1,500 characters is cut, and line breaks are blanks: it tells a name out of somebody's file.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(re.sub(r"[\r\n]+", " ", _cut(sentence, 1500)))


class Refusal(Exception):
    """One record, step or sample that cannot be held exactly; it becomes a `Reject` and never stops the run.

    Args:
        code: a short stable reason code, e.g. ``"json"``; counted in reports.
        sentence: one sentence for a person; what is longer than 600 characters is cut.
        excerpt: the offending text, at most a few hundred characters.
    """

    def __init__(self, code: str, sentence: str, excerpt: str = "") -> None:
        sentence = _cut(sentence, 600)
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.excerpt = excerpt[:400]

    def __reduce__(self) -> tuple[type[Refusal], tuple[str, str, str]]:
        """An exception is rebuilt from its arguments, which are not those of `Exception`; without this none could cross processes."""
        return Refusal, (self.code, self.sentence, self.excerpt)


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` when a known name is close to `name`, else the empty string.

    Only the first 1,000 names are looked at, and none that is longer than 100 characters: the work is the product of their lengths.
    """
    short = [one for one in islice(known, _NAMES) if len(one) <= _LONG]
    close = difflib.get_close_matches(name, short, n=1, cutoff=0.6) if len(name) <= _LONG else []
    return f' (did you mean "{close[0]}"?)' if close else ""
