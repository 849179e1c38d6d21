"""What the suite promises, checked each time it is built. Every function returns sentences about what is wrong."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from agenttune.desk.cards import SPLITS, Pattern, ToolCard, further, known, trained, unseen
from agenttune.desk.offers import OPAQUE, styled, words
from agenttune.desk.request import talk

FOURS = 4


def problems() -> list[str]:
    """Everything that is wrong with the cards; empty when all promises hold."""
    return [*counts(), *apart("dev"), *apart("heldout"), *patterns_apart()]


def _grams(card: ToolCard) -> set[tuple[str, ...]]:
    found = set()
    for about in card.about:
        parts = re.findall(r"[a-z0-9']+", about.lower())
        found |= {tuple(parts[at : at + FOURS]) for at in range(len(parts) - FOURS + 1)}
    return found


def _parameter_sets(card: ToolCard) -> set[frozenset[str]]:
    return {frozenset(name.lower() for name in names) for names in itertools.product(*(one.names for one in card.parameters))}


def _words(cards: Sequence[ToolCard], split: str) -> set[str]:
    named = {word for card in cards for name in card.names for word in words(styled(name, "snake"))}
    return named | {word for name in OPAQUE[split] for word in words(name)}


def apart(split: str) -> Iterator[str]:
    """An unseen tool shares no word of a name, no parameter set and no four words of a description with a training tool."""
    train_words, cards = _words(trained(), "train"), unseen(split)
    sets = {one for card in trained() for one in _parameter_sets(card)}
    grams = {gram for card in trained() for gram in _grams(card)}
    if shared := train_words & _words(cards, split):
        yield f"{split}: unseen names share the words {sorted(shared)} with training tools"
    for card in cards:
        if card.id in {one.id for one in trained()}:
            yield f"{split}: {card.id} is a training tool"
        if shared_sets := _parameter_sets(card) & sets:
            yield f"{split}: {card.id} shares a parameter set with a training tool: {sorted(map(sorted, shared_sets))[:3]}"
        if shared_grams := _grams(card) & grams:
            yield f"{split}: {card.id} shares words of a description with a training tool: {sorted(shared_grams)}"
    if split == "heldout":
        yield from (f"{card.id} is unseen in both splits" for card in cards if card.id in {one.id for one in unseen("dev")})


def all_patterns() -> list[Pattern]:
    """Every pattern of every split, small talk included."""
    cards = [*trained(), *unseen("dev"), *unseen("heldout")]
    spoken = [pattern for split in SPLITS.values() for lang in ("en", "zh") for pattern, _ in talk(split, lang)]
    return [pattern for card in cards for pattern in card.patterns] + spoken


def normal(text: str) -> str:
    """A pattern without its slots' names, punctuation and letter case."""
    return " ".join(re.findall(r"[\w']+", re.sub(r"\{\w+\}", "SLOT", text).lower()))


def patterns_apart() -> Iterator[str]:
    """No pattern twice; none of held-out or development that differs from another split's by a word or two of eight."""
    seen: dict[str, Pattern] = {}
    for pattern in all_patterns():
        text = normal(pattern.text)
        if text in seen and (seen[text].split != pattern.split or seen[text].tool == pattern.tool):
            yield f"the pattern {pattern.text!r} of {pattern.tool} stands twice ({seen[text].split}, {pattern.split})"
        seen[text] = pattern
    by_tool: dict[str, list[Pattern]] = {}
    for pattern in all_patterns():
        by_tool.setdefault(pattern.tool, []).append(pattern)
    for own in by_tool.values():
        for one, other in itertools.combinations(own, 2):
            if one.split != other.split and one.lang == "en" and _alike(one, other):
                yield f"{one.tool}: {one.text!r} ({one.split}) and {other.text!r} ({other.split}) are nearly one pattern"


def _alike(one: Pattern, other: Pattern) -> bool:
    a, b = Counter(normal(one.text).split()), Counter(normal(other.text).split())
    return sum((a & b).values()) / max(sum(a.values()), sum(b.values())) >= 0.85


def counts() -> Iterator[str]:
    """How many tools and patterns there are at least."""
    if len(known()) < 40 or len(unseen("heldout")) < 15 or len(unseen("dev")) < 10:
        yield "too few tools"
    if len(all_patterns()) < 300:
        yield "too few patterns"
    for card in known():
        if len(card.select("train", "en", False)) < 4 or not card.select("dev", "en", False) or not card.select("heldout", "en", False):
            yield f"{card.id} has too few patterns"
    for card in further():
        if {pattern.split for pattern in card.patterns} != {"train"} or len(card.select("train", "en", False)) < 8:
            yield f"{card.id} needs eight patterns or more, all of training"
    for id, count in Counter(card.id for card in trained()).items():
        if count > 1:
            yield f"{id} is two training tools"
    for split in ("dev", "heldout"):
        for card in unseen(split):
            if len(card.select(split, "en", False)) < 3:
                yield f"{card.id} has too few patterns"


def same_kind(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Near and oblique English calls have the same share in both halves."""
    shares = [_oblique(rows, half) for half in ("known", "unseen")]
    if abs(shares[0] - shares[1]) > 0.04:
        yield f"oblique cases are {shares[0]:.0%} with known tools and {shares[1]:.0%} with unseen ones"


def _oblique(rows: Sequence[dict[str, Any]], half: str) -> float:
    own = [row["tags"] for row in rows if row["tags"]["half"] == half and row["tags"]["lang"] == "en" and row["accepted"]]
    return sum(bool(tags["difficulty"] == "oblique") for tags in own) / len(own)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Counts of cases by half, language and kind, and the share of oblique ones."""
    parts = Counter((row["tags"]["half"], row["tags"]["lang"], row["tags"]["kind"]) for row in rows)
    lines = [f"  {half:<7} {lang} {kind:<17} {count}" for (half, lang, kind), count in sorted(parts.items())]
    lines += [f"  {half:<7} oblique among English calls: {_oblique(rows, half):.0%}" for half in ("known", "unseen")]
    return "\n".join(lines)
