"""``chat_template_kwargs``: what a request tells the chat template besides messages, such as ``enable_thinking``."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from agenttune import templates
from agenttune.data.native import resolve
from agenttune.errors import UserError
from agenttune.protocols.base import Protocol
from agenttune.serving.errors import ApiError
from agenttune.templates import Template
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json, JsonObject

# What transformers gives to every template, and what would change more than a template's own words.
_GIVEN = frozenset(("messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "chat_template", "tokenize"))
_MOST = 8  # templates that are kept: each learns its words once


@dataclass(frozen=True, slots=True)
class OptionedTemplates:
    """A template under the options of requests, the last few of them kept."""

    _kept: OrderedDict[str, Template] = field(default_factory=OrderedDict)

    def get(self, template: Template, tokenizer: Tokenizer, protocol: Protocol, trained: Mapping[str, Json], asked: JsonObject) -> Template:
        """`template` with those of the options `asked` that it reads, over those it was `trained` with. Raises `ApiError`."""
        options = {name: value for name, value in asked.items() if name in option_names(tokenizer.chat_template or "")}
        if not options or template.name != "auto" or options.items() <= trained.items():
            return template
        key = json.dumps(options, sort_keys=True)
        if key not in self._kept:
            try:
                form = templates.load("auto", tokenizer, {**trained, **options}, observation_role=template.observation_role)
                resolve(protocol.name, form)
            except (UserError, ValueError) as error:
                raise ApiError(400, f"chat_template_kwargs: {error}", param="chat_template_kwargs") from error
            self._kept[key] = form
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return self._kept[key]


@functools.lru_cache(maxsize=16)
def option_names(chat_template: str) -> frozenset[str]:
    """The names that a Jinja template reads and that are nobody else's to give.

    >>> sorted(option_names("{% if enable_thinking %}{{ messages[0]['content'] + bos_token }}{% endif %}"))
    ['enable_thinking']
    """
    import jinja2.meta

    try:
        read = jinja2.meta.find_undeclared_variables(jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(chat_template))
    except jinja2.TemplateError:
        return frozenset()  # words of transformers' own, such as {% generation %}: nothing is known of it
    return frozenset(name for name in read if name not in _GIVEN and not name.endswith("_token"))
