"""Prompts to outputs, several at once: the one loop under chat, evaluation and serving.

Each session has its ids, what the model keeps of them, its stops and its sampler. Rows leave the batch as they end. What is
to come fits here: a constraint would narrow what `_pick` may choose, a new session would join where ended rows are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from agenttune.agent.events import drain
from agenttune.agent.sampling import Sampler, greedy
from agenttune.agent.stop import Output
from agenttune.models.base import Model, Prefill, Prefix, SequenceBatch
from agenttune.values.tokens import Completion, SamplingParams

NOTHING = Prefill(tokens=0, passes=0)


class Session:
    """A conversation's prefix cache: what the model keeps of its last prompt and output, for the next prompt that begins alike.

    It stays usable when a decode is interrupted, and it belongs to one model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.prefix: Prefix | None = None


@dataclass(slots=True, kw_only=True)
class _Row:
    number: int
    prompt: list[int]
    output: Output
    sampler: Sampler | None
    session: Session | None
    prefill: Prefill = NOTHING
    token: int = -1
    steps: int = 0

    def completion(self) -> Completion:
        return Completion(
            token_ids=tuple(self.output.token_ids),
            text=self.output.text,
            stop=self.output.stop,
            prompt_tokens=len(self.prompt),
            prefilled_tokens=self.prefill.tokens,
            forward_passes=self.prefill.passes + self.steps,
        )


def decode(
    model: Model,
    prompts: Sequence[Sequence[int]],
    sampling: SamplingParams,
    *,
    sessions: Sequence[Session | None] | None = None,
    on_text: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """A completion for each prompt. `on_text` is given (prompt's number, new text) as it becomes certain.

    `Completion.stop` is ``stop`` (a stop id), ``stop_text``, ``length`` (`max_new_tokens`) or ``context`` (no position is
    left; a prompt that fills the context gives an empty output). Prompts that begin alike are read together up to where
    they part, so put such prompts into one call. A KeyboardInterrupt passes through and leaves the sessions usable.
    """
    tell = None if on_text is None else lambda new: on_text(*new)
    return drain(stream(model, prompts, sampling, sessions=sessions), tell)


def stream(
    model: Model, prompts: Sequence[Sequence[int]], sampling: SamplingParams, *, sessions: Sequence[Session | None] | None = None
) -> Generator[tuple[int, str], None, list[Completion]]:
    """`decode` as a generator: yields (prompt's number, new text) and returns the completions."""
    given = [None] * len(prompts) if sessions is None else list(sessions)
    assert len(given) == len(prompts)
    assert all(session is None or session.model is model for session in given)
    rows = [
        _row(model, number, list(prompt), sampling, session) for number, (prompt, session) in enumerate(zip(prompts, given, strict=True))
    ]
    live = [row for row in rows if not row.output.stop]
    if live:
        yield from _run(model, live, greedy(sampling))
    return [row.completion() for row in rows]


def _row(model: Model, number: int, prompt: list[int], sampling: SamplingParams, session: Session | None) -> _Row:
    assert prompt, "a prompt has at least one id"
    room = model.context - len(prompt)
    output = Output(model.tokenizer, sampling.stops, sampling.stop_ids, sampling.max_new_tokens, room)
    sampler = None if greedy(sampling) else Sampler(sampling, number, prompt)
    return _Row(number=number, prompt=prompt, output=output, sampler=sampler, session=session)


def _run(model: Model, live: list[_Row], simple: bool) -> Iterator[tuple[int, str]]:
    flight = model.start([row.prompt for row in live], [row.session.prefix if row.session else None for row in live])
    for at, (row, prefill) in enumerate(zip(live, flight.prefill, strict=True)):
        row.prefill = prefill
        if row.session and len(live) == 1:  # one row is continued in place, so its session has it at every moment
            row.session.prefix = flight.prefix(at)
    while True:
        for row, token in zip(live, flight.greedy() if simple else _pick(live, flight), strict=True):
            row.token = token
            text = row.output.push(token)
            if text:
                yield row.number, text
        live = _drop(live, flight)
        if not live:
            return
        flight.advance([row.token for row in live])
        for row in live:
            row.steps += 1


def _pick(live: Sequence[_Row], flight: SequenceBatch) -> list[int]:
    return [row.sampler.pick(logits) for row, logits in zip(live, flight.logits(), strict=True) if row.sampler is not None]


def _drop(live: list[_Row], flight: SequenceBatch) -> list[_Row]:
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
