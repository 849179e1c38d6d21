"""The shares of the training data, in one place. Every choice here is made on the development cases."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How many one-step requests and whole conversations, and of which kinds. The kinds' shares are relative to their sum."""

    seed: int = 0
    requests: int = 1600
    per_list: int = 6  # requests that share one tool list
    smallest: int = 4  # tools offered at a time
    largest: int = 8
    single: float = 0.62  # one call
    multi: float = 0.06  # two or three calls
    retry: float = 0.02  # a call that fails, then one that works
    no_tool: float = 0.09  # no tool in the list does it
    missing: float = 0.21  # a required argument is not given: ask back
    answered: float = 0.35  # of the requests with calls: the last observation is answered, else the record ends with it
    chat: float = 0.2  # of no_tool: needs no tool at all
    chinese: float = 0.06  # tool lists whose requests are Chinese
    opaque: float = 0.2  # tools whose name says nothing
    hints: float = 0.3  # tool lists with a description for each parameter
    decorated: float = 0.2  # requests with a few words before or after
    known: int = 7  # times a tool that cases ask for is dealt, for each time a further one is
    near: float = 0.6  # requests that share a content word with their tool's line
    thought: str = "need values"  # the parts of a thought, see thoughts.py; nothing for none
    phrases: int = 1  # ways to say the same thing in an answer; each more is noise that the model must learn to expect
    shape_a: float = 0.25
    shape_b: float = 0.25
    shape_c: float = 0.38
    shape_d: float = 0.12
    live: float = 0.6  # of all training records: whole conversations (live_train.py); the rest are the one-step lists above
    live_plain: float = 0.5  # of the conversations: the shipped two tools alone
    live_beside: float = 0.17  # the shipped two with others beside them; the rest: tools that search and reckon under other names
    live_sums: float = 0.24  # the kinds of conversations; relative to their sum
    live_facts: float = 0.27
    live_computed: float = 0.13
    live_chinese: float = 0.11
    live_talk: float = 0.06
    live_declines: float = 0.06
    live_missing: float = 0.03
    live_follow: float = 0.05
    live_retry: float = 0.02
    live_other: float = 0.03

    def changed(self, settings: list[str]) -> Recipe:
        """With ``key=value`` settings applied. An unknown key or a bad value is a `ValueError`."""
        kinds: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(self)}
        made = {}
        for setting in settings:
            key, separator, value = setting.partition("=")
            if not separator or key not in kinds:
                raise ValueError(f'"{setting}": settings are key=value with a key of {", ".join(kinds)}')
            made[key] = kinds[key](value)
        return dataclasses.replace(self, **made)
