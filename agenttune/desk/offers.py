"""A tool as one list shows it: a name, a description and parameter names drawn from its card, over the real function."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from agenttune.agent.toolbox.signatures.functions import Tool, tool
from agenttune.desk import (
    tools_desk,
    tools_further_devices,
    tools_further_errands,
    tools_further_home,
    tools_further_leisure,
    tools_further_nature,
    tools_further_study,
    tools_further_town,
    tools_further_work,
    tools_numbers,
    tools_tables,
    tools_unseen,
)
from agenttune.desk.cards import Pattern, ToolCard
from agenttune.desk.recipe import Recipe
from agenttune.values.trajectory import ToolSpec

FURTHER = (
    tools_further_home,
    tools_further_town,
    tools_further_nature,
    tools_further_work,
    tools_further_errands,
    tools_further_devices,
    tools_further_leisure,
    tools_further_study,
)
MODULES: tuple[ModuleType, ...] = (tools_numbers, tools_tables, tools_desk, tools_unseen, *FURTHER)
# Words of names that say nothing, apart for each of the three splits.
OPAQUE = {
    "train": ("fn", "tool", "svc", "func", "zeta", "plugin", "api", "alpha", "module", "x", "agent", "util", "delta"),
    "dev": ("item", "gamma", "routine", "ext", "kx", "unitary"),
    "heldout": ("omega", "proc", "job", "sigma", "handler", "qz", "entry"),
}
_NUMBERS = {"train": (1, 59), "dev": (60, 79), "heldout": (80, 99)}
STYLES = ("snake", "camel", "kebab", "snake", "pascal")


@dataclass(frozen=True, slots=True)
class Offer:
    """A card under this list's names. `names` maps a parameter's own id to its name here."""

    card: ToolCard
    tool: Tool
    names: Mapping[str, str]
    typed: bool
    lang: str

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        return self.tool.spec

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the parameters' own ids as the arguments of a call here, in the list's order; text where the list has no types."""
        return {new: values[own] if self.typed else str(values[own]) for own, new in self.names.items() if own in values}


@functools.cache
def implementation(name: str) -> Tool:
    """The tool of the function `name` of the modules above."""
    (function,) = [getattr(module, name) for module in MODULES if hasattr(module, name)]
    return tool(function)


def styled(name: str, style: str) -> str:
    """``snake_case`` as camelCase, PascalCase or kebab-case."""
    parts = name.split("_")
    if style == "camel":
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style == "pascal":
        return "".join(part.capitalize() for part in parts)
    return "-".join(parts) if style == "kebab" else name


def _opaque(rng: random.Random, split: str) -> str:
    word = rng.choice(OPAQUE[split])
    low, high = _NUMBERS[split]
    tail = rng.choice((str(rng.randint(low, high)), str(rng.randint(low, high)), rng.choice("bcdefghk")))
    return f"{word}{rng.choice(('_', '_', '', '-'))}{tail}" if tail.isdigit() else f"{word}_{tail}"


def _parameter_names(rng: random.Random, card: ToolCard, style: str) -> dict[str, str]:
    while True:
        made = {one.id: styled(rng.choice(one.names), "camel" if style in ("camel", "pascal") else "snake") for one in card.parameters}
        if len(set(made.values())) == len(made):
            return made


Wanted = Mapping[str, tuple[Pattern, bool]]


def offer_list(
    rng: random.Random, cards: Sequence[ToolCard], recipe: Recipe, split: str, lang: str, typed: bool, wanted: Wanted | None = None
) -> list[Offer]:
    """The cards as one tool list: one style of writing names, one choice of language, types and parameter descriptions.

    `wanted` holds, by a card's id, a pattern that its line must be near to (True) or not.
    """
    style, hints = rng.choice(STYLES), rng.random() < recipe.hints
    taken: set[str] = set()
    offers = []
    for card in cards:
        pattern, near = (wanted or {}).get(card.id, (None, False))
        own = card.about_zh if lang == "zh" else card.about
        about = rng.choice([one for one in own if pattern is None or pattern.near(one) == near])
        name = ""
        while not name or name in taken or (pattern is not None and pattern.near(spoken(name) + " " + about) != near):
            name = _opaque(rng, split) if rng.random() < recipe.opaque else styled(rng.choice(card.names), style)
        taken.add(name)
        labels = {one.id: (one.label_zh if lang == "zh" else one.label) if hints else "" for one in card.parameters}
        offers.append(_offer(card, name, about, _parameter_names(rng, card, style), labels, typed, lang))
    return offers


def _offer(card: ToolCard, name: str, about: str, names: dict[str, str], labels: dict[str, str], typed: bool, lang: str) -> Offer:
    made = implementation(card.id).renamed(name, about, {own: (new, labels[own]) for own, new in names.items()})
    kinds = {one.id: "string" if one.kind == "text" else one.kind for one in card.parameters}
    properties: dict[str, dict[str, str]] = {}
    for own, new in names.items():
        properties[new] = {**({"type": kinds[own]} if typed else {}), **({"description": labels[own]} if labels[own] else {})}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [names[one.id] for one in card.parameters if one.required]
    if required:
        schema["required"] = required
    return Offer(card, replace(made, spec=ToolSpec(name=name, description=about, parameters=schema)), names, typed, lang)


def spoken(name: str) -> str:
    """A name's words apart by spaces."""
    return " ".join(sorted(words(name)))


def words(name: str) -> frozenset[str]:
    """The words of a name in any style, in small letters; runs of digits count as words."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name))
