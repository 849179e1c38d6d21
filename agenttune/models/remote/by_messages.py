"""A model behind ``/v1/chat/completions``: text in, text out, for servers that take no token ids or whose tokenizer is not here.

To the floors above it is a model over bytes: a prompt is laid out in ChatML, whose two markers are ids that no text can hold, so it can be
taken apart into messages again without a guess. The server's own template then lays them out; the ids are its secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agenttune.errors import UserError
from agenttune.models.base import CUT, Prefix, SequenceBatch
from agenttune.models.remote.by_ids import RemoteBatch, RemoteModel, sampling_json
from agenttune.models.remote.server import Server, ServerRefusal
from agenttune.models.scripted import ByteTokenizer
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Json

BYTES = 16  # of one token at most, as far as the limit of new tokens goes; the server counts its own
OPEN, CLOSE = 256, 257  # ids of ``<|im_start|>`` and ``<|im_end|>``


class RemoteMessages(RemoteModel):
    """A served model that is asked by messages. `context` is in bytes."""

    def __init__(self, server: Server, served: str, *, context: int) -> None:
        super().__init__(server, served, ByteTokenizer(), vocabulary=ByteTokenizer.vocabulary, context=context)
        self.usage: tuple[int, int] | None = None  # the server's own count of the last reply: tokens read, tokens written

    def sample_with(self, sampling: SamplingParams) -> SamplingParams:
        """See `SamplesItself.sample_with`."""
        return replace(super().sample_with(sampling), max_new_tokens=sampling.max_new_tokens * BYTES)

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> SequenceBatch:
        """See `Model.start`."""
        assert len(prompts) == 1, "a served model reads one prompt at a time"
        return RemoteBatch(self, list(prompts[0]), prefixes[0])

    def tokens(self, ids: Sequence[int], *, begun: bool = False) -> Iterator[int]:
        """The bytes of what the server says after `ids`; see `RemoteModel.tokens`."""
        messages, start = messages_of(ids)
        body = {"model": self.served, "messages": messages, **sampling_json(self.sampling), "stream_options": {"include_usage": True}}
        if start:  # a grammar chose these words: the message is to be gone on with, by the name that vLLM and SGLang have for it
            body["messages"] = [*messages, {"role": "assistant", "content": start}]
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        try:
            for chunk in self.chunks("/v1/chat/completions", body, {} if begun else self.constraint):
                self.usage = _counted(chunk.get("usage")) or self.usage
                choice = (chunk.get("choices") or [{}])[0]
                yield from ((choice.get("delta") or {}).get("content") or "").encode("utf-8", "replace")
                if choice.get("finish_reason") == "length":
                    yield CUT
        except ServerRefusal as error:
            raise UserError(f"{self.server.base} refuses the messages: {error}") from error


def _counted(usage: Json) -> tuple[int, int] | None:
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    read, written = counts if counts else (None, None)
    return (read, written) if isinstance(read, int) and isinstance(written, int) else None


def messages_of(ids: Sequence[int]) -> tuple[list[dict[str, str]], str]:
    """(the messages of a ChatML prompt, the beginning of the answer). A system text in the middle is a user's message, since servers take
    one only at the start; neighbours of one role are one message."""
    found: list[dict[str, str]] = []
    begun = ""
    for text, closed in _pieces(ids):
        role, _, content = text.partition("\n")
        if closed:
            add_message(found, "user" if role == "system" and found else role, content)
        else:
            begun = content
    return found, begun


def _pieces(ids: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """(``role\\ncontent``, whether it was closed) of every message; the last is open, for the model to go on with."""
    piece: list[int] = []
    for one in ids:
        if one == OPEN:
            piece = []
        elif one == CLOSE:
            yield _text(piece), True
        else:
            piece.append(one)
    yield _text(piece), False


def _text(piece: Sequence[int]) -> str:
    return bytes(piece).decode("utf-8", "replace")


def add_message(messages: list[dict[str, str]], role: str, content: str) -> None:
    """Adds a message; to the last one, where that is of the same role. An empty one is none."""
    if not content:
        return
    if messages and messages[-1]["role"] == role:
        messages[-1] = {"role": role, "content": f"{messages[-1]['content']}\n\n{content}"}
    else:
        messages.append({"role": role, "content": content})
