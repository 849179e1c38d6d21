"""ROUGE-L of an answer in words that work for Chinese too (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries")."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Scripts that put no space between words: each character is a token. Everything else: runs of letters and digits, in lower case.
_TOKENS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


def tokens(text: str) -> list[str]:
    """``"New York 天气"`` → ``["new", "york", "天", "气"]``."""
    return _TOKENS.findall(text.lower())


def rouge_l(hypothesis: str, reference: str) -> float:
    """F1 of the longest common subsequence of tokens; 0 for an empty hypothesis, 1 where both are empty of tokens and the same text."""
    seen, wanted = tokens(hypothesis), tokens(reference)
    if not seen or not wanted:
        return float(hypothesis.strip() == reference.strip() != "")
    return 2 * common_subsequence(seen, wanted) / (len(seen) + len(wanted))


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """The length of the longest common subsequence, in O(left · right)."""
    row = [0] * (len(right) + 1)
    for one in left:
        diagonal = 0
        for at, other in enumerate(right, 1):
            diagonal, row[at] = row[at], diagonal + 1 if one == other else max(row[at], row[at - 1])
    return row[-1]
