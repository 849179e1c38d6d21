"""Makes a sample fit a length in tokens without ever cutting a call: elide long observations, drop the oldest steps, else refuse.

The order is fixed and every change is counted. `elide` is the one rule for shortening an observation; an agent that runs
under the same budget uses it too, so that what it reads looks like what it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agenttune import protocols
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.templates import Template
from agenttune.values.sample import Sample, Turn
from agenttune.values.tokens import Tokenizer

LEAST = 32  # tokens an observation keeps at the least; below that, dropping whole steps says more honestly what is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The sample as it fits, and what was done to it: ``elided`` observations, ``dropped`` steps."""

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
    """The sample with every rendering at most `length` tokens. Raises `Refusal` (``too_long``) where even its last step does not fit."""
    if _longest(sample, template, tokenizer) <= length:
        return Fitted(sample=sample)
    changes: dict[str, int] = {}
    current = _elided(sample, template, tokenizer, length, changes)
    while _longest(current, template, tokenizer) > length:
        shorter = _without_oldest_step(current)
        if shorter is None:
            size = _longest(current, template, tokenizer)
            raise Refusal("too_long", f"{size} tokens where {length} fit, with one step left and its observations elided")
        current = shorter
        changes["dropped"] = changes.get("dropped", 0) + 1
    meta = {**sample.meta, "changes": {**sample.meta.get("changes", {}), **changes}}
    return Fitted(sample=replace(current, meta=meta), changes=changes)


def _longest(sample: Sample, template: Template, tokenizer: Tokenizer) -> int:
    return max((len(rendered.token_ids) for rendered in render(sample, template, tokenizer)), default=0)


def observations(sample: Sample) -> dict[int, str]:
    """Turn index → the observation it opens with: in `system` or `input` as the protocol has it, only after a turn that called."""
    place = protocols.get(sample.protocol).observation_field
    found = {}
    for index, turn in enumerate(sample.turns[1:], 1):
        text = getattr(turn, place)
        if text and (place == "system" or _calls(sample, index - 1)):
            found[index] = text
    return found


def _calls(sample: Sample, index: int) -> bool:
    return bool(protocols.get(sample.protocol).parse(sample.turns[index].output).calls)


def _elided(sample: Sample, template: Template, tokenizer: Tokenizer, length: int, changes: dict[str, int]) -> Sample:
    """The largest budget for one observation under which the sample fits, by bisection; `LEAST` where none does."""
    place = protocols.get(sample.protocol).observation_field
    texts = observations(sample)
    if not texts:
        return sample
    sizes = {index: len(tokenizer.offsets(text)) for index, text in texts.items()}

    def at(budget: int) -> Sample:
        turns = list(sample.turns)
        for index, text in texts.items():
            short = elide(text, budget, tokenizer)
            turns[index] = replace(turns[index], system=short) if place == "system" else replace(turns[index], input=short)
        return replace(sample, turns=tuple(turns))

    low, high = LEAST, max(max(sizes.values()), LEAST)
    while low < high:
        middle = (low + high + 1) // 2
        if _longest(at(middle), template, tokenizer) <= length:
            low = middle
        else:
            high = middle - 1
    count = sum(size > low for size in sizes.values())
    if count:
        changes["elided"] = count
    return at(low)


def _without_oldest_step(sample: Sample) -> Sample | None:
    """The sample without its first output and the observation that answered it; None where one output is left."""
    if sum(bool(turn.output) for turn in sample.turns) < 2 or len(sample.turns) < 2:
        return None
    first, second = sample.turns[0], sample.turns[1]
    merged = Turn(system=first.system, input=second.input or first.input, output=second.output, weight=second.weight)
    if protocols.get(sample.protocol).observation_field == "input" and _calls(sample, 0):
        merged = replace(merged, input=first.input)
    return replace(sample, turns=(merged, *sample.turns[2:]))
