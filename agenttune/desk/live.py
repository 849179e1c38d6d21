"""The live suite's cases, built from hand-written wordings: ``python -m agenttune.desk.live`` writes ``evals/desk/live/*.jsonl`` anew.

A wording is a line of ``dev.txt``, ``heldout.txt`` or ``newcomer.txt``: kind, what is typed, how the last answer is judged, the
articles it is about. What a slot draws follows from the wording alone, and the right number is what the shipped calculator says,
so the same wordings give the same bytes. Cases with unseen tools are drawn from the cards of development and of held-out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agenttune.agent.toolbox.find import load
from agenttune.desk import tools_unseen
from agenttune.desk.cards import ToolCard, unseen
from agenttune.desk.decks import Deck
from agenttune.desk.offers import Offer, offer_list
from agenttune.desk.pools import Draw
from agenttune.desk.recipe import Recipe
from agenttune.desk.request import conflict, fill
from agenttune.files import shipped, write_text

FOLDER = shipped("evals") / "desk" / "live"
HALVES = ("dev", "heldout", "newcomer")
SHIPPED = ("calculator", "local_search")
BUSY = "the service is busy, try again"
UNSEEN = 36  # cases with unseen tools in each of development and held-out
OFFERED = 3  # unseen tools in one case
# Unseen tools that change something: their cases are judged by what was changed.
CHANGING = frozenset(("restaurant_table", "taxi", "thermostat", "lamp", "timer", "volume", "laundry", "car_charge", "podcast"))
_SLOT = re.compile(r"\{([a-z]):(\d+)-(\d+)\}")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One hand-written line: typed rounds with slots, the judge's words, the articles, and how often it is drawn."""

    kind: str
    times: int
    rounds: tuple[str, ...]
    judge: str
    articles: tuple[str, ...]


def wordings(half: str) -> list[Wording]:
    """The lines of ``half.txt``. An unreadable one is an assertion: the file is ours."""
    found = []
    for line in (FOLDER / f"{half}.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, typed, judge, *articles = re.split(r" \| ", line)
        name, _, times = kind.partition(" x")
        named = tuple(articles[0].split(", ")) if articles else ()
        found.append(Wording(kind=name, times=int(times or 1), rounds=tuple(re.split(r" \|\| ", typed)), judge=judge, articles=named))
    return found


def rows(half: str) -> list[dict[str, Any]]:
    """The rows of one half, numbered within their kinds."""
    made = [*_shipped_rows(half), *(_unseen_rows(half) if half != "newcomer" else ())]
    counts: dict[str, int] = {}
    for row in made:
        kind = row["tags"]["kind"]
        row["id"] = f"{half}-{kind}-{counts.setdefault(kind, 0):02d}"
        counts[kind] += 1
    return made


def _shipped_rows(half: str) -> Iterator[dict[str, Any]]:
    for number, one in enumerate(wordings(half)):
        for time in range(one.times):
            values = _drawn(one, random.Random(f"{half} {one.rounds} {time}"))
            users = [_SLOT.sub(lambda found: str(values[found[1]]), text) for text in one.rounds]  # noqa: B023
            yield {
                "id": "",
                "tools": list(SHIPPED if (number + time) % 2 else reversed(SHIPPED)),
                "users": users,
                "judge": _judge(one.judge, values),
                **({"quiet": [0]} if one.kind == "missing" else {}),
                **({"fault": BUSY} if one.kind == "retry" else {}),
                "tags": {"half": "shipped", "kind": one.kind, "lang": "zh" if one.kind == "chinese" else "en", "split": half},
                "clusters": [one.kind, " || ".join(one.rounds)],
            }


def _drawn(one: Wording, rng: random.Random) -> dict[str, int]:
    return {name: rng.randint(int(low), int(high)) for text in one.rounds for name, low, high in _SLOT.findall(text)}


def _judge(words: str, values: dict[str, int]) -> dict[str, Any]:
    """``= a*b`` computed; ``number 4 ;; 5``, ``text Bern``, ``talk``, ``declines`` as they stand."""
    if words.startswith("= "):
        filled = re.sub(r"\b[a-z]\b", lambda found: str(values[found[0]]), words[2:])
        return {"how": "number", "accepted": [load("calculator")[0].call({"expression": filled})]}
    how, _, rest = words.partition(" ")
    return {"how": how, "accepted": [one.format(**values) for one in rest.split(" ;; ")] if rest else []}


def _unseen_rows(half: str) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"live {half}")
    cards = unseen(half)
    deck = Deck(rng, [(card, one) for card in cards for one in card.select(half, "en", False)])
    asked: dict[str, int] = {}
    while sum(asked.values()) < UNSEEN:
        card, pattern = deck.draw(lambda one: asked.get(one[0].id, 0) <= sum(asked.values()) // len(cards))
        asked[card.id] = asked.get(card.id, 0) + 1
        offers = offer_list(rng, _beside(rng, card, cards), Recipe(opaque=0.0, hints=0.0), half, "en", True)
        text, values = fill(pattern, card, Draw(rng, True, "en"))
        (offer,) = [one for one in offers if one.card is card]
        yield {
            "id": "",
            "tools": [_listed(one) for one in offers],
            "users": [text],
            "judge": _unseen_judge(offer, offer.arguments({own: value.given for own, value in values.items()})),
            "tags": {"half": "unseen", "kind": "unseen", "lang": "en", "split": half},
            "clusters": [card.id, f"{card.id}: {pattern.text}"],
        }


def _beside(rng: random.Random, card: ToolCard, cards: tuple[ToolCard, ...]) -> list[ToolCard]:
    chosen = [card]
    for other in rng.sample(cards, len(cards)):
        if len(chosen) < OFFERED and not conflict(other, chosen):
            chosen.append(other)
    rng.shuffle(chosen)
    return chosen


def _listed(offer: Offer) -> dict[str, Any]:
    """A tool as the suite writes it: where its function is, and the name, description and parameter names of this list."""
    return {
        "use": f"{tools_unseen.__name__}:{offer.card.id}",
        "name": offer.spec.name,
        "description": offer.spec.description,
        "parameters": dict(offer.names),
        **({"changes": True} if offer.card.id in CHANGING else {}),
    }


def _unseen_judge(offer: Offer, arguments: dict[str, Any]) -> dict[str, Any]:
    """By what was changed; else by every number that the tool answers; else by its text."""
    if offer.card.id in CHANGING:
        return {"how": "state", "accepted": [{"name": offer.spec.name, "arguments": arguments}]}
    said = offer.tool.call(arguments)
    numbers = _NUMBERS.findall(said)
    return {"how": "numbers", "accepted": numbers} if numbers else {"how": "text", "accepted": [said]}


def lines(half: str) -> str:
    """The file of one half: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(half))


def main() -> None:
    """Writes the three files."""
    for half in HALVES:
        write_text(FOLDER / f"{half}.jsonl", lines(half))


if __name__ == "__main__":
    main()
