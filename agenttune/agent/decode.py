"""Prompts to outputs, several at once: the one loop under chat, evaluation and serving.

Each session has its ids, what the model keeps of them, its stops, its sampler and its grammar, if any. Rows leave the batch as they end.
In a call one forward pass reads several tokens: those that are likely to follow (see `agent.draft`) are kept where they are what is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agenttune.agent.constrain import CallGrammar, RowConstraint
from agenttune.agent.events import drain
from agenttune.agent.sampling import Sampler, greedy
from agenttune.agent.stop import Output
from agenttune.models.base import CUT, Model, Prefill, Prefix, SequenceBatch
from agenttune.values.tokens import Completion, SamplingParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOTHING = Prefill(tokens=0, passes=0)
DRAFT = 16  # tokens of one row's draft
PASS = 32  # tokens of one pass over rows with drafts; beyond some dozens a pass costs as much more as it reads more


class Session:
    """A conversation's prefix cache: what the model keeps of its last prompt and output, for the next prompt that begins alike.

    It stays usable when a decode is interrupted, and it belongs to one model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.prefix: Prefix | None = None


@dataclass(slots=True, kw_only=True)
class DecodeRow:
    """One prompt under way: its output, its sampler, its grammar, and what it took."""

    number: int
    prompt: list[int]
    output: Output
    sampler: Sampler | None
    session: Session | None
    constraint: RowConstraint | None = None
    prefill: Prefill = NOTHING
    token: int = -1
    drafted: list[int] = field(default_factory=list)
    steps: int = 0

    def completion(self) -> Completion:
        """What was said, with its counts."""
        return Completion(
            token_ids=tuple(self.output.token_ids),
            text=self.output.text,
            stop=self.output.stop,
            prompt_tokens=len(self.prompt),
            prefilled_tokens=self.prefill.tokens,
            forward_passes=self.prefill.passes + self.steps,
            stop_text=self.output.stop_text,
            refused=self.constraint.refused if self.constraint is not None else 0,
        )

    def choose(self, best: int | None, logits: Callable[[], NDArray[np.float32]]) -> int:
        """The next id; where it would begin a call, or in one, of those that the grammar allows.

        `best` is the id of the largest logit where that is all that is asked for, else None; `logits` gives ``[vocabulary]``.
        """
        constraint = self.constraint
        if best == CUT:
            return CUT
        if best is not None:
            refused = not constraint.allows(best) if constraint is not None and constraint.active else self.refuses(best)
            return self._pick(constraint.mask(logits())) if constraint is not None and refused else best
        if constraint is not None and constraint.active:
            return self._pick(constraint.mask(logits()))
        token = self._pick(logits())
        return self._pick(constraint.mask(logits())) if constraint is not None and self.refuses(token) else token

    def draft(self, most: int) -> list[int]:
        """At most `most` tokens that are likely to follow; none beyond what the output may hold."""
        room = min(most, self.output.left - 1)
        return self.constraint.draft(room) if self.constraint is not None and room > 0 else []

    def refuses(self, token: int) -> bool:
        """Whether a freely chosen id begins a call in a way that the grammar does not allow; the call has then begun without it."""
        return self.constraint is not None and self.constraint.begins(token) and not self.constraint.allows(token)

    def _pick(self, logits: NDArray[np.float32]) -> int:
        return int(logits.argmax()) if self.sampler is None else self.sampler.pick(logits)

    def push(self, token: int) -> str:
        """Takes the next id; the text that it makes certain. A call that is whole ends the output, and `CUT` does."""
        self.token = token
        if token == CUT:
            return self.output.finish("length")
        text = self.output.push(token)
        if self.constraint is None or self.output.stop:
            return text
        self.constraint.push(token)
        return text + self.output.finish() if self.constraint.complete else text


def decode(
    model: Model,
    prompts: Sequence[Sequence[int]],
    sampling: SamplingParams,
    *,
    sessions: Sequence[Session | None] | None = None,
    grammars: Sequence[CallGrammar | None] | None = None,
    on_text: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """A completion for each prompt. `on_text` is given (prompt's number, new text) as it becomes certain.

    `Completion.stop` is ``stop`` (a stop id), ``stop_text``, ``length`` (`max_new_tokens`) or ``context`` (no position is
    left; a prompt that fills the context gives an empty output). Prompts that begin alike are read together up to where
    they part, so put such prompts into one call. `grammars` says by prompt what an output may hold.
    A KeyboardInterrupt passes through and leaves the sessions usable.
    """
    tell = None if on_text is None else lambda new: on_text(*new)
    return drain(stream(model, prompts, sampling, sessions=sessions, grammars=grammars), tell)


def stream(
    model: Model,
    prompts: Sequence[Sequence[int]],
    sampling: SamplingParams,
    *,
    sessions: Sequence[Session | None] | None = None,
    grammars: Sequence[CallGrammar | None] | None = None,
) -> Generator[tuple[int, str], None, list[Completion]]:
    """`decode` as a generator: yields (prompt's number, new text) and returns the completions."""
    given = [None] * len(prompts) if sessions is None else list(sessions)
    assert len(given) == len(prompts)
    assert all(session is None or session.model is model for session in given)
    rows = [
        new_row(model, number, list(prompt), sampling, session, grammar)
        for number, (prompt, session, grammar) in enumerate(zip(prompts, given, grammars or [None] * len(prompts), strict=True))
    ]
    live = [row for row in rows if not row.output.stop]
    if live:
        yield from _run(model, live)
    return [row.completion() for row in rows]


def new_row(
    model: Model, number: int, prompt: list[int], sampling: SamplingParams, session: Session | None, grammar: CallGrammar | None
) -> DecodeRow:
    """The row of one prompt (at least one id), with the room that the model's context leaves it."""
    assert prompt, "a prompt has at least one id"
    room = model.context - len(prompt)
    output = Output(model.tokenizer, sampling.stops, sampling.stop_ids, sampling.max_new_tokens, room)
    sampler = None if greedy(sampling) else Sampler(sampling, number, prompt)
    constraint = RowConstraint(grammar, sampling.stop_ids, prompt) if grammar is not None else None
    return DecodeRow(number=number, prompt=prompt, output=output, sampler=sampler, session=session, constraint=constraint)


def _run(model: Model, live: list[DecodeRow]) -> Iterator[tuple[int, str]]:
    flight = model.start([row.prompt for row in live], [row.session.prefix if row.session else None for row in live])
    for at, (row, prefill) in enumerate(zip(live, flight.prefill, strict=True)):
        row.prefill = prefill
        if row.session and len(live) == 1:  # one row is continued in place, so its session has it at every moment
            row.session.prefix = flight.prefix(at)
    while True:
        for row, written in zip(live, take_ids(live, flight), strict=True):
            if text := "".join(piece for _, piece in written):
                yield row.number, text
        live = _drop(live, flight)
        if not live:
            return
        read_on(live, flight)


def take_ids(live: Sequence[DecodeRow], flight: SequenceBatch) -> list[list[tuple[int, str]]]:
    """The next id of each row, and further ones as far as its draft foresaw them, each with the text that it made certain.

    Logits leave the device only where the largest is not all that is asked for.
    """
    places = _Places(flight, all(row.sampler is None for row in live))
    found, kept, start = [], [], 0
    for row in live:
        draft, written, at = row.drafted, list[tuple[int, str]](), 0
        while True:
            token = row.choose(places.best(start + at, row), functools.partial(places.logits, start + at))
            written.append((token, row.push(token)))
            if row.output.stop or at == len(draft) or token != draft[at]:
                break
            at += 1
        start += 1 + len(draft)
        found.append(written)
        kept.append(at)
    if any(row.drafted for row in live):
        flight.cut(kept)
    return found


def read_on(live: Sequence[DecodeRow], flight: SequenceBatch) -> None:
    """One forward pass over each row's newest id and its draft."""
    most = min(DRAFT, PASS // len(live) - 1) if flight.drafts else 0
    for row in live:
        row.drafted = row.draft(most)
        row.steps += 1
    drafts = [row.drafted for row in live]
    flight.advance([row.token for row in live], drafts if any(drafts) else None)


class _Places:
    """What a flight says at its places, taken from the device once and only if it is asked for."""

    def __init__(self, flight: SequenceBatch, simple: bool) -> None:
        self._flight = flight
        self._best = flight.greedy() if simple else None
        self._logits: NDArray[np.float32] | None = None

    def best(self, place: int, row: DecodeRow) -> int | None:
        """The id of the largest logit, where that is all that the row asks for; else None."""
        if self._best is not None:
            return self._best[place]
        return int(self.logits(place).argmax()) if row.sampler is None else None

    def logits(self, place: int) -> NDArray[np.float32]:
        """``[vocabulary]``."""
        if self._logits is None:
            self._logits = self._flight.logits()
        found: NDArray[np.float32] = self._logits[place]
        return found


def _drop(live: list[DecodeRow], flight: SequenceBatch) -> list[DecodeRow]:
    """Ended rows leave; their sessions keep what was read of them. The last rows take their places, so that few are copied."""
    kept = [at for at, row in enumerate(live) if not row.output.stop]
    if len(kept) == len(live):
        return live
    for at in range(len(kept)):
        if kept[at] != at:
            kept.insert(at, kept.pop())
    for at, row in enumerate(live):
        if row.output.stop and row.session:
            row.session.prefix = flight.prefix(at)
    if kept:
        flight.keep(kept)
    return [live[at] for at in kept]
