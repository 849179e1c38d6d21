"""A model behind ``/v1/completions`` that takes token ids and gives token ids (``return_token_ids``, as vLLM and our own server have it).

Prompt and output are the same ids that a model in this process would read and write, so what was trained is what is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agenttune.errors import UserError
from agenttune.models.base import CUT, Prefill, Prefix, SequenceBatch
from agenttune.models.remote.server import Server, ServerRefusal
from agenttune.values.adapter import Card
from agenttune.values.tokens import SamplingParams, Tokenizer, common_prefix
from agenttune.values.trajectory import Json, JsonObject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


UNKNOWN_FIELD = (400, 422)  # what servers answer to a field, or a form of one, that they do not know


class RemoteModel:
    """A served model as a `Model`, for one sequence at a time. `vocabulary` is the size of its tokenizer's."""

    card: Card | None = None

    def __init__(self, server: Server, served: str, tokenizer: Tokenizer, *, vocabulary: int, context: int) -> None:
        self.server, self.served = server, served
        self.name = served
        self.tokenizer = tokenizer
        self.context = context
        self.vocabulary = vocabulary
        self.fingerprint = f"{server.base} {tokenizer.name}"
        self.sampling = SamplingParams()
        self.constraint: JsonObject = {}  # fields of a request that hold its output to a form, in the server's words

    def sample_with(self, sampling: SamplingParams) -> SamplingParams:
        """See `SamplesItself.sample_with`."""
        self.sampling = sampling
        return replace(sampling, temperature=0.0)

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> SequenceBatch:
        """See `Model.start`."""
        assert len(prompts) == 1, "a served model reads one prompt at a time"
        return RemoteBatch(self, list(prompts[0]), prefixes[0])

    def read_ahead(self, ids: Sequence[int], prefix: Prefix) -> None:
        """See `Model.read_ahead`: the server keeps what it has read, so there is nothing to do before it is asked."""
        prefix.ids = list(ids)

    def copied(self, prefix: Prefix, length: int) -> Prefix | None:
        """See `Model.copied`."""
        return Prefix(ids=prefix.ids[:length]) if 0 < length <= len(prefix.ids) else None

    def tokens(self, ids: Sequence[int], *, begun: bool = False) -> Iterator[int]:
        """The ids that follow `ids`, as the server says them. One that ends at a limit of the server's own is asked to go on from there,
        for as long as it says anything; then `CUT` comes. With `begun` some of `ids` are an output's already: a constraint, which
        speaks of whole outputs, does not hold for what follows. Raises `UserError`."""
        known, limit = list(ids), True
        held = {} if begun else self.constraint
        while limit:
            begin, limit = len(known), False
            for token in self._said(known, held):
                limit = token == CUT
                if not limit:
                    known.append(token)
                    yield token
            if limit and len(known) == begin:
                yield CUT
                return
            held = {}

    def _said(self, ids: Sequence[int], held: JsonObject) -> Iterator[int]:
        """One request's ids, and `CUT` where it ended at a limit."""
        body = {"model": self.served, "prompt": list(ids), "return_token_ids": True, **sampling_json(self.sampling)}
        try:
            for chunk in self.chunks("/v1/completions", body, held):
                choice = (chunk.get("choices") or [{}])[0]
                yield from choice.get("token_ids") or ()
                if choice.get("finish_reason") == "length":
                    yield CUT
        except ServerRefusal as error:
            raise UserError(f"{self.server.base} refuses the prompt: {error}") from error

    def chunks(self, path: str, body: JsonObject, held: JsonObject) -> Iterator[JsonObject]:
        """The chunks of a reply held to `held`; where the server does not know that constraint, of one without. Raises `ServerRefusal`."""
        try:
            yield from self.server.stream(path, {**body, **held})
        except ServerRefusal as error:
            if not held or error.status not in UNKNOWN_FIELD:
                raise
            self.constraint = {}
            yield from self.server.stream(path, body)


def sampling_json(sampling: SamplingParams) -> Mapping[str, Json]:
    """Sampling parameters under OpenAI's names, and vLLM's where OpenAI has none; what says nothing is left out."""
    body: dict[str, Json] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature, "seed": sampling.seed}
    if sampling.top_p < 1:
        body["top_p"] = sampling.top_p
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty
    return body


class RemoteBatch:
    """See `SequenceBatch`: one row. A token that was not the server's own choice hangs up, and the server goes on from it."""

    def __init__(self, model: RemoteModel, prompt: list[int], prefix: Prefix | None) -> None:
        self._model = model
        self._ids = prompt
        self._stream = model.tokens(prompt)
        self._coming: deque[int] = deque()
        kept = min(common_prefix(list(prefix.ids), prompt), len(prompt) - 1) if prefix else 0
        self.prefill = (Prefill(tokens=len(prompt) - kept, passes=1),)

    def greedy(self) -> list[int]:
        """See `SequenceBatch.greedy`: the server's choice, whatever it samples with."""
        if not self._coming:
            end = self._model.tokenizer.eos_id
            self._coming.append(next(self._stream, CUT if end is None else end))
        return [self._coming[0]]

    def logits(self) -> NDArray[np.float32]:
        """See `SequenceBatch.logits`: 0 for the server's choice, -100 for the others, for a grammar to choose among."""
        import numpy

        found = numpy.full((1, self._model.vocabulary), -100.0, dtype=numpy.float32)
        (choice,) = self.greedy()
        if choice != CUT:
            found[0, choice] = 0.0
        return found

    @property
    def drafts(self) -> bool:
        """See `SequenceBatch.drafts`: the server says one token after the other."""
        return False

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        """See `SequenceBatch.advance`."""
        (token,) = tokens
        self._ids.append(token)
        if self._coming and self._coming[0] == token:
            self._coming.popleft()
        else:
            self._coming.clear()
            self._stream = self._model.tokens(self._ids, begun=True)

    def cut(self, kept: Sequence[int]) -> None:
        """See `SequenceBatch.cut`."""

    def keep(self, rows: Sequence[int]) -> None:
        """See `SequenceBatch.keep`."""

    def prefix(self, row: int) -> Prefix:
        """See `SequenceBatch.prefix`."""
        return Prefix(ids=self._ids)

    def join(self, others: SequenceBatch) -> bool:
        """See `SequenceBatch.join`."""
        return False


def described(listed: Sequence[JsonObject], name: str) -> JsonObject:
    """The entry of a model in a server's list; the first for an empty name. Raises `UserError`."""
    for one in listed:
        if not name or one["id"] == name:
            return one
    raise UserError(f"the server has no model {name}; it serves {', '.join(str(one['id']) for one in listed)}")
