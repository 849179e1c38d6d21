"""Prompts to outputs, several at once: the one loop under chat, evaluation and serving.

Each session has its ids, what the model keeps of them, its stops, its sampler and its grammar, if any. Rows leave the batch as they end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
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

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next id, of ``logits[vocabulary]``; where it would begin a call, or in one, of those that the grammar allows."""
        constraint = self.constraint
        if constraint is not None and constraint.active:
            return self._pick(constraint.mask(logits))
        token = self._pick(logits)
        if constraint is not None and self.refuses(token):
            return self._pick(constraint.mask(logits))
        return token

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
        new_row(model, number, list(prompt), sampling, session) for number, (prompt, session) in enumerate(zip(prompts, given, strict=True))
    ]
    for row, grammar in zip(rows, grammars or [], strict=bool(grammars)):
        row.constraint = RowConstraint(grammar, sampling.stop_ids) if grammar is not None else None
    live = [row for row in rows if not row.output.stop]
    if live:
        yield from _run(model, live, greedy(sampling))
    return [row.completion() for row in rows]


def new_row(model: Model, number: int, prompt: list[int], sampling: SamplingParams, session: Session | None) -> DecodeRow:
    """The row of one prompt (at least one id), with the room that the model's context leaves it."""
    assert prompt, "a prompt has at least one id"
    room = model.context - len(prompt)
    output = Output(model.tokenizer, sampling.stops, sampling.stop_ids, sampling.max_new_tokens, room)
    sampler = None if greedy(sampling) else Sampler(sampling, number, prompt)
    return DecodeRow(number=number, prompt=prompt, output=output, sampler=sampler, session=session)


def _run(model: Model, live: list[DecodeRow], simple: bool) -> Iterator[tuple[int, str]]:
    flight = model.start([row.prompt for row in live], [row.session.prefix if row.session else None for row in live])
    for at, (row, prefill) in enumerate(zip(live, flight.prefill, strict=True)):
        row.prefill = prefill
        if row.session and len(live) == 1:  # one row is continued in place, so its session has it at every moment
            row.session.prefix = flight.prefix(at)
    while True:
        for row, token in zip(live, next_ids(live, flight, simple), strict=True):
            text = row.push(token)
            if text:
                yield row.number, text
        live = _drop(live, flight)
        if not live:
            return
        flight.advance([row.token for row in live])
        for row in live:
            row.steps += 1


def next_ids(live: Sequence[DecodeRow], flight: SequenceBatch, simple: bool) -> list[int]:
    """The next id of each row. Logits leave the device only where the largest is not all that is asked for."""
    if simple and not any(row.constraint is not None and row.constraint.active for row in live):
        tokens = flight.greedy()
        begun = [at for at, row in enumerate(live) if row.refuses(tokens[at])]
        if not begun:
            return tokens
        logits = flight.logits()
        return [live[at].choose(logits[at]) if at in begun else token for at, token in enumerate(tokens)]
    return [row.choose(logits) for row, logits in zip(live, flight.logits(), strict=True)]


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
