"""The cases of development and held-out: one step each, with known tools and with unseen ones, by one rule for both halves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from agenttune.agent.toolbox.run import Toolbox
from agenttune.desk import words
from agenttune.desk.cards import Pattern, ToolCard, known, unseen
from agenttune.desk.decks import Deck, shares
from agenttune.desk.execute import answering
from agenttune.desk.offers import Offer, offer_list, spoken
from agenttune.desk.pools import Draw
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import PlannedRequest, Request, accepted, compare, conflict, decorated, fill, served, spoken_of, talk
from agenttune.values.sample import tool_to_json
from agenttune.values.trajectory import ToolCall

# For each split: (language, tool lists, call cases, no_tool cases, missing cases) of each half; four cases share one list.
SIZES = {"dev": (("en", 34, 82, 27, 27), ("zh", 4, 10, 3, 3)), "heldout": (("en", 45, 108, 36, 36), ("zh", 5, 12, 4, 4))}
CHAT = 4  # every fourth no_tool case needs no tool at all; the others name something that only tools outside the list do

Asked = tuple[ToolCard, Pattern, bool]  # the last: near to the tool's line or not


class CaseMaker:
    """One half of one split in one language."""

    def __init__(self, rng: random.Random, recipe: Recipe, split: str, half: str, lang: str) -> None:
        self.rng, self.recipe, self.split, self.half, self.lang = rng, recipe, split, half, lang
        self.cards = known() if half == "known" else unseen(split)
        self.asked = {kind: Deck(rng, self._asked(kind)) for kind in ("call", "no_tool", "missing")}
        self.talk = Deck(rng, talk(split, lang))
        self.chats = 0
        self.near = {kind: shares(rng, {"near": recipe.near, "oblique": 1 - recipe.near}, 10) for kind in ("call", "missing")}

    def _asked(self, kind: str) -> list[tuple[ToolCard, Pattern]]:
        return [(card, one) for card in self.cards for one in card.select(self.split, self.lang, kind == "missing")]

    def rows(self, lists: int, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
        """The rows of `lists` tool lists, four each."""
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        self.rng.shuffle(kinds)
        for number in range(lists):
            yield from self._list(number, kinds[4 * number : 4 * number + 4])

    def _list(self, number: int, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
        rng, called = self.rng, list[ToolCard]()
        asked = [self._apart(kind, called) for kind in kinds]
        wanted = {one[0].id: (one[1], one[2]) for one in asked if one and self.lang == "en"}
        cards = self._offered(called, rng.randint(self.recipe.smallest, self.recipe.largest))
        typed = rng.random() < self.recipe.shape_c + self.recipe.shape_d
        offers = offer_list(rng, cards, self.recipe, self.split if self.half == "unseen" else "train", "en", typed, wanted)
        system = rng.choice(words.SYSTEMS)
        for place, (kind, found) in enumerate(zip(kinds, asked, strict=True)):
            request = self._request(kind, found, offers)
            yield self._row(f"{self.split}-{self.half}-{self.lang}-{number:02d}-{place}", request, offers, system)

    def _apart(self, kind: str, called: list[ToolCard]) -> Asked | None:
        """What the next case asks for; its tool joins `called`, which holds no two of a family. None for a case without a tool."""
        if kind == "no_tool":
            return None
        near = self.near[kind].draw() == "near" and self.lang == "en"
        card, pattern = self.asked[kind].draw(
            lambda one: not conflict(one[0], called) and any(one[1].near(about) == near for about in one[0].about)
        )
        called.append(card)
        return card, pattern, near

    def _offered(self, called: Sequence[ToolCard], size: int) -> list[ToolCard]:
        chosen = list(called)
        others = list(self.cards)
        self.rng.shuffle(others)
        for card in others:
            if len(chosen) < size and not conflict(card, chosen):
                chosen.append(card)
        self.rng.shuffle(chosen)
        return chosen

    def _request(self, kind: str, found: Asked | None, offers: Sequence[Offer]) -> Request:
        if found is None:
            cards = [offer.card for offer in offers]
            self.chats += 1
            if self.chats % CHAT == 0:
                pattern, answer = self.talk.draw(lambda one: spoken_of(one[0], cards))
                return Request(kind=kind, lang=self.lang, user=pattern.text, patterns=(pattern,), answer=answer)
            card, pattern = self.asked["no_tool"].draw(lambda one: not served(one[0], cards))
        else:
            card, pattern, _ = found
        text, values = fill(pattern, card, Draw(self.rng, True, self.lang))
        if self.lang == "en" and self.rng.random() < self.recipe.decorated:
            text = decorated(self.rng, text, self.split)
        calls = tuple(PlannedRequest(offer=offer, values=values) for offer in offers if kind == "call" and offer.card is card)
        return Request(kind=kind, lang=self.lang, user=text, patterns=(pattern,), calls=calls)

    def _line(self, pattern: Pattern, offers: Sequence[Offer]) -> str:
        """The line of the list that the pattern is about; where its tool is not offered, one wording of it; none for small talk."""
        for offer in offers:
            if offer.card.id == pattern.tool:
                return f"{spoken(offer.spec.name)} {offer.spec.description}"
        return next((self.rng.choice(card.about) for card in self.cards if card.id == pattern.tool), "")

    def _row(self, id: str, request: Request, offers: Sequence[Offer], system: str) -> dict[str, Any]:
        (pattern,) = request.patterns
        right = [{"name": plan.offer.spec.name, "arguments": one} for plan in request.calls for one in accepted(plan)]
        for call in right:
            _run(offers, call)
        how = compare(request.calls[0].offer) if request.calls else {}
        difficulty = "near" if pattern.near(self._line(pattern, offers)) else "oblique"
        tags = {"half": self.half, "split": self.split, "difficulty": difficulty, "lang": self.lang}
        return {
            "id": id,
            "tools": [tool_to_json(offer.spec) for offer in offers],
            "system": system,
            "user": request.user,
            "accepted": right,
            "compare": how,
            "tags": {**tags, "kind": "missing_argument" if request.kind == "missing" else request.kind},
            "clusters": [pattern.tool, f"{pattern.tool}: {pattern.text}"],
        }


def _run(offers: Sequence[Offer], call: dict[str, Any]) -> None:
    """Every accepted call works; one that does not is an assertion."""
    toolbox = Toolbox([answering(offer.tool) for offer in offers], inline=True)
    (seen,) = toolbox.run([ToolCall(name=call["name"], arguments=call["arguments"])])
    assert not seen.error, (call, seen.text)


def cases(split: str, recipe: Recipe) -> list[dict[str, Any]]:
    """The rows of ``dev`` or ``heldout``. They depend on the seed alone, not on the shares of the training half."""
    rng = random.Random(f"{split} {recipe.seed}")
    plain = Recipe(seed=recipe.seed)
    made: list[dict[str, Any]] = []
    for half in ("known", "unseen"):
        for lang, lists, call, no_tool, missing in SIZES[split]:
            maker = CaseMaker(rng, plain, split, half, lang)
            made += maker.rows(lists, {"call": call, "no_tool": no_tool, "missing": missing})
    return made
