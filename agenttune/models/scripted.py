"""A model that says what it is told to say: for data that is made by an expert program, and for tests without mocks.

It speaks ids like any other model, over a tokenizer of bytes, and keeps a prefix like any other; it needs no library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agenttune.errors import UserError
from agenttune.models.base import Prefill, Prefix, SequenceBatch
from agenttune.values.adapter import Card
from agenttune.values.tokens import common_prefix
from agenttune.values.trajectory import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class ByteTokenizer:
    """The 256 bytes of UTF-8, then ``<|im_start|>`` (256) and ``<|im_end|>`` (257); its template is ChatML."""

    name = "bytes"
    chat_template: str | None = CHATML
    bos_id: int | None = None
    bos_token: str | None = None
    eos_id: int | None = 257
    special_ids = frozenset((256, 257))
    vocabulary = 258
    _special: Mapping[str, int] = {"<|im_start|>": 256, "<|im_end|>": 257}
    _markers = re.compile(r"(<\|im_start\|>|<\|im_end\|>)")

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. A lone surrogate, which is not text, is read as ``?``."""
        if not special:
            return list(text.encode("utf-8", "replace"))
        found: list[int] = []
        for part in self._markers.split(text):
            found += [self._special[part]] if part in self._special else part.encode("utf-8", "replace")
        return found

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`: every byte of a character has the character's span."""
        return [(at, at + 1) for at, letter in enumerate(text) for _ in letter.encode("utf-8", "replace")]

    def encode_many(self, texts: Sequence[str], *, offsets: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """See `Tokenizer.encode_many`."""
        return [(self.encode(text, special=False), self.offsets(text) if offsets else []) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`. Bytes that are not UTF-8 become U+FFFD."""
        try:
            found = bytes(ids)
        except ValueError:  # a special id among them
            names = {index: text.encode() for text, index in self._special.items()}
            found = b"".join(names[one] if one > 255 else bytes((one,)) for one in ids)
        return found.decode("utf-8", "replace")

    def special_id(self, text: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self._special.get(text)

    @property
    def grammar_vocabulary(self) -> Sequence[bytes]:
        """See `GrammarTokenizer.grammar_vocabulary`."""
        return [*(bytes((one,)) for one in range(256)), *(text.encode() for text in self._special)]

    def apply_template(self, messages: Sequence[Mapping[str, Any]], *, generate: bool, options: Mapping[str, Json] | None = None) -> str:
        """See `Tokenizer.apply_template`: what `CHATML` says, without a template engine."""
        text = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
        return f"{text}<|im_start|>assistant\n" if generate else text


class ScriptedModel:
    """Says the replies one after the other, or what a function of the prompt's text returns; each ends with ``<|im_end|>``.

    Raises `UserError` when it is asked for more replies than it was given.
    """

    def __init__(self, replies: Iterable[str] | Callable[[str], str], *, context: int = 1 << 20, card: Card | None = None) -> None:
        self.name = "scripted"
        self.tokenizer = ByteTokenizer()
        self.context = context
        self.card = card
        self.fingerprint = "scripted"
        self._replies = replies if callable(replies) else _next(iter(replies))

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> ScriptedBatch:
        """See `Model.start`."""
        replies = [self._replies(self.tokenizer.decode(prompt)) for prompt in prompts]
        return ScriptedBatch(prompts, prefixes, [[*self.tokenizer.encode(reply, special=False), 257] for reply in replies])

    def read_ahead(self, ids: Sequence[int], prefix: Prefix) -> None:
        """See `Model.read_ahead`."""
        prefix.ids = list(ids)

    def copied(self, prefix: Prefix, length: int) -> Prefix | None:
        """See `Model.copied`."""
        return Prefix(ids=prefix.ids[:length]) if 0 < length <= len(prefix.ids) else None


def _next(replies: Iterator[str]) -> Callable[[str], str]:
    count = 0

    def reply(prompt: str) -> str:
        nonlocal count
        for text in replies:
            count += 1
            return text
        raise UserError(f"the scripted model has said all its {count} replies and is asked for one more")

    return reply


class ScriptedBatch:
    """See `SequenceBatch`. A row that has said its reply repeats the end token."""

    def __init__(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None], replies: list[list[int]]) -> None:
        self._ids = [list(prompt) for prompt in prompts]
        self._replies = replies
        self._said = [0] * len(replies)
        self._drafts: list[list[int]] = [[] for _ in replies]
        kept = [min(common_prefix(old.ids, ids), len(ids) - 1) if old else 0 for old, ids in zip(prefixes, self._ids, strict=True)]
        self.prefill = tuple(Prefill(tokens=len(ids) - length, passes=1) for ids, length in zip(self._ids, kept, strict=True))

    @property
    def drafts(self) -> bool:
        """See `SequenceBatch.drafts`."""
        return True

    def greedy(self) -> list[int]:
        """See `SequenceBatch.greedy`. Behind a draft stands what the reply has there, whatever the draft is."""
        rows = zip(self._said, self._replies, self._drafts, strict=True)
        return [reply[min(said + at, len(reply) - 1)] for said, reply, draft in rows for at in range(1 + len(draft))]

    def logits(self) -> NDArray[np.float32]:
        """See `SequenceBatch.logits`: 0 for the next token, -100 for the others."""
        import numpy

        best = self.greedy()
        found = numpy.full((len(best), ByteTokenizer.vocabulary), -100.0, dtype=numpy.float32)
        found[range(len(best)), best] = 0.0
        return found

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        """See `SequenceBatch.advance`."""
        self._said = [said + 1 for said in self._said]
        for ids, token in zip(self._ids, tokens, strict=True):
            ids.append(token)
        self._drafts = [list(draft) for draft in drafts] if drafts else [[] for _ in tokens]

    def cut(self, kept: Sequence[int]) -> None:
        """See `SequenceBatch.cut`."""
        self._said = [said + count for said, count in zip(self._said, kept, strict=True)]
        for ids, draft, count in zip(self._ids, self._drafts, kept, strict=True):
            ids += draft[:count]
        self._drafts = [[] for _ in kept]

    def keep(self, rows: Sequence[int]) -> None:
        """See `SequenceBatch.keep`."""
        self._ids = [self._ids[row] for row in rows]
        self._replies = [self._replies[row] for row in rows]
        self._said = [self._said[row] for row in rows]
        self._drafts = [self._drafts[row] for row in rows]

    def prefix(self, row: int) -> Prefix:
        """See `SequenceBatch.prefix`."""
        return Prefix(ids=self._ids[row])

    def join(self, others: SequenceBatch) -> bool:
        """See `SequenceBatch.join`."""
        assert isinstance(others, ScriptedBatch)
        self._ids += others._ids
        self._replies += others._replies
        self._said += others._said
        self._drafts += others._drafts
        return True
