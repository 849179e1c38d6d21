"""What stands behind a served name: something that takes prompts and says tokens, in this process or beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agenttune.agent.constrain import CallGrammar
from agenttune.values.tokens import Completion, SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenToken:
    """A token as it came, and the text that it made certain (often none)."""

    token: int
    text: str


Said = str | WrittenToken | Completion | Exception
Deliver = Callable[[Said], None]


class Busy(Exception):
    """The queue is full; `seconds` is when to come again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full; try again in {seconds} s")
        self.seconds = seconds


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a backend did so far, and holds now. `parity` is 1 where prompts are the tokens that were trained, else 0."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    prefilled_tokens: int = 0
    written_tokens: int = 0
    passes: int = 0
    running: int = 0
    waiting: int = 0
    cache_bytes: int = 0
    cached_prompts: int = 0
    parity: int = 1


class Refused(Exception):
    """What was said cannot be given to the client, or nothing was said: a status of HTTP, and a word for programs."""

    def __init__(self, status: int, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code


class Ticket(Protocol):
    """A request that was taken."""

    def cancel(self) -> None:
        """Ends it as soon as may be; nothing more is delivered. From any thread."""


class Backend(Protocol):
    """Decodes for many. With `by_ids` prompts are the model's own ids, and a grammar is held to token by token: a call may be told as it
    is written. Without it they are bytes that become messages again, for a server that has a template of its own."""

    counts: Counts
    by_ids: bool

    def submit(
        self, prompt: list[int], sampling: SamplingParams, deliver: Deliver, *, grammar: CallGrammar | None = None, tokens: bool = False
    ) -> Ticket:
        """Queues a prompt of one or more ids. `deliver` is called in another thread: with each new piece of text, and last
        with the `Completion`, or with an exception. `grammar` says what the output may hold. With `tokens` every token is delivered,
        as a `WrittenToken` in the place of the text. Raises `Busy` when too many wait."""

    def close(self, seconds: float = 10.0) -> bool:
        """Takes nothing new, lets what runs end within `seconds`, then drops the rest. Whether all ended by themselves."""
