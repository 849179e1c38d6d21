"""A model behind an OpenAI-compatible server: several requests at once, patience where it asks for that, no failure kept.

The wire format is that of ``POST /v1/chat/completions`` (platform.openai.com/docs/api-reference/chat), which vLLM, SGLang and
llama-server have too. Tools stand in the system text as the protocol writes them, so the reply is read as any other model's.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from agenttune import protocols
from agenttune.agent.step import read
from agenttune.errors import UserError
from agenttune.evaluation.predict import Prompt
from agenttune.models.remote.by_messages import add_message
from agenttune.models.remote.server import KEY
from agenttune.values.case import Case
from agenttune.values.sample import Sample
from agenttune.values.tokens import Completion
from agenttune.values.trajectory import Json, Step

TRIES = 6
LONGEST = 120.0  # seconds to wait before another try, whatever the server asks for
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUsage:
    """What a run asked of a server: a run's ``usage.json``. `cost` is in the money of the price that was given."""

    requests: int
    retries: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None = None


@dataclass(slots=True, kw_only=True)
class RequestCounts:
    """What a run asked of the server, all workers together."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        """Adds to the counts of these names."""
        with self.lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def told(self, price: tuple[float, float] | None) -> ServerUsage:
        """The counts; with the `price` of a million tokens read and of a million written also the cost."""
        cost = (self.prompt_tokens * price[0] + self.completion_tokens * price[1]) / 1e6 if price else None
        return ServerUsage(
            requests=self.requests,
            retries=self.retries,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cost=cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's model. `sleep` waits; tests give another."""

    base_url: str
    model: str
    max_new_tokens: int
    workers: int = 8
    usage: RequestCounts = field(default_factory=RequestCounts)
    sleep: Callable[[float], None] = time.sleep

    def predict(self, cases: Sequence[Case]) -> list[Step]:
        """A step for each case; where no reply came after all tries its outcome is ``infra_error``. Raises `UserError`."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda case: self._step(case.sample), cases))

    def talk(self, prompts: Sequence[Prompt]) -> list[Step]:
        """`predict` for the next step of conversations."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda one: self._step(one.sample), prompts))

    def _step(self, sample: Sample) -> Step:
        protocol = protocols.get(sample.protocol)
        body = {
            "model": self.model,
            "messages": messages(sample),
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.max_new_tokens,
            "stop": list(protocol.stops),
        }
        reply = self._asked(body)
        if reply is None:
            return Step(outcome="infra_error", weight=0.0)
        text, stop = reply
        return read(Completion(token_ids=(), text=text, stop=stop), protocol)

    def _asked(self, body: Mapping[str, Json]) -> tuple[str, str] | None:
        """(text, why it stopped), or None where every try failed."""
        for number in range(TRIES):
            found = self._once(body)
            if not isinstance(found, float):
                return found
            if number + 1 < TRIES:
                self.usage.add(retries=1)
                self.sleep(min(LONGEST, found or 2.0**number))
        return None

    def _once(self, body: Mapping[str, Json]) -> tuple[str, str] | float:
        """The reply, or how many seconds the server wants left alone (0: it does not say)."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.address, data=json.dumps(body).encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return self._read(json.load(answer))
        except urllib.error.HTTPError as error:
            return self._refused(error)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError, KeyError, IndexError):
            return 0.0

    def _refused(self, error: urllib.error.HTTPError) -> float:
        """Seconds to wait before another try. Raises `UserError` where another would be refused too."""
        with error:
            if error.code in (408, 409, 425, 429) or error.code >= 500:
                return seconds(error.headers.get("Retry-After", ""))
            said = error.read(400).decode("utf-8", "replace")
        raise UserError(f"{self.address} refuses the request ({error.code}): {' '.join(said.split())}")

    def _read(self, answer: Json) -> tuple[str, str]:
        choice, used = answer["choices"][0], answer.get("usage") or {}
        self.usage.add(
            requests=1, prompt_tokens=int(used.get("prompt_tokens") or 0), completion_tokens=int(used.get("completion_tokens") or 0)
        )
        return choice["message"].get("content") or "", "length" if choice.get("finish_reason") == "length" else "stop"

    @property
    def address(self) -> str:
        """Where requests go."""
        base = self.base_url.rstrip("/")
        return f"{base}/chat/completions" if base.endswith("/v1") else f"{base}/v1/chat/completions"


def seconds(text: str) -> float:
    """A ``Retry-After`` header (RFC 9110, 10.2.3) in seconds: a number or a date; 0 for neither."""
    if text.strip().isdigit():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, then - time.time())


def messages(sample: Sample) -> list[dict[str, str]]:
    """The turns as chat messages. What tools answered is a user's message: servers take a system message only at the start."""
    found: list[dict[str, str]] = []
    for index, turn in enumerate(sample.turns):
        for role, text in _parts(turn.system, turn.input, turn.output, first=index == 0):
            add_message(found, role, text)
    return found


def _parts(system: str, said: str, output: str, *, first: bool) -> Iterator[tuple[str, str]]:
    yield "system" if first else "user", system
    yield "user", said
    yield "assistant", output
