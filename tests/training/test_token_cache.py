"""A corpus is encoded once a text, many texts at a time, with the ids that encoding one by one gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agenttune import templates
from agenttune.config import DataFile, config_from
from agenttune.data.render import render
from agenttune.models.scripted import ByteTokenizer
from agenttune.models.tokenizer import wrap_tokenizer
from agenttune.training import corpus, token_cache
from agenttune.training.corpus import Samples, make_corpus
from agenttune.training.token_cache import CachingTokenizer
from agenttune.values.sample import Sample, Turn

CONFIG = config_from({"model": "m", "data": "d", "output": "o"}, "a test")


class Counting(ByteTokenizer):
    """Counts what it encodes, by text."""

    def __init__(self) -> None:
        self.alone: Counter[str] = Counter()
        self.together: Counter[str] = Counter()

    def encode(self, text: str, *, special: bool) -> list[int]:
        self.alone[text] += not special
        return super().encode(text, special=special)

    def encode_many(self, texts: Sequence[str], *, offsets: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        self.together.update(texts)
        encode = super().encode
        return [(encode(text, special=False), self.offsets(text) if offsets else []) for text in texts]


def samples(count: int) -> tuple[Sample, ...]:
    """Samples of three system texts; every fourth says the same."""
    said = [f"Thought: {number % 4 and number}\nAction: look\nAction Input: {{}}" for number in range(count)]
    return tuple(Sample(turns=(Turn(system=f"system {at % 3}", input=f"user {at}", output=one),)) for at, one in enumerate(said))


def read(count: int) -> Samples:
    return Samples(samples=samples(count), owners=(0,) * count, files=(DataFile(path="d"),), hashes=("",))


def test_each_text_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "READ_AHEAD", 16)
    tokenizer = Counting()
    template = templates.load("auto", tokenizer)
    tokenizer.alone.clear()
    made = make_corpus(read(50), template, tokenizer, CONFIG)
    assert len(made) == 50
    assert not tokenizer.alone.keys() & tokenizer.together.keys()
    assert set(tokenizer.together.values()) == {1} and len(tokenizer.together) == 3 + 50 + 38


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_ids_are_those_of_one_text_at_a_time(made_tokenizer: Callable[[str], Any], name: str) -> None:
    tokenizer = wrap_tokenizer(made_tokenizer(name))
    template = templates.load("auto", tokenizer)
    given = read(20)
    made = make_corpus(given, template, tokenizer, CONFIG)
    for index, sample in enumerate(given.samples):
        (alone,) = render(sample, template, tokenizer)
        assert (made[index].token_ids, made[index].weights) == (alone.token_ids, alone.weights)


def test_what_was_not_used_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "ENTRIES", 2)
    inner = Counting()
    tokenizer = CachingTokenizer(inner)
    for text in ("a", "b", "a", "c", "a", "b"):
        assert tokenizer.encode(text, special=False) == [ord(text)]
    assert inner.alone == {"a": 1, "b": 2, "c": 1}
