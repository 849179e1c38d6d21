"""64 clients at once: nobody is told anything but an answer or 429, and what the server holds keeps to its bounds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agenttune.serving.backends.engine import EngineOptions
from tests.serving.test_app import TOOLS

PROVE = bool(os.environ.get("AGENTTUNE_PROVE"))
SECONDS = 120 if PROVE else 20
CLIENTS, BATCH, WAITING, CACHE = 64, 16, 16, 40_000
HEALTH = 10.0  # seconds in which it must say that it lives, on a machine that is full


def asked(draw: random.Random, name: str) -> dict[str, Any]:
    """A request of some kind: plain, streamed, with a call that must come."""
    talk = [{"role": "user", "content": f"{name} " + "go on " * draw.randrange(8)}]
    body: dict[str, Any] = {"messages": talk, "max_tokens": draw.randrange(1, 24), "temperature": draw.choice([0, 0.8])}
    kind = draw.randrange(3)
    return body | ({"stream": True} if kind == 1 else {"tools": TOOLS, "tool_choice": "required"} if kind == 2 else {})


@pytest.mark.slow
def test_the_server_under_load(serving: Callable[..., Any], tiny: Callable[..., Any]) -> None:
    import torch

    options = EngineOptions(batch=BATCH, waiting=WAITING, piece=64, cache_bytes=CACHE)
    client = serving(tiny("llama", torch.float32), options=options, token_bytes=8)
    end = time.monotonic() + SECONDS
    statuses: Counter[int] = Counter()
    broken: list[str] = []

    def work(number: int) -> None:
        draw = random.Random(number)
        while time.monotonic() < end:
            try:
                status = client.chat(**asked(draw, f"client {number}"))[0]
            except Exception as error:  # a connection that broke, events that are none
                broken.append(f"{type(error).__name__}: {error}")
                return
            statuses[status] += 1
            if status == 429:
                time.sleep(0.2 * draw.random())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for one in threads:
        one.start()
    times, seen = [], Counter[str]()
    while time.monotonic() < end:
        began = time.monotonic()
        status, health = client.send("GET", "/health")
        times.append(time.monotonic() - began)
        assert status == 200
        counts = client.engine.counts
        for name, value in (("running", health["running"]), ("waiting", health["waiting"]), ("cache", counts.cache_bytes)):
            seen[name] = max(seen[name], value)
        time.sleep(0.25)
    for one in threads:
        one.join(timeout=120)
    times.sort()
    told = f"health {times[len(times) // 2]:.3f} s, worst {times[-1]:.3f} s"
    print(f"{sum(statuses.values())} replies {dict(statuses)}; at most {dict(seen)}; {told}")
    assert not broken, broken[:3]
    assert set(statuses) <= {200, 429} and statuses[200] > CLIENTS
    assert seen["running"] <= BATCH and seen["waiting"] <= WAITING + BATCH and 0 < seen["cache"] <= CACHE
    assert times[-1] < HEALTH
    counts = client.engine.counts
    assert counts.finished == statuses[200] and counts.failed == 0
    assert (counts.running, counts.waiting) == (0, 0)
