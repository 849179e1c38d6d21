"""Lengths of samples in a model's own tokens, under the template that it is trained and served with."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from agenttune import templates
from agenttune.data.native import resolve
from agenttune.data.render import render
from agenttune.models import load_tokenizer
from agenttune.models.locate import locate
from agenttune.protocols import NATIVE
from agenttune.templates import Template
from agenttune.values.sample import Sample
from agenttune.values.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLength:
    """The tokenizer of `model` under `template`. Names only: each process that measures loads its own, once."""

    model: str
    template: str = "auto"

    def name(self) -> str:
        """``smollm2-135m under the template auto``."""
        return f"{self.model} under the template {self.template}"

    def tokens(self, sample: Sample, /) -> int:
        """The tokens of the longest of the sample's renderings; 0 where nothing of it is trained. Raises `UserError`."""
        tokenizer, form = _loaded(self.model, self.template)
        return max((len(one.token_ids) for one in render(sample, form, tokenizer)), default=0)


@functools.lru_cache(maxsize=2)
def _loaded(model: str, template: str) -> tuple[Tokenizer, Template]:
    tokenizer = load_tokenizer(model)
    return tokenizer, templates.load(template, tokenizer)


def token_length(model: str, template: str) -> TokenLength:
    """A `TokenLength` whose tokenizer and template are known to be there. Raises `UserError`."""
    _loaded(model, template)
    return TokenLength(model=model, template=template)


def spoken(protocol: str, model: str, template: str = "auto") -> str:
    """The name of a protocol as samples carry it: ``native`` with the family that this model's template writes. Raises `UserError`."""
    if protocol.partition("/")[0] != NATIVE:
        return protocol
    return resolve(protocol, _loaded(model, template)[1])


def context_of(model: str) -> int:
    """The tokens that a model was made for (``max_position_embeddings`` of its config); 0 where that is not said. Raises `UserError`."""
    try:
        value = json.loads((locate(model, weights=False).folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    for config in (value, value.get("text_config")) if isinstance(value, dict) else ():
        found = config.get("max_position_embeddings") if isinstance(config, dict) else None
        if isinstance(found, int) and found > 0:
            return found
    return 0
