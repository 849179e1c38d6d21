"""Requests join and leave a batch, and none is given other words because of the others."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable
from typing import Any

import pytest

from agenttune import protocols
from agenttune.agent.constrain import CallGrammar
from agenttune.agent.decode import decode
from agenttune.models.base import Prefix
from agenttune.models.scripted import ScriptedModel
from agenttune.serving.backends.base import Busy
from agenttune.serving.backends.engine import Engine, EngineOptions
from agenttune.serving.backends.prefix_cache import PrefixCache
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import ToolSpec


class Heard:
    """What a request was given, in order."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def completion(self) -> Completion:
        pieces = []
        while True:
            one = self.queue.get(timeout=120)
            if isinstance(one, Completion):
                assert "".join(pieces) == one.text
                return one
            assert isinstance(one, str), one
            pieces.append(one)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "lfm2"])
def test_what_is_said_does_not_depend_on_who_else_is_in_the_batch(kind: str, tiny: Callable[..., Any]) -> None:
    """Sixteen requests of several lengths, some sampled, some calls, that come while others are decoded, against each alone; float64."""
    model, draw = tiny(kind), random.Random(5)
    shared = [draw.randrange(3, 300) for _ in range(30)]
    asked: list[tuple[list[int], SamplingParams, CallGrammar | None]] = []
    look = ToolSpec(name="look", parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
    calls = CallGrammar(protocols.get("react"), [look], model.tokenizer, choice="required")
    for number in range(16):
        prompt = [*(shared if number % 3 else []), *(draw.randrange(3, 300) for _ in range(draw.randrange(1, 60)))]
        sampling = SamplingParams(max_new_tokens=draw.randrange(1, 24), temperature=0.8 if number % 4 == 3 else 0.0, seed=number)
        asked.append((prompt, sampling, calls if number % 3 == 1 else None))
    alone = [decode(model, [prompt], sampling, grammars=[grammar])[0] for prompt, sampling, grammar in asked]
    engine = Engine(model, EngineOptions(batch=5, waiting=16, piece=16), token_bytes=64)
    heard = [Heard() for _ in asked]
    for (prompt, sampling, grammar), one in zip(asked, heard, strict=True):
        engine.submit(prompt, sampling, one.queue.put, grammar=grammar)
    found = [one.completion() for one in heard]
    assert engine.close()
    assert [one.token_ids for one in found] == [one.token_ids for one in alone]
    assert [one.stop for one in found] == [one.stop for one in alone]
    assert engine.counts.finished == 16
    if kind in ("llama", "qwen2"):  # these caches can be cut, so what prompts have in common is read once
        assert engine.counts.prefilled_tokens < engine.counts.prompt_tokens - 5 * 30


def test_a_conversation_that_goes_on_is_not_read_again(tiny: Callable[..., Any]) -> None:
    model = tiny("llama")
    engine = Engine(model, token_bytes=1)
    first = Heard()
    engine.submit(list(range(10, 60)), SamplingParams(max_new_tokens=6), first.queue.put)
    said = first.completion()
    second = Heard()
    engine.submit([*range(10, 60), *said.token_ids, 7, 8, 9], SamplingParams(max_new_tokens=2), second.queue.put)
    assert second.completion().prefilled_tokens == 4  # the last token that was said, which nobody had read, and three new ones
    assert engine.close()


def test_one_that_goes_away_is_gone_within_a_pass_and_the_others_go_on() -> None:
    engine = Engine(ScriptedModel(lambda prompt: "word " * 4000))
    gone, stays = Heard(), Heard()
    first = engine.submit([65, 66], SamplingParams(max_new_tokens=10_000_000), gone.queue.put)
    engine.submit([65, 67], SamplingParams(max_new_tokens=300), stays.queue.put)
    gone.queue.get(timeout=60)
    first.cancel()
    assert len(stays.completion().token_ids) == 300
    while engine.counts.running:
        pass
    assert (engine.counts.cancelled, engine.counts.finished) == (1, 1)
    assert engine.close()


def test_a_full_queue_is_said_at_once() -> None:
    engine = Engine(ScriptedModel(lambda prompt: "word " * 100_000), EngineOptions(batch=1, waiting=1))
    jobs = [engine.submit([65], SamplingParams(max_new_tokens=10_000_000), lambda one: None) for _ in range(2)]
    with pytest.raises(Busy, match="the queue is full"):
        engine.submit([65], SamplingParams(), lambda one: None)
    for job in jobs:
        job.cancel()
    assert engine.close()


def test_a_model_that_fails_fails_its_request_and_serves_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel(lambda prompt: "fine")
    start = model.start

    def fail_once(prompts: Any, prefixes: Any) -> Any:
        monkeypatch.setattr(model, "start", start)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "start", fail_once)
    engine, broken, whole = Engine(model), Heard(), Heard()
    engine.submit([65], SamplingParams(), broken.queue.put)
    error = broken.queue.get(timeout=60)
    assert isinstance(error, RuntimeError)
    engine.submit([65], SamplingParams(max_new_tokens=4), whole.queue.put)
    assert whole.completion().text == "fine"
    assert engine.counts.failed == 1
    assert engine.close()


def test_the_prefix_cache_keeps_to_its_bytes_and_drops_what_was_not_used_for_longest() -> None:
    cache = PrefixCache(ScriptedModel([]), limit=1000, token_bytes=10)
    for first in (1, 2, 3):
        cache.add(Prefix(ids=[first] * 40))
    assert (len(cache), cache.bytes) == (2, 800)
    assert cache.find([1] * 40) is None
    found = cache.find([2] * 50)
    assert found is not None and found.ids == [2] * 40
    cache.add(Prefix(ids=[4] * 40))
    assert cache.find([3] * 40) is None, "the third was used before the second"
    cache.add(Prefix(ids=[4] * 61))
    assert (len(cache), cache.bytes) == (1, 610), "a longer one takes the place of its own beginning, and the room of the second"
    cache.add(Prefix(ids=[5] * 101))
    assert cache.find([5] * 101) is None, "larger than all the room"
