"""The server, in ratios of one run: what a second turn waits for its first word, what eight clients get, a forced call, health.

Beside ``transformers serve`` on the same weights and llama.cpp's server (xllamacpp) on the same GGUF file; each in a process of its own.
"""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from agenttune.models.gguf import embedded, folder_of
from tests.benchmarks.other_servers import llama_serve, transformers_serve
from tests.serving.started import started

WORDS = "The harbour of the old town was built of grey stone, and boats from many islands came there with fish and salt. "
TURN, SAID, ASKED = 8, 16, 128  # repetitions of `WORDS` in the first turn, tokens of a reply, tokens of each of eight clients
FIELDS = {"town": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 99}}
TOWN = {"type": "object", "properties": FIELDS, "required": list(FIELDS)}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather of a town.", "parameters": TOWN}}]


def run(*, quick: bool, threads: int) -> None:
    """Prints the table of the server."""
    gguf = embedded()
    folder, times = folder_of(gguf), 3 if quick else 7
    own = (str(folder), "--protocol", "hermes", "--dtype", "float32")
    with started(*own) as server:
        ours = second_turn(server.base.removesuffix("/v1"), str(folder), times)
        single, eight, health = throughput(server.base.removesuffix("/v1"), quick)
        call, form = (forced(server.base.removesuffix("/v1"), str(folder), times, call=one) for one in (True, False))
    print(f"second turn, time to the first word: ours {_shown(ours)}")
    with transformers_serve(folder, threads) as base:
        if base is not None:
            theirs = second_turn(base, str(folder), times)
            print(f"  transformers serve {_shown(theirs)}: {_middle(theirs) / _middle(ours):.1f} times ours")
    print(f"tokens a second: one client {single:.1f}, eight clients {eight:.1f}: {eight / single:.1f} times one")
    print(f"/health meanwhile: {_shown(health)}, worst {max(health):.3f} s of {len(health)}")
    print(f"a call that must come: ours {_shown(call)}")
    print(f"an answer of the same form: ours {_shown(form)}")
    with llama_serve(gguf, threads) as base:
        if base is not None:
            there = forced(base, "model", times, call=False)
            ratio = _middle(form) / _middle(there)
            print(f"  llama.cpp on the same file (4-bit weights, ours float32) {_shown(there)}: ours takes {ratio:.1f} times as long")


def second_turn(base: str, model: str, times: int) -> list[float]:
    """Seconds to the first word of a second turn's reply, several conversations one after the other."""
    found = []
    for number in range(times + 1):
        talk: list[Any] = [{"role": "user", "content": f"Story {number}. " + WORDS * TURN + "Say what came there."}]
        _, said = first_word(base, {"model": model, "messages": talk, "max_tokens": SAID, "temperature": 0})
        talk += [{"role": "assistant", "content": said}, {"role": "user", "content": "And of what was it built?"}]
        found.append(first_word(base, {"model": model, "messages": talk, "max_tokens": SAID, "temperature": 0})[0])
    return found[1:]  # the first warms up


def first_word(base: str, body: dict[str, Any]) -> tuple[float, str]:
    """(seconds to the first piece of text, the whole text) of a streamed chat."""
    began, first, pieces = time.monotonic(), 0.0, []
    line, answer = _post(base, {**body, "stream": True})
    for raw in answer:
        data = raw.decode("utf-8").strip()
        if not data.startswith("data:") or data == "data: [DONE]":
            continue
        for choice in json.loads(data.removeprefix("data:")).get("choices", []):
            if text := choice["delta"].get("content"):
                first = first or time.monotonic() - began
                pieces.append(text)
    line.close()
    return first, "".join(pieces)


def throughput(base: str, quick: bool) -> tuple[float, float, list[float]]:
    """Tokens a second of one client and of eight at once, and how long /health took meanwhile."""
    tokens = 32 if quick else ASKED
    _generate(base, 0, 8)
    began = time.monotonic()
    one = _generate(base, 1, tokens) / (time.monotonic() - began)
    counts: list[int] = []
    workers = [threading.Thread(target=lambda at=at: counts.append(_generate(base, at, tokens))) for at in range(2, 10)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    health = []
    while any(worker.is_alive() for worker in workers):
        health.append(timed(lambda: _get(base, "/health")))
        time.sleep(0.05)
    return one, sum(counts) / (time.monotonic() - began), health


def forced(base: str, model: str, times: int, *, call: bool) -> list[float]:
    """Seconds for an object of the form `TOWN`: the arguments of a call that must come, or an answer of that form."""
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": TOWN, "strict": True}}
    how: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required"} if call else {"response_format": form}

    def ask(number: int) -> None:
        talk = [{"role": "user", "content": f"How is the weather in Oslo in the next {number + 2} days? Name the town and the days."}]
        line, answer = _post(base, {"model": model, "messages": talk, "max_tokens": 200, "temperature": 0, **how})
        message = json.loads(answer.read())["choices"][0]["message"]
        text = message["tool_calls"][0]["function"]["arguments"] if call else message["content"]
        assert set(json.loads(text)) == set(FIELDS), text
        line.close()

    ask(0)
    return [timed(lambda number=number: ask(number)) for number in range(1, times + 1)]


def timed(work: Callable[[], object]) -> float:
    """The seconds that something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _generate(base: str, number: int, tokens: int) -> int:
    body = {"prompt": f"{number} {WORDS}", "max_tokens": tokens, "temperature": 1.0, "seed": number}
    line, answer = _post(base, body, "/v1/completions")
    written: int = json.loads(answer.read())["usage"]["completion_tokens"]
    line.close()
    return written


def _post(base: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> tuple[http.client.HTTPConnection, Any]:
    """The connection, and the response that came over it."""
    line = http.client.HTTPConnection(urlsplit(base).netloc, timeout=600)
    line.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = line.getresponse()
    assert answer.status == 200, answer.read()[:500]
    return line, answer


def _get(base: str, path: str) -> None:
    line = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    line.request("GET", path)
    assert line.getresponse().read()
    line.close()


def _middle(times: list[float]) -> float:
    return statistics.median(times)


def _shown(times: list[float]) -> str:
    return f"{_middle(times):.3f} s ({min(times):.3f}–{max(times):.3f}, n {len(times)})"
