"""Chat templates as data: a named set of five spans, or the tokenizer's own."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from agenttune.errors import UserError, nearest
from agenttune.templates.base import REFUSALS, Coverage, Piece, Template, TurnWriter
from agenttune.templates.jinja import JinjaTemplate
from agenttune.templates.named import NAMED, NamedTemplate
from agenttune.values.adapter import Card
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json

__all__ = ["NAMED", "REFUSALS", "Coverage", "Piece", "Template", "TurnWriter", "load", "load_for"]


def load(
    name: str,
    tokenizer: Tokenizer,
    options: Mapping[str, Json] | None = None,
    *,
    pinned: bool = False,
    observation_role: str | None = None,
) -> Template:
    """The template called `name` for this tokenizer; ``auto`` is the tokenizer's own Jinja template, written with `options`.

    `options` are what a template asks for besides messages; ``date`` (YYYY-MM-DD) pins the day that it writes, and where `pinned`
    a template that writes the day must have one, because tomorrow's prompts would not be those that were trained. `observation_role`
    is that of a card (see `load_for`).

    Raises `UserError` for an unknown name, for ``auto`` where the tokenizer has none, and for a template whose stop or role
    token is not in the vocabulary (the model could neither emit nor read it as one token).
    """
    if name == "auto":
        if not tokenizer.chat_template:
            raise UserError(f"{tokenizer.name} has no chat template of its own; name one with template=…: {', '.join(NAMED)}")
        _check_date(tokenizer, options or {}, pinned)
        return JinjaTemplate.of(tokenizer, options or {}, observation_role)
    if name not in NAMED:
        raise UserError(f'there is no template "{name}"{nearest(name, [*NAMED, "auto"])}; known: auto, {", ".join(NAMED)}')
    if options:
        raise UserError(f'the template "{name}" takes no template_options; they are for a tokenizer\'s own template (auto)')
    return NamedTemplate.bind(name, tokenizer)


def load_for(card: Card | None, name: str, tokenizer: Tokenizer) -> Template:
    """The template `name` as an adapter with this card was trained in it: its options, and the role of tools' answers.

    A card of the time before the role was written was trained under the first of system, tool and user that the template carries.
    """
    if card is None:
        return load(name, tokenizer)
    role = card.observation_role if name == card.template else None
    return load(name, tokenizer, card.template_options, observation_role=role)


def _check_date(tokenizer: Tokenizer, options: Mapping[str, Json], pinned: bool) -> None:
    date = options.get("date")
    if date is not None:
        try:
            datetime.date.fromisoformat(str(date))
        except ValueError as error:
            raise UserError(f"template_options.date must be a day like 2026-01-31, not {date!r}") from error
    elif pinned and writes_date(tokenizer):
        today = datetime.date.today().isoformat()
        raise UserError(
            f"the chat template of {tokenizer.name} writes today's date into every prompt; pin it: template_options.date={today}"
        )


def writes_date(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer's template writes the day on which it is used."""
    return "strftime_now" in (tokenizer.chat_template or "")
