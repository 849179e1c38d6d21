"""The training half: tool lists, and about six requests for each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agenttune.desk import words
from agenttune.desk.cards import Pattern, ToolCard, further, known
from agenttune.desk.decks import Deck, shares
from agenttune.desk.offers import Offer, offer_list
from agenttune.desk.pools import Draw, Value
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import (
    PlannedRequest,
    Request,
    absent,
    ask_back,
    conflict,
    decorated,
    fill,
    no_tool_answer,
    served,
    spoken_of,
    talk,
)
from agenttune.desk.thoughts import asking, declining
from agenttune.desk.tools_numbers import read_date

_DATES = ("date", "date_later", "future_date")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolList:
    """Tools offered together, the text they stand under, the raw shape they are written in, and the requests made of them."""

    system: str
    shape: str
    offers: tuple[Offer, ...]
    requests: tuple[Request, ...]


class Maker:
    """Deals tools, patterns and kinds in even shares."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rng = rng = random.Random(recipe.seed)
        cards = (*known() * recipe.known, *further())
        self.cards = {"en": cards, "zh": tuple(card for card in cards if card.about_zh and card.select("train", "zh", False))}
        self.tools = {lang: Deck(rng, own) for lang, own in self.cards.items()}
        self.absent = {lang: Deck(rng, own) for lang, own in self.cards.items()}
        self.patterns: dict[tuple[str, str, bool], Deck[Pattern]] = {}
        self.chosen: dict[tuple[str, bool], Pattern] = {}
        self.nears = shares(rng, {"near": recipe.near, "oblique": 1 - recipe.near}, 50)
        self.talk = {lang: Deck(rng, talk("train", lang)) for lang in ("en", "zh")}
        rest = {"no_tool": recipe.no_tool, "missing": recipe.missing}
        kinds = {"single": recipe.single, "multi": recipe.multi, "retry": recipe.retry, **rest}
        plain = {"single": recipe.single + recipe.multi + recipe.retry, **rest}
        self.kinds = {"en": shares(rng, kinds, 100), "zh": shares(rng, plain, 20)}
        self.chats = shares(rng, {"chat": recipe.chat, "near": 1 - recipe.chat}, 20)
        self.langs = shares(rng, {"zh": recipe.chinese, "en": 1 - recipe.chinese}, 50)
        shapes = {"A": recipe.shape_a, "B": recipe.shape_b, "C": recipe.shape_c, "D": recipe.shape_d}
        self.shapes = shares(rng, shapes, 50)

    def lists(self) -> Iterator[ToolList]:
        """Tool lists without end; the first ones hold the same shares as all."""
        while True:
            yield self._list()

    def _list(self) -> ToolList:
        rng, lang, shape = self.rng, self.langs.draw(), self.shapes.draw()
        kinds = [self.kinds[lang].draw() for _ in range(self.recipe.per_list)]
        needs = [{"no_tool": 0, "multi": 2 + (rng.random() < 0.15)}.get(kind, 1) for kind in kinds]
        while sum(needs) > self.recipe.largest and max(needs) > 1:  # more tools than a list holds: one request after another gets simpler
            most = needs.index(max(needs))
            kinds[most], needs[most] = "single", 1
        size = max(rng.randint(self.recipe.smallest, self.recipe.largest), min(sum(needs), self.recipe.largest))
        called = self._called(min(sum(needs), size), lang)
        own = self._assigned(called, needs)
        wanted = self._wanted(kinds, own, lang)
        cards = [*called, *self._fillers(called, size, lang)]
        rng.shuffle(cards)
        listed = "zh" if lang == "zh" and rng.random() < 0.5 else "en"
        offers = offer_list(rng, cards, self.recipe, "train", listed, shape in "CD", wanted)
        by_id = {offer.card.id: offer for offer in offers}
        made = [self._request(kind, [by_id[card.id] for card in some], offers, lang) for kind, some in zip(kinds, own, strict=True)]
        rng.shuffle(made)
        system = rng.choice(words.SYSTEMS_ZH if listed == "zh" else words.SYSTEMS)
        return ToolList(system=system, shape=shape, offers=tuple(offers), requests=tuple(made))

    def _assigned(self, called: Sequence[ToolCard], needs: Sequence[int]) -> list[list[ToolCard]]:
        """Tools for each request: another one each time, as long as there are enough."""
        own, at = [], 0
        for need in needs:
            own.append([called[place % len(called)] for place in range(at, at + min(need, len(called)))])
            at += need
        return own

    def _wanted(self, kinds: Sequence[str], own: Sequence[Sequence[ToolCard]], lang: str) -> dict[str, tuple[Pattern, bool]]:
        """The patterns of the coming requests by tool, and whether each shall be near to its tool's line."""
        self.chosen, wanted = {}, dict[str, tuple[Pattern, bool]]()
        for kind, some in zip(kinds, own, strict=True):
            for card in some:
                near = lang == "en" and self.nears.draw() == "near"
                pattern = self._drawn(card, lang, kind == "missing", near)
                self.chosen[card.id, kind == "missing"] = pattern
                if lang == "en" and any(pattern.near(about) == near for about in card.about):
                    wanted[card.id] = (pattern, near)
        return wanted

    def _called(self, count: int, lang: str) -> list[ToolCard]:
        called: list[ToolCard] = []
        for _ in range(count):
            called.append(self.tools[lang].draw(lambda card: not conflict(card, called)))
        return called

    def _fillers(self, called: Sequence[ToolCard], size: int, lang: str) -> list[ToolCard]:
        chosen: list[ToolCard] = []
        others = list(self.cards[lang])
        self.rng.shuffle(others)
        for card in others:
            if len(called) + len(chosen) == size:
                break
            if not conflict(card, [*called, *chosen]):
                chosen.append(card)
        return chosen

    def _pattern(self, card: ToolCard, lang: str, missing: bool) -> Pattern:
        return self.chosen.pop((card.id, missing), None) or self._drawn(card, lang, missing)

    def _drawn(self, card: ToolCard, lang: str, missing: bool, near: bool | None = None) -> Pattern:
        """The tool's next pattern; with `near` the next that some line of the tool is (not) near to, if there is one."""
        key = (card.id, lang, missing)
        if key not in self.patterns:
            self.patterns[key] = Deck(self.rng, card.select("train", lang, missing))
        fits = [one for one in self.patterns[key].items if near is None or any(one.near(about) == near for about in card.about)]
        return self.patterns[key].draw(lambda one: one in fits or not fits)

    def _request(self, kind: str, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        made: Request = getattr(self, f"_{kind}")(own, offers, lang)
        if lang == "en" and self.rng.random() < self.recipe.decorated:
            return replace(made, user=decorated(self.rng, made.user, "train"))
        return made

    def _single(self, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        return self._calls(own, lang)

    def _multi(self, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        return self._calls(own, lang)

    def _calls(self, own: list[Offer], lang: str) -> Request:
        texts: list[str] = []
        plans: list[PlannedRequest] = []
        patterns: list[Pattern] = []
        for offer in own:
            pattern = self._pattern(offer.card, lang, False)
            text, values = fill(pattern, offer.card, Draw(self.rng, False, lang))
            texts.append(text if not texts else self.rng.choice(words.FOLLOW) + text)
            plans.append(PlannedRequest(offer=offer, values=values))
            patterns.append(pattern)
        joined = [text if text[-1] in ".?!。？！" or number == len(texts) - 1 else f"{text}." for number, text in enumerate(texts)]
        return Request(kind="call", lang=lang, user=" ".join(joined), patterns=tuple(patterns), calls=tuple(plans))

    def _retry(self, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        (offer,) = own
        pattern = self._pattern(offer.card, lang, False)
        draw = Draw(self.rng, False, lang)
        dated = [one.id for one in offer.card.parameters if one.pool in _DATES and f"{{{one.id}}}" in pattern.text]
        if dated:
            draw.memo["style"] = self.rng.choice((1, 2))
        text, values = fill(pattern, offer.card, draw)
        repaired = {own: _iso(values[own]) for own in dated}
        plan = PlannedRequest(offer=offer, values=values, fault="date" if dated else self.rng.choice(words.BUSY), repaired=repaired)
        return Request(kind="call", lang=lang, user=text, patterns=(pattern,), calls=(plan,))

    def _missing(self, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        card = own[0].card
        pattern = self._pattern(card, lang, True)
        text, values = fill(pattern, card, Draw(self.rng, False, lang))
        label = absent(card, pattern.missing, values, lang)
        answer = ask_back(self.rng, label, lang, self.recipe.phrases)
        given = {own: str(value.given) for own, value in values.items()}
        why = asking(self.recipe.thought, own[0], given, words.LACKS[lang].format(label=label))
        return Request(kind="missing", lang=lang, user=text, patterns=(pattern,), answer=answer, thought=why)

    def _no_tool(self, own: list[Offer], offers: Sequence[Offer], lang: str) -> Request:
        cards = [offer.card for offer in offers]
        if self.chats.draw() == "chat":
            pattern, answer = self.talk[lang].draw(lambda one: spoken_of(one[0], cards))
            why = declining(self.recipe.thought, None, self._closest(pattern, offers))
            return Request(kind="no_tool", lang=lang, user=pattern.text, patterns=(pattern,), answer=answer, thought=why)
        card = self.absent[lang].draw(lambda one: not served(one, cards))
        pattern = self._pattern(card, lang, False)
        text, _ = fill(pattern, card, Draw(self.rng, False, lang))
        answer = no_tool_answer(self.rng, card, lang, self.recipe.phrases)
        why = declining(self.recipe.thought, card, self._closest(pattern, offers, card))
        return Request(kind="no_tool", lang=lang, user=text, patterns=(pattern,), answer=answer, thought=why)

    def _closest(self, pattern: Pattern, offers: Sequence[Offer], card: ToolCard | None = None) -> Offer:
        """The tool of the list that is most easily taken for the one that is asked for: by a word of its line, or by what it takes."""
        pools = {one.pool for one in card.parameters} if card else set()

        def alike(offer: Offer) -> tuple[bool, int]:
            return pattern.near(offer.spec.description), len(pools & {one.pool for one in offer.card.parameters})

        most = max(map(alike, offers))
        return self.rng.choice([offer for offer in offers if alike(offer) == most])


def _iso(value: Value) -> Value:
    text = read_date(value.shown).isoformat()
    return Value(text, text)
