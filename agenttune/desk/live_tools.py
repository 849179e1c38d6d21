"""The tool lists of whole conversations: the shipped two, alone or with others, or tools that search and reckon under other names."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import cast

from agenttune.agent.toolbox.find import load
from agenttune.agent.toolbox.signatures.functions import Tool
from agenttune.desk import words
from agenttune.desk.cards import ToolCard, known, trained
from agenttune.desk.decks import Deck
from agenttune.desk.offers import STYLES, Offer, offer_list, styled
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import conflict

# Names, lines and argument names of tools that search or reckon; no word of a name is one of an unseen tool.
SEARCH_NAMES = (
    "find_answers", "fact_search", "lookup", "search", "ask_library", "knowledge_search", "search_articles", "read_up", "reference_search",
    "find_article", "general_search", "wiki_lookup", "query_archive", "look_it_up", "info_search", "lexicon",
)  # fmt: skip
SEARCH_LINES = (
    "Looks something up in a collection of articles.",
    "General search over facts of every kind",
    "Finds short texts about people, places, things and events",
    "Full text search. Answers questions of fact.",
    "Reads up on any subject",
    "A reference work that can be searched",
    "Search engine for general knowledge",
    "Returns the best passages for some key words",
    "Use it for questions about the world.",
)
SEARCH_PARAMETERS = ("query", "q", "words", "keywords", "search_for", "topic", "text", "phrase", "terms", "question")
SUM_NAMES = (
    "calculate", "compute", "do_math", "arithmetic", "evaluate", "sums", "math", "number_cruncher", "solve_expression", "reckon", "calc",
    "solve",
)  # fmt: skip
SUM_LINES = (
    "Works out an arithmetic expression.",
    "Does sums",
    "Computes with numbers: plus, minus, times, divided by, powers, roots",
    "Evaluates a formula and returns the number",
    "A pocket calculator",
    "Exact arithmetic on an expression",
    "Use it whenever something has to be reckoned.",
    "Mathematics: give it an expression",
)
SUM_PARAMETERS = ("expression", "formula", "input", "term", "sum", "calculation", "expr", "what", "to_compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A tool as one list shows it, and its only parameter's name."""

    tool: Tool
    parameter: str

    @property
    def name(self) -> str:
        """Its name in this list."""
        return self.tool.spec.name

    def line(self, value: str) -> str:
        """Its line filled in, as a thought writes it."""
        return f'{self.tool.spec.description} {{"{self.parameter}": {value}}}.'


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTools:
    """The text and tools of a conversation: those to call, the others, and all in the list's order."""

    system: str
    search: Named | None
    sums: Named | None
    others: tuple[Offer, ...]
    tools: tuple[Tool, ...]


@functools.cache
def shipped_two() -> tuple[Tool, Tool]:
    """The shipped calculator and local_search."""
    return load("calculator")[0], load("local_search")[0]


@functools.cache
def beside() -> tuple[ToolCard, ...]:
    """Training cards that neither a search nor a sum could serve."""
    taken = {card.id: card for card in known()}
    serving = (taken["calculator"], taken["encyclopaedia"])
    covered = {id for one in serving for id in one.covers}
    return tuple(card for card in trained() if card.id not in covered and not conflict(card, serving))


class Lists:
    """Tool lists over one search, in the recipe's shares. Records that share a list are cheap to train side by side."""

    def __init__(self, rng: random.Random, recipe: Recipe, cards: Deck[ToolCard], search: Callable[[str], str]) -> None:
        self.rng, self.recipe, self._cards, self._search = rng, recipe, cards, search
        self._shared = [self._drawn(kind) for kind in ("beside", "renamed", "search", "calculator")]

    def plain(self) -> OfferedTools:
        """The shipped two, in either order."""
        system = self.rng.choice(words.SYSTEMS) if self.rng.random() < 0.5 else ""
        return self._list(self._shipped(self._search), 0, system)

    def draw(self, needs: Sequence[str], crowded: bool = False) -> OfferedTools:
        """A list that holds what `needs` names (``search``, ``calculator``); a crowded one has other tools beside them."""
        draw = self.rng.random()
        if draw < self.recipe.live_plain and not crowded:
            return self.plain()
        if draw < self.recipe.live_plain + self.recipe.live_beside:
            return self._shared[0]
        fits = [one for one in self._shared[1:] if all(one.search if need == "search" else one.sums for need in needs)]
        return self.rng.choice(fits)

    def _drawn(self, kind: str) -> OfferedTools:
        own = self._shipped(self._search) if kind == "beside" else self._renamed(self._search)
        kept = {name: one for name, one in own.items() if kind in ("beside", "renamed", name)}
        system = self.rng.choice(words.SYSTEMS) if self.rng.random() < 0.5 else ""
        return self._list(kept, self.rng.randint(1, 4) if kind == "beside" else self.rng.randint(3, 6), system)

    def _shipped(self, search: Callable[[str], str]) -> dict[str, Named]:
        calculator, local = shipped_two()
        return {
            "calculator": Named(tool=calculator, parameter="expression"),
            "search": Named(tool=_running(local, search), parameter="query"),
        }

    def _renamed(self, search: Callable[[str], str]) -> dict[str, Named]:
        rng = self.rng
        calculator, local = shipped_two()
        style = rng.choice(STYLES)
        made = {}
        for kind, one, own, names, abouts, parameters in (
            ("calculator", calculator, "expression", SUM_NAMES, SUM_LINES, SUM_PARAMETERS),
            ("search", _running(local, search), "query", SEARCH_NAMES, SEARCH_LINES, SEARCH_PARAMETERS),
        ):
            parameter = styled(rng.choice(parameters), "camel" if style in ("camel", "pascal") else "snake")
            spec = one.spec.parameters["properties"][own].get("description", "") if rng.random() < 0.4 else ""
            bare = replace(one, spec=replace(one.spec, parameters=_undescribed(one)))
            tool = bare.renamed(styled(rng.choice(names), style), rng.choice(abouts), {own: (parameter, spec)})
            made[kind] = Named(tool=tool, parameter=parameter)
        return made

    def _list(self, own: dict[str, Named], others: int, system: str) -> OfferedTools:
        rng = self.rng
        cards: list[ToolCard] = []
        for _ in range(others):
            cards.append(self._cards.draw(lambda card: not conflict(card, cards)))
        taken = {one.name for one in own.values()}
        offers = [one for one in offer_list(rng, cards, self.recipe, "train", "en", True) if one.spec.name not in taken]
        tools = [*(one.tool for one in own.values()), *(one.tool for one in offers)]
        rng.shuffle(tools)
        return OfferedTools(system=system, search=own.get("search"), sums=own.get("calculator"), others=tuple(offers), tools=tuple(tools))


def _undescribed(one: Tool) -> dict[str, object]:
    properties = {
        name: {key: value for key, value in schema.items() if key != "description"}
        for name, schema in one.spec.parameters["properties"].items()
    }
    return {**one.spec.parameters, "properties": properties}


def _running(one: Tool, search: Callable[[str], str]) -> Tool:
    """The shipped tool's own words over other articles."""

    @functools.wraps(one.function)
    def run(query: str) -> str:
        return search(query)

    return replace(one, function=cast(FunctionType, run), origin=None)
