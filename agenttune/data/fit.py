"""Makes a sample fit a length in tokens without cutting a call or its context: elide observations, drop the oldest rounds, else refuse.

A kept step keeps all of its round that stands before it: an answer is never trained without the call it came from. Every change is
counted. `elide` is the one rule for shortening an observation; of several results in one turn each is shortened by itself.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agenttune import protocols
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol
from agenttune.templates import Template
from agenttune.values.sample import Sample
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json, Observation, ToolCall

LEAST = 32  # tokens an observation keeps at the least
CHANGES = ("elided", "dropped_rounds", "needs_dropped")  # what `fit` counts of samples that it keeps
_ANY = "\0"  # a text, to see what a protocol writes before it
_TELLING = 3  # characters: a shorter argument may come from anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The sample as it fits, and what was done to it: ``elided`` observations, ``dropped_rounds``.

    ``needs_dropped`` counts calls that are kept and whose arguments are found in a dropped round and nowhere else before the call.
    """

    sample: Sample
    changes: Mapping[str, int] = field(default_factory=dict)


def elide(text: str, budget: int, tokenizer: Tokenizer) -> str:
    """`text`, or where it is longer than `budget` tokens its beginning and end around a visible marker.

    The marker says how many characters are missing. Cuts fall between tokens; the result may exceed `budget` by the marker's tokens.
    """
    offsets = tokenizer.offsets(text)
    if len(offsets) <= budget:
        return text
    head, tail = (budget + 1) // 2, budget // 2
    start = offsets[head - 1][1]
    end = offsets[len(offsets) - tail][0] if tail else len(text)
    return f"{text[:start]} [… {end - start} characters left out …] {text[end:]}" if end > start else text


def fit(sample: Sample, template: Template, tokenizer: Tokenizer, length: int) -> Fitted:
    """The sample with every rendering at most `length` tokens.

    Observations are elided first, all to one budget, the largest that fits. Where `LEAST` tokens of each are still too many, whole rounds
    are dropped from the oldest, as few as will do. Raises `Refusal` (``too_long``) where even the last round does not fit.

    Here 224 of 299 ids (bytes and markers) fit:

    >>> from agenttune import templates
    >>> from agenttune.models.scripted import ByteTokenizer
    >>> from agenttune.values.sample import Sample, Turn
    >>> tokenizer = ByteTokenizer()
    >>> template = templates.load("auto", tokenizer)
    >>> call = 'Action: page\\nAction Input: {}'
    >>> sample = Sample(turns=(Turn(input="What?", output=call), Turn(system="Observation: " + "x" * 187, output="Final Answer: Nothing.")))
    >>> fitted = fit(sample, template, tokenizer, 224)
    >>> dict(fitted.changes), fitted.sample.turns[1].system[47:89]
    ({'elided': 1}, 'xxxxx [… 110 characters left out …] xxxxxx')
    >>> [len(render(one, template, tokenizer)[0].token_ids) for one in (sample, fitted.sample)]
    [299, 224]
    """
    if _longest(sample, template, tokenizer) <= length:
        return Fitted(sample=sample)
    starts = round_starts(sample)

    def fits(dropped: int, budget: int) -> bool:
        return _longest(_elided(without_rounds(sample, starts[dropped]), budget, tokenizer), template, tokenizer) <= length

    dropped = bisect_left(range(len(starts)), True, key=lambda number: fits(number, LEAST))
    if dropped == len(starts):
        size = _longest(_elided(without_rounds(sample, starts[-1]), LEAST, tokenizer), template, tokenizer)
        raise Refusal("too_long", f"{size} tokens where {length} fit, with one round left and its observations elided")
    kept = without_rounds(sample, starts[dropped])
    sizes = [len(tokenizer.offsets(text)) for texts in results(kept).values() for text in texts]
    budgets = range(LEAST, max([LEAST, *sizes]) + 1)
    budget = LEAST + bisect_left(budgets, True, key=lambda tokens: not fits(dropped, tokens)) - 1
    counts = (sum(size > budget for size in sizes), dropped, _needing(sample, starts[dropped]) if dropped else 0)
    changes = {name: count for name, count in zip(CHANGES, counts, strict=True) if count}
    meta = {**sample.meta, "changes": {**sample.meta.get("changes", {}), **changes}}
    return Fitted(sample=replace(_elided(kept, budget, tokenizer), meta=meta), changes=changes)


def _longest(sample: Sample, template: Template, tokenizer: Tokenizer) -> int:
    return max((len(rendered.token_ids) for rendered in render(sample, template, tokenizer)), default=0)


def observations(sample: Sample) -> dict[int, str]:
    """Turn index → the observation it opens with: any later `system` text, or an `input` that is written as a protocol writes results."""
    protocol = protocols.get(sample.protocol)
    if protocol.observation_field == "system":
        return {index: turn.system for index, turn in enumerate(sample.turns) if index and turn.system}
    opening = protocol.observation_text((Observation(text=_ANY),)).partition(_ANY)[0]
    pairs = enumerate(itertools.pairwise(sample.turns), 1)
    return {index: turn.input for index, (before, turn) in pairs if turn.input.startswith(opening) and protocol.parse(before.output).calls}


def results(sample: Sample) -> dict[int, tuple[str, ...]]:
    """Turn index → the results it opens with, each by itself; the whole text where the protocol would not write it so again."""
    protocol = protocols.get(sample.protocol)
    found: dict[int, tuple[str, ...]] = {}
    for index, text in observations(sample).items():
        texts = protocol.observations(text, len(protocol.parse(sample.turns[index - 1].output).calls))
        found[index] = texts if _observed(protocol, texts) == text else (text,)
    return found


def _observed(protocol: Protocol, texts: Sequence[str]) -> str:
    return protocol.observation_text([Observation(text=one) for one in texts])


def round_starts(sample: Sample) -> list[int]:
    """The turns that open a round, by index: the first one, and each that brings a user's text."""
    seen = observations(sample) if protocols.get(sample.protocol).observation_field == "input" else {}
    return [index for index, turn in enumerate(sample.turns) if not index or (turn.input and index not in seen)]


def without_rounds(sample: Sample, start: int) -> Sample:
    """The sample from the round that begins at turn `start`, under the system text of the whole."""
    if not start:
        return sample
    first = replace(sample.turns[start], system=sample.turns[0].system)  # an observation there would be that of a dropped call
    return replace(sample, turns=(first, *sample.turns[start + 1 :]))


def _elided(sample: Sample, budget: int, tokenizer: Tokenizer) -> Sample:
    """The sample with at most `budget` tokens of each result, and the marker."""
    protocol = protocols.get(sample.protocol)
    turns = list(sample.turns)
    whole = observations(sample)
    for index, texts in results(sample).items():
        short = [elide(text, budget, tokenizer) for text in texts]
        if short != list(texts):
            said = _observed(protocol, short) if _observed(protocol, texts) == whole[index] else short[0]
            system = protocol.observation_field == "system"
            turns[index] = replace(turns[index], system=said) if system else replace(turns[index], input=said)
    return replace(sample, turns=tuple(turns))


def _needing(sample: Sample, start: int) -> int:
    """How many calls from turn `start` on use a text that stands in an earlier turn, and not between `start` and the call."""
    dropped = "\n".join(text for turn in sample.turns[:start] for text in (turn.system, turn.input, turn.output))
    known = sample.turns[0].system
    needing = 0
    for index, turn in enumerate(sample.turns[start:], start):
        known += f"\n{turn.input}" if index == start else f"\n{turn.system}\n{turn.input}"
        calls = protocols.get(sample.protocol).parse(turn.output).calls if turn.output else ()
        for call in calls:
            telling = _telling(dict(call.arguments)) if isinstance(call, ToolCall) else ()
            needing += any(text in dropped and text not in known for text in telling)
        known += f"\n{turn.output}"
    return needing


def _telling(value: Json) -> Iterator[str]:
    """The texts and numbers in a value that are long enough to say where they came from."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _telling(one)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) > _TELLING:
        yield str(value)
