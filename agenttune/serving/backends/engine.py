"""One thread decodes for everybody: requests join a running batch, and leave it, between two forward passes.

What a request is given does not depend on who else is in the batch, up to the rounding of the arithmetic: a row's mask, positions
and random numbers are its own. A long prompt is read in pieces, so that others go on meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import DecodeRow, new_row, read_on, take_ids
from agenttune.models.base import Model, Prefill, Prefix, SequenceBatch
from agenttune.serving.backends.admission import Admission
from agenttune.serving.backends.base import Counts, Deliver, WrittenToken
from agenttune.serving.backends.prefix_cache import PrefixCache
from agenttune.values.tokens import Completion, SamplingParams


class NotANumber(Exception):
    """The model's logits are NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Bounds: requests in one batch, requests that wait, tokens of a prompt read at a time, bytes of kept prefixes."""

    batch: int = 16
    waiting: int = 64
    piece: int = 256
    cache_bytes: int = 1 << 30


@dataclass(slots=True, kw_only=True, eq=False)
class Generation:
    """One request on its way: its row, and where its text goes. `cancel` may be called from any thread."""

    row: DecodeRow
    deliver: Deliver
    tokens: bool = False
    prefix: Prefix = field(default_factory=Prefix)
    kept: int = -1
    cancelled: bool = False

    @property
    def prompt(self) -> list[int]:
        """The ids of its prompt."""
        return self.row.prompt

    @property
    def ended(self) -> bool:
        """Whether it leaves the batch."""
        return bool(self.row.output.stop) or self.cancelled

    def cancel(self) -> None:
        """Ends it within one forward pass; nothing more is delivered."""
        self.cancelled = True


class Engine:
    """See `Backend`. `submit` from any thread; everything of the model happens in one thread of its own."""

    by_ids = True

    def __init__(self, model: Model, options: EngineOptions | None = None, *, token_bytes: int = 0) -> None:
        self.model = model
        self.options = options or EngineOptions()
        self.counts = Counts()
        self._cache = PrefixCache(model, limit=self.options.cache_bytes, token_bytes=token_bytes)
        self._inbox: queue.SimpleQueue[Generation | None] = queue.SimpleQueue()
        self._admission = Admission(self.options.batch, self.options.waiting, self.counts)
        self._waiting: deque[Generation] = deque()
        self._live: list[Generation] = []
        self._flight: SequenceBatch | None = None
        self._thread = threading.Thread(target=self._run, name="agenttune-engine", daemon=True)
        self._thread.start()

    def submit(
        self, prompt: list[int], sampling: SamplingParams, deliver: Deliver, *, grammar: CallGrammar | None = None, tokens: bool = False
    ) -> Generation:
        """See `Backend.submit`."""
        row = new_row(self.model, 0, prompt, sampling, None, grammar)
        made = Generation(row=row, deliver=deliver, tokens=tokens)
        self._admission.enter()
        self._inbox.put(made)
        return made

    def close(self, seconds: float = 10.0) -> bool:
        """See `Backend.close`."""
        whole = self._admission.close(seconds)
        self._inbox.put(None)
        self._thread.join(timeout=max(1.0, seconds))
        return whole

    def _run(self) -> None:
        while self._take():
            self._leave([one for one in self._live if one.cancelled])
            try:
                self._read()
            except Exception as error:  # what the model raised over a prompt is that request's; the others are served on
                self._fail([self._waiting.popleft()] if self._waiting else [], error)
            try:
                self._step()
            except Exception as error:
                self._fail(self._live, error)
                self._live, self._flight = [], None
            self._tell_counts()

    def _take(self) -> bool:
        """New requests; waits for one where there is nothing to do. False when the engine ends."""
        idle = not self._live and not self._waiting
        while idle or not self._inbox.empty():
            one = self._inbox.get()
            if one is None:
                return False
            self._waiting.append(one)
            idle = False
        return True

    def _read(self) -> None:
        """One piece of the oldest waiting prompt; a prompt that is read joins the batch."""
        while self._waiting and self._waiting[0].cancelled:
            self._end(self._waiting.popleft())
        if not self._waiting or len(self._live) >= self.options.batch:
            return
        one = self._waiting[0]
        if one.row.output.stop:  # no room for an output
            self._end(self._waiting.popleft())
            return
        if one.kept < 0:
            found = self._cache.find(one.prompt)
            one.prefix, one.kept = found or Prefix(), len(found.ids) if found else 0
        end = len(one.prefix.ids) + self.options.piece
        one.row.steps += 1
        self.counts.passes += 1
        if end < len(one.prompt):
            self.model.read_ahead(one.prompt[:end], one.prefix)
        else:
            self._join(one)

    def _join(self, one: Generation) -> None:
        rows = self.model.start([one.prompt], [one.prefix])
        self._waiting.popleft()
        self.counts.prompt_tokens += len(one.prompt)
        self.counts.prefilled_tokens += len(one.prompt) - one.kept
        if np.isnan(rows.logits()).any():
            self._closed(one, NotANumber("the model's output is not a number (NaN); load it with another --dtype"))
            return
        if (copy := self.model.copied(rows.prefix(0), len(one.prompt))) is not None:
            self._cache.add(copy)
        if self._flight is None:
            self._flight = rows
        elif not self._flight.join(rows):  # a cache that cannot be batched: it is alone, one after the other
            one.kept, one.prefix = -1, Prefix()
            self._waiting.appendleft(one)
            self.options = replace(self.options, batch=1)
            return
        self._live.append(one)

    def _step(self) -> None:
        """A token for each row of the batch, and what its draft foresaw; ended rows leave; one forward pass for the others."""
        if self._flight is None:
            return
        for one, written in zip(self._live, take_ids([one.row for one in self._live], self._flight), strict=True):
            self.counts.written_tokens += len(written)
            for token, text in written:
                if one.tokens and not one.cancelled:
                    one.deliver(WrittenToken(token=token, text=text))
                elif text and not one.cancelled:
                    one.deliver(text)
        self._leave([one for one in self._live if one.ended])
        if self._flight is not None:
            read_on([one.row for one in self._live], self._flight)
            self.counts.passes += 1

    def _leave(self, ended: list[Generation]) -> None:
        """Rows go; what was read and said of them is kept for a conversation that goes on."""
        if not ended or self._flight is None:
            return
        for at, one in enumerate(self._live):
            if one in ended and not one.cancelled:
                whole = self._flight.prefix(at)
                if (copy := self.model.copied(whole, len(whole.ids))) is not None:
                    self._cache.add(copy)
        rows = [at for at, one in enumerate(self._live) if one not in ended]
        if rows:
            self._flight.keep(rows)
        else:
            self._flight = None
        self._live = [self._live[at] for at in rows]
        for one in ended:
            self._end(one)

    def _end(self, one: Generation) -> None:
        self.counts.cancelled += one.cancelled
        self.counts.finished += not one.cancelled
        one.row.prefill = Prefill(tokens=len(one.prompt) - max(one.kept, 0), passes=0)
        self._closed(one, one.row.completion())

    def _closed(self, one: Generation, last: Completion | Exception) -> None:
        self._admission.leave()
        if not one.cancelled:
            one.deliver(last)

    def _fail(self, broken: list[Generation], error: Exception) -> None:
        for one in broken:
            self.counts.failed += 1
            self._closed(one, error)

    def _tell_counts(self) -> None:
        counts = self.counts
        counts.running, counts.waiting = len(self._live), len(self._waiting)
        counts.cache_bytes, counts.cached_prompts = self._cache.bytes, len(self._cache)
