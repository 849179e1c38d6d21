"""Token-level values: what a renderer makes, what a trainer reads, and the tokenizer they both speak through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from agenttune.values.trajectory import Json


class Tokenizer(Protocol):
    """The few things rendering and decoding need of a tokenizer; `models/` adapts real ones to it."""

    @property
    def name(self) -> str:
        """A name for messages and cards."""

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's own Jinja chat template, if it has one."""

    @property
    def bos_id(self) -> int | None:
        """The id put before a text by this tokenizer's own convention, or None if it puts none."""

    @property
    def bos_token(self) -> str | None:
        """The beginning-of-sequence token's text, whoever writes it; None where there is none."""

    @property
    def eos_id(self) -> int | None:
        """The end-of-sequence id."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Every id that content must never yield."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text`, with no id added around it. `special=False`: markers inside are read as plain text."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each id of ``encode(text, special=False)``."""

    def encode_many(self, texts: Sequence[str], *, offsets: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Ids of several plain texts at once, on all cores where the tokenizer can, and their `offsets` if asked for (else empty)."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens written out, no clean-up of spaces."""

    def special_id(self, text: str) -> int | None:
        """The id of a special or added token written `text`, or None."""

    def apply_template(self, messages: Sequence[Mapping[str, Any]], *, generate: bool, options: Mapping[str, Json] | None = None) -> str:
        """The tokenizer's own template over `messages` as text; `generate` adds the assistant header.

        `options` are what else the template asks for, by name (``enable_thinking``); ``date`` is the day that it takes for today's.

        Raises `ValueError` where the template refuses the messages (a role it does not know, an order it does not take).
        """


IdList = TypeVar("IdList", list[int], tuple[int, ...], bytes)


def common_prefix(first: IdList, second: IdList) -> int:
    """How many leading items two sequences of one kind share; halves are compared whole, so that no item is looked at by Python.

    >>> common_prefix([5, 6, 7, 8], [5, 6, 9])
    2
    """
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while high - low > 1:  # they agree before `low` and differ before `high`
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low


@runtime_checkable
class GrammarTokenizer(Protocol):
    """A tokenizer that a grammar can be laid over."""

    @property
    def grammar_vocabulary(self) -> str | Sequence[bytes]:
        """Its ``tokenizer.json`` as text, or the bytes of each id (of special ids too)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A sample as tokens: `token_ids[T]`, `weights[T]` (0 = context; the weight belongs to the token itself, not its predictor).

    `turn_ends[k]` is the index after the last token of turn k's output (stop token included). `kinds[T]` names what each token
    is: ``system``, ``user``, ``header``, ``lead``, ``thought``, ``action``, ``arguments``, ``answer``, ``stop``. `dropped`
    counts the earlier outputs that the template shows without their reasoning.

    "Hi" answered by "Yes" in ChatML, over a tokenizer whose ids are bytes, 256 for ``<|im_start|>`` and 257 for ``<|im_end|>``:

    >>> from agenttune import templates
    >>> from agenttune.data.render import render
    >>> from agenttune.models.scripted import ByteTokenizer
    >>> from agenttune.values.sample import Sample, Turn
    >>> tokenizer = ByteTokenizer()
    >>> sample = Sample(turns=(Turn(input="Hi", output="Final Answer: Yes"),))
    >>> (rendered,) = render(sample, templates.load("auto", tokenizer), tokenizer)
    >>> rendered.token_ids[:9]  # <|im_start|> u s e r \\n H i <|im_end|>
    (256, 117, 115, 101, 114, 10, 72, 105, 257)
    >>> rendered.prompt_ends, rendered.turn_ends, len(rendered.token_ids)
    ((21,), (39,), 39)
    >>> [(token, kind, weight) for token, kind, weight in zip(rendered.token_ids, rendered.kinds, rendered.weights)][-3:]
    [(101, 'answer', 1.0), (115, 'answer', 1.0), (257, 'stop', 1.0)]
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]
    kinds: tuple[str, ...]
    prompt_ends: tuple[int, ...] = ()
    turn_ends: tuple[int, ...] = ()
    id: str = ""
    group: str = ""
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model said: ids (the stop token excluded), their text, why it stopped, and counts of tokens computed.

    `stop_text` is the stop text that was met, where ``stop`` is ``"stop_text"``. `refused` counts tokens whose likeliest id a grammar
    did not allow. `written_tokens` is how many the model wrote where `token_ids` are not its own (a server that is asked by messages);
    None where they are, and 0 where nobody knows.
    """

    token_ids: tuple[int, ...]
    text: str
    stop: str
    prompt_tokens: int = 0
    prefilled_tokens: int = 0
    forward_passes: int = 0
    stop_text: str = ""
    refused: int = 0
    written_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Bounds and sampling of a decode: greedy at temperature 0."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = field(default=())
    stop_ids: frozenset[int] = field(default=frozenset())
