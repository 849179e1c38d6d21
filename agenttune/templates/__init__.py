"""Chat templates as data: a named set of five spans, or the tokenizer's own."""

from __future__ import annotations

from agenttune.errors import UserError, nearest
from agenttune.templates.base import REFUSALS, Coverage, Piece, Template
from agenttune.templates.jinja import JinjaTemplate
from agenttune.templates.named import NAMED, NamedTemplate
from agenttune.values.tokens import Tokenizer

__all__ = ["NAMED", "REFUSALS", "Coverage", "Piece", "Template", "load"]


def load(name: str, tokenizer: Tokenizer) -> Template:
    """The template called `name` for this tokenizer; ``auto`` is the tokenizer's own Jinja template.

    Raises `UserError` for an unknown name, for ``auto`` where the tokenizer has none, and for a template whose stop or role
    token is not in the vocabulary (the model could neither emit nor read it as one token).
    """
    if name == "auto":
        if not tokenizer.chat_template:
            raise UserError(f"{tokenizer.name} has no chat template of its own; name one with template=…: {', '.join(NAMED)}")
        return JinjaTemplate.of(tokenizer)
    if name not in NAMED:
        raise UserError(f'there is no template "{name}"{nearest(name, [*NAMED, "auto"])}; known: auto, {", ".join(NAMED)}')
    return NamedTemplate.bind(name, tokenizer)
