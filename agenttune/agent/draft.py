"""Tokens that are likely to come next in a call: what its grammar forces, and what it repeats of the prompt.

A draft is only a guess. The model reads it in one forward pass with the token before it and says at each place what it would have said
there; what differs is taken back (Leviathan et al., arXiv 2211.17192, with text in place of a small model; the lookup in the prompt is
Saxena's, github.com/apoorvumang/prompt-lookup-decoding). So the output is that of one token a pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttune.protocols.base import Protocol
from agenttune.values.tokens import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

_VALUE = re.compile(r'[^"\[\]{}:]*\Z')  # what is written of a value: the text since the last sign of JSON
_WORD = re.compile(r"[^\W_]*(?:[.:/-][^\W_]+)*")  # the rest of a word, a number, a date or a time
_CLOSING = ('"', ", ", "}")  # what may follow a value
_TRIGGER = 8  # tokens; the start of a trigger lies in no more


def in_call(ids: Sequence[int], matcher: LLMatcher, tokenizer: Tokenizer, source: str, limit: int) -> list[int]:
    """At most `limit` tokens that may follow `ids`, an output whose call stands where `matcher` is; `source` is the prompt's text.

    They are the canonical encoding of the text they stand for, and the grammar allows them. The matcher is left as it was.
    """
    tail = _since_special(ids, tokenizer)
    text = tokenizer.decode(tail)
    ahead = matcher.deep_copy()
    added = _forced(ahead, tokenizer) or _repeated(text, ahead, tokenizer, source)
    found = _behind(tail, text + added.rstrip(" "), tokenizer)[:limit]
    found = found[: matcher.validate_tokens(found)]
    return found or list(matcher.compute_ff_tokens())[:limit]  # a forced special token is no text


def before_call(ids: Sequence[int], protocol: Protocol, tokenizer: Tokenizer, limit: int) -> list[int]:
    """At most `limit` tokens that end a trigger whose beginning ends the output `ids`; none where it does not end so."""
    syntax = protocol.call_syntax
    end = tokenizer.decode(ids[-_TRIGGER:])
    said = next((size for size in range(len(syntax.trigger) - 1, 0, -1) if end.endswith(syntax.trigger[:size])), 0)
    if not said:
        return []
    if protocol.call_start(tokenizer.decode(ids) + syntax.trigger[said:]) is None:
        return []
    tail = _since_special(ids, tokenizer)
    return _behind(tail, (tokenizer.decode(tail) + syntax.trigger[said:] + syntax.before_name).rstrip(" "), tokenizer)[:limit]


def _forced(ahead: LLMatcher, tokenizer: Tokenizer) -> str:
    """The text that the grammar forces now; `ahead` goes behind it. A part of a character is left out."""
    text: str = ahead.compute_ff_bytes().decode("utf-8", "ignore")
    _taken(ahead, text, tokenizer)
    return text


def _repeated(text: str, ahead: LLMatcher, tokenizer: Tokenizer, source: str) -> str:
    """The rest of the word that a value has begun, as the prompt has it, then what closes the value and what that forces."""
    word = _rest_of_word(text, source)
    if word is None or not _taken(ahead, word, tokenizer):
        return ""
    added = word
    for closing in _CLOSING:
        if _taken(ahead, closing.rstrip(" "), tokenizer):
            added += closing.rstrip(" ") + (forced := _forced(ahead, tokenizer))
            if forced:
                break
    return added


def _taken(ahead: LLMatcher, text: str, tokenizer: Tokenizer) -> bool:
    """Whether the grammar allows this text here; `ahead` then goes behind it."""
    ids = tokenizer.encode(text, special=False)
    if ahead.validate_tokens(ids) < len(ids):
        return False
    return bool(ahead.consume_tokens(ids))


def _rest_of_word(text: str, source: str) -> str | None:
    """How the last word in `source` that begins like the value at the end of `text` goes on; None where there is none."""
    found = _VALUE.search(text)
    value = found.group().lstrip(" ,") if found else ""
    at = len(source)
    while value and (at := source.rfind(value, 0, at)) >= 0:
        if not at or not source[at - 1].isalnum():
            word = _WORD.match(source, at + len(value))
            return word.group() if word else ""
    return None


def _since_special(ids: Sequence[int], tokenizer: Tokenizer) -> Sequence[int]:
    """What stands behind the last special token, at which every encoding begins anew."""
    special = tokenizer.special_ids
    return ids[next((at for at in range(len(ids), 0, -1) if ids[at - 1] in special), 0) :]


def _behind(ids: Sequence[int], text: str, tokenizer: Tokenizer) -> list[int]:
    """What the encoding of `text` has behind `ids`; nothing where it does not begin with them."""
    found = tokenizer.encode(text, special=False)
    return found[len(ids) :] if found[: len(ids)] == list(ids) else []
