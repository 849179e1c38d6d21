"""A transformers tokenizer behind the few calls that rendering and decoding make."""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agenttune.errors import UserError
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json

if TYPE_CHECKING:
    import tokenizers
    from transformers import PreTrainedTokenizerBase

CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
MARKER = re.compile(r"<[|｜][^<>]*[|｜]>")  # DeepSeek's roles and Qwen's repository marks are written so and not marked special
_NOT_TEXT = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # lone surrogates: not Unicode text, no tokenizer reads them


class HFTokenizer:
    """See `Tokenizer`. Encodes with two copies of the backend: one that knows special tokens, one that reads them as plain text."""

    def __init__(self, hf: PreTrainedTokenizerBase) -> None:
        self.hf = hf
        self._knowing = _own(hf, plain=False)
        self._plain = _own(hf, plain=True)
        self._last: tuple[str, tokenizers.Encoding] = ("", self._plain.encode("", add_special_tokens=False))

    @property
    def name(self) -> str:
        """See `Tokenizer.name`."""
        return str(self.hf.name_or_path or type(self.hf).__name__)

    @property
    def chat_template(self) -> str | None:
        """See `Tokenizer.chat_template`. Where there are several, the one for chat without tools."""
        template = self.hf.chat_template
        if isinstance(template, Mapping):
            template = template.get("default")
        return template if isinstance(template, str) else None

    @cached_property
    def bos_id(self) -> int | None:
        """See `Tokenizer.bos_id`: found by encoding a letter."""
        bos = self.hf.bos_token_id
        ids = list(self.hf("a").input_ids)
        return bos if bos is not None and ids[:1] == [bos] and self.encode("a", special=True)[:1] != [bos] else None

    @property
    def bos_token(self) -> str | None:
        """See `Tokenizer.bos_token`."""
        found: str | None = self.hf.bos_token
        return found

    @property
    def eos_id(self) -> int | None:
        """See `Tokenizer.eos_id`."""
        found: int | None = self.hf.eos_token_id
        return found

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """See `Tokenizer.special_ids`: all added tokens that are marked special or written like a marker, and those with a role."""
        added = {index for index, token in self.hf.added_tokens_decoder.items() if token.special or MARKER.fullmatch(token.content)}
        return frozenset(added) | frozenset(self.hf.all_special_ids)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. A lone surrogate, which is not text, is read as U+FFFD."""
        seen = self._knowing.encode(_text(text), add_special_tokens=False) if special else self._as_plain(text)
        found: list[int] = seen.ids
        return found

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        found: list[tuple[int, int]] = self._as_plain(text).offsets
        return found

    def encode_many(self, texts: Sequence[str], *, offsets: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """See `Tokenizer.encode_many`. The fast call of the library is the one that counts no characters."""
        encode = self._plain.encode_batch if offsets else self._plain.encode_batch_fast
        made = encode([_text(text) for text in texts], add_special_tokens=False)
        return [(one.ids, one.offsets if offsets else []) for one in made]

    def _as_plain(self, text: str) -> tokenizers.Encoding:
        """The encoding as plain text; the newest is kept, because ids and offsets of one text are asked for one after the other."""
        last = self._last
        if last[0] != text:
            last = self._last = text, self._plain.encode(_text(text), add_special_tokens=False)
        return last[1]

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        found: str = self._knowing.decode(list(ids), skip_special_tokens=False)
        return found

    def special_id(self, text: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self._added.get(text)

    @cached_property
    def _added(self) -> dict[str, int]:
        return {token.content: index for index, token in self.hf.added_tokens_decoder.items()}

    @property
    def grammar_vocabulary(self) -> str:
        """See `GrammarTokenizer.grammar_vocabulary`."""
        found: str = self._knowing.to_str()
        return found

    def apply_template(self, messages: Sequence[Mapping[str, Any]], *, generate: bool, options: Mapping[str, Json] | None = None) -> str:
        """See `Tokenizer.apply_template`."""
        template = self.chat_template
        if template is None:
            raise ValueError(f"{self.name} has no chat template")
        given = dict(options or {})
        if "tools" in given and isinstance(self.hf.chat_template, Mapping):
            template = self.hf.chat_template.get("tool_use", template)
        if "date" in given:
            template = _pinned(template, str(given.pop("date")))
        try:
            found: str = self.hf.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=template,
                tokenize=False,
                add_generation_prompt=generate,
                **given,
            )
        except Exception as error:  # a template is a stranger's program: it may add a text and an object, or be nested beyond all measure
            raise ValueError(f"the chat template of {self.name} refuses the messages: {error}") from error
        return found


def _pinned(template: str, date: str) -> str:
    """The template with a day in place of the clock, ``strftime_now("%d %b %Y")``; transformers lets nobody else set it."""
    day = datetime.date.fromisoformat(date)
    return CLOCK.sub(lambda found: json.dumps(day.strftime(found.group(2))), template)


def _text(text: str) -> str:
    return text if text.isascii() else text.translate(_NOT_TEXT)


def _own(hf: PreTrainedTokenizerBase, *, plain: bool) -> tokenizers.Tokenizer:
    """A copy of the backend that nobody else truncates, pads or toggles."""
    backend: tokenizers.Tokenizer = copy.deepcopy(hf.backend_tokenizer)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = plain
    markers = [token for token in hf.added_tokens_decoder.values() if not token.special and MARKER.fullmatch(token.content)]
    if plain and markers:  # as special ones they are passed over
        from tokenizers import AddedToken

        backend.add_special_tokens([AddedToken(token.content, special=True, normalized=False) for token in markers])
    return backend


def wrap_tokenizer(hf: PreTrainedTokenizerBase) -> Tokenizer:
    """A transformers tokenizer as a `Tokenizer`. Raises `UserError` for one without the fast backend, which alone tells offsets."""
    if getattr(hf, "backend_tokenizer", None) is None:
        raise UserError(f"the tokenizer of {hf.name_or_path} has no fast (tokenizers) form; save one as tokenizer.json beside it")
    return HFTokenizer(hf)
