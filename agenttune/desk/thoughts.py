"""What the expert thinks before it acts, put together from the parts that the recipe names.

``need``: what is wanted, by the tool's fixed phrase; ``quote``: the line of the closest tool; ``fit``: whether that one does it;
``values``: the quote goes on as the list's line does, with a value in the place of each type. Copying is what a small model does
best: told to name the arguments in a form of its own, it forgot the later ones and took some of other tools.
"""

from __future__ import annotations

from collections.abc import Mapping

from agenttune.desk import words
from agenttune.desk.cards import ToolCard
from agenttune.desk.offers import Offer


def calling(parts: str, offer: Offer, values: Mapping[str, str]) -> str:
    """Before a call of the offer's tool; `values` are texts by the parameters' own ids."""
    return _sentences(
        _wanted(offer.card, offer.lang) if "need" in parts else "",
        _filled(offer, values) if "values" in parts else _quoted(offer) if "quote" in parts else "",
        words.FITS[offer.lang] if "fit" in parts else "",
    )


def asking(parts: str, offer: Offer, values: Mapping[str, str], lacks: str) -> str:
    """Before asking back for what the tool lacks; `lacks` says it in words."""
    if not parts:
        return ""
    if "values" in parts:
        return calling(parts, offer, values)
    found = calling(parts, offer, values)
    return f"{found[:-1]}, {lacks}" if "fit" in parts else f"{found} {lacks[0].upper()}{lacks[1:]}"


def declining(parts: str, card: ToolCard | None, closest: Offer) -> str:
    """Before an answer without a tool. `card` is the tool that would do it, None for talk; `closest` the one that might be taken for it."""
    if not parts:
        return ""
    wanted = _wanted(card, closest.lang) if "need" in parts else ""
    if "fit" in parts:
        return _sentences(wanted, _quoted(closest) if "quote" in parts else "", words.FITS_NOT[closest.lang])
    return _sentences(wanted, words.NONE[closest.lang])


def _wanted(card: ToolCard | None, lang: str) -> str:
    return words.TALK[lang] if card is None else card.gloss_zh if lang == "zh" else f"To {card.gloss}"


def _quoted(offer: Offer) -> str:
    return f"{offer.spec.description}: {offer.spec.name}"


def _filled(offer: Offer, values: Mapping[str, str]) -> str:
    """The line without its name, filled in; what is not given is "?", or "-" where the tool does without it."""
    absent = {one.id: "?" if one.required else "-" for one in offer.card.parameters}
    filled = ", ".join(f'"{new}": {values.get(own, absent[own])}' for own, new in offer.names.items())
    return f"{offer.spec.description} {{{filled}}}"


def _sentences(*parts: str) -> str:
    return " ".join(f"{one}." for one in parts if one)
