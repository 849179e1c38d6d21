"""Requests sent on to a server elsewhere: by token ids under our grammar, else by messages, read by the ladder and asked again."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import DecodeRow, new_row, read_on, take_ids
from agenttune.errors import UserError
from agenttune.models.remote.by_ids import RemoteModel
from agenttune.models.remote.by_messages import RemoteMessages
from agenttune.models.remote.server import ServerRefusal
from agenttune.serving.backends.admission import Admission
from agenttune.serving.backends.base import Counts, Deliver, Refused, WrittenToken
from agenttune.serving.backends.engine import EngineOptions
from agenttune.serving.backends.misfit import misfit
from agenttune.serving.backends.structural_tag import structural_tag
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import Step, ToolSpec

Read = Callable[[Completion, Sequence[ToolSpec]], Step]
TRIES = 3
WARM = 0.7  # temperature of a further try, at least: a greedy server would say the same again


@dataclass(slots=True, kw_only=True, eq=False)
class Forwarded:
    """See `Ticket`. What is under way ends with the next token that comes."""

    prompt: list[int]
    sampling: SamplingParams
    deliver: Deliver
    grammar: CallGrammar | None
    tokens: bool
    cancelled: bool = False

    def cancel(self) -> None:
        """See `Ticket.cancel`."""
        self.cancelled = True


class Upstream:
    """See `Backend`: `batch` requests are with the server at once, each in a thread of its own. `read` makes a step of a reply."""

    def __init__(self, model: RemoteModel, read: Read, options: EngineOptions) -> None:
        self._model, self._read = model, read
        self.by_ids = not isinstance(self._model, RemoteMessages)
        self.counts = Counts(parity=int(self.by_ids))
        self._constrains = True
        self._admission = Admission(options.batch, options.waiting, self.counts)
        self._lock = threading.Lock()  # of the counts, which several threads write
        self._pool = ThreadPoolExecutor(options.batch, thread_name_prefix="agenttune-upstream")

    def submit(
        self, prompt: list[int], sampling: SamplingParams, deliver: Deliver, *, grammar: CallGrammar | None = None, tokens: bool = False
    ) -> Forwarded:
        """See `Backend.submit`."""
        made = Forwarded(prompt=prompt, sampling=sampling, deliver=deliver, grammar=grammar, tokens=tokens)
        self._admission.enter()
        with self._lock:
            self.counts.waiting += 1
        self._pool.submit(self._answer, made)
        return made

    def close(self, seconds: float = 10.0) -> bool:
        """See `Backend.close`."""
        whole = self._admission.close(seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return whole

    def _answer(self, one: Forwarded) -> None:
        with self._lock:
            self.counts.waiting -= 1
            self.counts.running += 1
        last: Completion | Exception
        try:
            last = self._by_ids(one) if self.by_ids else self._by_messages(one)
        except Exception as error:  # whatever it is, it is this request's
            last = _told(error)
        with self._lock:
            self.counts.running -= 1
            self.counts.cancelled += one.cancelled
            self.counts.failed += isinstance(last, Exception) and not one.cancelled
            self.counts.finished += isinstance(last, Completion) and not one.cancelled
            if isinstance(last, Completion):
                self.counts.prompt_tokens += last.prompt_tokens
                self.counts.written_tokens += len(last.token_ids) if last.written_tokens is None else last.written_tokens
        self._admission.leave()
        if not one.cancelled:
            one.deliver(last)

    def _by_ids(self, one: Forwarded) -> Completion:
        """Our grammar is laid over what the server says: a token that it does not allow is replaced, and the server goes on from there."""
        row, written = self._asked(one, one.sampling, one.grammar)
        for piece in written:
            if one.tokens:
                one.deliver(piece)
            elif piece.text:
                one.deliver(piece.text)
        return row.completion()

    def _by_messages(self, one: Forwarded) -> Completion:
        """Where something is asked of the reply it is delivered when it is whole and fits, and asked for again where it does not."""
        why = ""
        for number in range(TRIES):
            sampling = one.sampling if not number else _warmer(one.sampling, number)
            model = self._own(one.grammar)
            row, written = self._asked(one, sampling, None, model)
            for piece in written:
                if one.grammar is None and piece.text:
                    one.deliver(piece.text)
            completion = _counted(row.completion(), model)
            if one.grammar is None or one.cancelled or not (why := self._why_not(completion, one.grammar)):
                if one.grammar is not None and completion.text and not one.cancelled:
                    one.deliver(completion.text)
                return completion
            with self._lock:
                self.counts.retried += number + 1 < TRIES
        raise Refused(502, f"the upstream gave {TRIES} times {why}", "upstream_unfit")

    def _why_not(self, completion: Completion, grammar: CallGrammar) -> str:
        return misfit(self._read(completion, grammar.tools), completion, grammar)

    def _own(self, grammar: CallGrammar | None) -> RemoteModel:
        """A model for one request, told what to hold to, as long as the server understands that."""
        model = copy.copy(self._model)
        tag = structural_tag(grammar) if grammar is not None and self._constrains else None
        model.constraint = {"response_format": tag} if tag is not None else {}
        return model

    def _asked(
        self, one: Forwarded, sampling: SamplingParams, grammar: CallGrammar | None, model: RemoteModel | None = None
    ) -> tuple[DecodeRow, Iterator[WrittenToken]]:
        """The row of a request, and its tokens as they come, up to the last or to `cancel`."""
        model = model or self._own(grammar)
        end = model.tokenizer.eos_id
        ends = sampling.stop_ids if end is None else sampling.stop_ids | {end}
        own = replace(model.sample_with(sampling), stop_ids=ends)
        row = new_row(model, 0, one.prompt, own, None, grammar)
        return row, self._tokens(one, model, row)

    def _tokens(self, one: Forwarded, model: RemoteModel, row: DecodeRow) -> Iterator[WrittenToken]:
        held = bool(model.constraint)
        rows = None if row.output.stop else model.start([one.prompt], [None])
        if rows is not None:
            row.prefill = rows.prefill[0]
        while rows is not None and not row.output.stop and not one.cancelled:
            (written,) = take_ids([row], rows)
            for token, text in written:
                yield WrittenToken(token=token, text=text)
            if not row.output.stop:
                read_on([row], rows)
        if held and not model.constraint:
            self._constrains = False


def _warmer(sampling: SamplingParams, number: int) -> SamplingParams:
    return replace(sampling, seed=sampling.seed + number, temperature=max(sampling.temperature, WARM))


def _counted(completion: Completion, model: RemoteModel) -> Completion:
    """The completion with the server's own counts of tokens: ours are of bytes."""
    assert isinstance(model, RemoteMessages)
    read_, written = model.usage or (0, 0)
    return replace(completion, prompt_tokens=read_, prefilled_tokens=read_, written_tokens=written)


def _told(error: Exception) -> Exception:
    """What the upstream refused, with its own status where a client can act on it."""
    cause = error.__cause__
    if isinstance(error, UserError):
        status = cause.status if isinstance(cause, ServerRefusal) and cause.status in (400, 413, 429) else 502
        return Refused(status, f"upstream: {error}", "upstream_error")
    return error
