"""A request: what the user says, and what a good agent does about it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenttune.desk import words
from agenttune.desk.cards import CardParameter, Pattern, ToolCard
from agenttune.desk.offers import Offer
from agenttune.desk.pools import COMPARE, Draw, Value
from agenttune.desk.tables import rows

SEARCHES = ("encyclopaedia",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """One call as it should be made. `repaired` are the values of a second call after the first one failed."""

    offer: Offer
    values: Mapping[str, Value]
    fault: str = ""
    repaired: Mapping[str, Value] = field(default_factory=dict)

    def given(self, repaired: bool = False) -> dict[str, Any]:
        """The call's arguments under this list's names."""
        return self.offer.arguments({own: value.given for own, value in {**self.values, **(self.repaired if repaired else {})}.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`kind` is call, no_tool or missing; `patterns` are the sentences it is made of; `thought` and `answer` end one without a call."""

    kind: str
    lang: str
    user: str
    patterns: tuple[Pattern, ...]
    calls: tuple[PlannedRequest, ...] = ()
    answer: str = ""
    thought: str = ""


def fill(pattern: Pattern, card: ToolCard, draw: Draw) -> tuple[str, dict[str, Value]]:
    """The pattern's text with values in its slots, and the values by parameter."""
    slots = set(re.findall(r"\{(\w+)\}", pattern.text))
    values = {one.id: draw.value(one.pool) for one in card.parameters if one.id in slots}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]].shown, pattern.text), values


def decorated(rng: random.Random, text: str, split: str) -> str:
    """With a few words before or after the sentence."""
    # a text to be noted or sent ends the sentence with no full stop: nothing may follow it
    if rng.random() < 0.5 or text[-1] not in ".?!":
        return rng.choice(words.BEFORE[split]) + text
    return text + rng.choice(words.AFTER[split])


def no_tool_answer(rng: random.Random, card: ToolCard, lang: str, phrases: int) -> str:
    """Says that no tool fits, in one of the first `phrases` ways."""
    ways, gloss = (words.NO_TOOL_ZH, card.gloss_zh) if lang == "zh" else (words.NO_TOOL, card.gloss)
    return rng.choice(ways[:phrases]).format(gloss=gloss)


def absent(card: ToolCard, missing: str, values: Mapping[str, Value], lang: str) -> str:
    """The words for what is not given: everything required that the sentence does not hold."""
    found: list[CardParameter] = [one for one in card.parameters if one.required and one.id not in values]
    assert missing in {one.id for one in found}
    return "和".join(one.label_zh for one in found) if lang == "zh" else " and the ".join(one.label for one in found)


def ask_back(rng: random.Random, label: str, lang: str, phrases: int) -> str:
    """Asks, in one of the first `phrases` ways, for what is not given."""
    return rng.choice((words.ASK_ZH if lang == "zh" else words.ASK)[:phrases]).format(label=label)


def talk(split: str, lang: str) -> list[tuple[Pattern, str]]:
    """Sentences that need no tool, with their answers; small talk, and general knowledge that a search tool could also find."""
    code = split[0] + ("z" if lang == "zh" else "")
    return [
        (Pattern(tool="knowledge" if own.endswith("k") else "talk", text=text, split=split, lang=lang, missing=""), answer)
        for own, text, answer in rows("talk")
        if own.removesuffix("k") == code
    ]


def compare(offer: Offer) -> dict[str, str]:
    """How the values of each parameter of this list are compared."""
    made = {}
    for one in offer.card.parameters:
        how = "number" if one.kind in ("integer", "number") else COMPARE.get(one.pool, "text")
        made[offer.names[one.id]] = how
    return made


def accepted(plan: PlannedRequest) -> list[dict[str, Any]]:
    """Every set of arguments that is right."""
    options: list[dict[str, Any]] = [{}]
    for own, value in plan.values.items():
        options = [{**one, own: way} for one in options for way in (value.given, *value.also)]
    return [plan.offer.arguments(one) for one in options]


def conflict(card: ToolCard, others: Sequence[ToolCard]) -> bool:
    """Whether a tool of the same family is among `others`: the two would do the same thing."""
    return any(card.families & other.families for other in others)


def spoken_of(pattern: Pattern, others: Sequence[ToolCard]) -> bool:
    """Whether small talk really needs no tool here: general knowledge does where a tool of `others` searches it."""
    return pattern.tool == "talk" or not any(other.id in SEARCHES for other in others)


def served(card: ToolCard, others: Sequence[ToolCard]) -> bool:
    """Whether one of `others` could also do what `card` does."""
    return conflict(card, others) or any(card.id in other.covers for other in others)
