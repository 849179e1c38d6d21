"""Decoding gives the same ids however it is computed: alone, batched, with a prefix cache; and it computes no more than it must."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agenttune.agent.decode import Session, decode
from agenttune.models.hf import HFModel
from agenttune.models.scripted import ScriptedModel
from agenttune.values.tokens import SamplingParams

KINDS = ("llama", "qwen2", "mistral", "lfm2")
LIMITS = SamplingParams(max_new_tokens=20, stop_ids=frozenset(range(0, 300, 11)))
Tiny = Callable[..., HFModel]


def ids(seed: int, length: int) -> list[int]:
    """Random ids of ordinary tokens."""
    made = random.Random(seed)
    return [made.randrange(10, 300) for _ in range(length)]


def prompts() -> list[list[int]]:
    """Two prefixes with several remainders each, and prompts that share nothing; lengths from 1 to 45."""
    first, second = ids(1, 30), ids(2, 21)
    return [
        first + ids(3, 4),
        second + ids(4, 9),
        ids(5, 17),
        first + ids(6, 15),
        first + ids(7, 1),
        second + ids(8, 2),
        ids(9, 1),
        first + ids(6, 3),
    ]


def reference(model: HFModel, prompt: list[int], sampling: SamplingParams) -> tuple[int, ...]:
    """What transformers' own generate says, without the stop."""
    import torch

    made = model.hf.generate(
        torch.tensor([prompt]),
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(sampling.stop_ids),
        pad_token_id=0,
        repetition_penalty=sampling.repetition_penalty,
    )[0, len(prompt) :].tolist()
    return tuple(itertools.takewhile(lambda token: token not in sampling.stop_ids, made))


@contextmanager
def passes(model: HFModel) -> Iterator[list[tuple[int, int]]]:
    """The (rows, columns) of each forward pass inside the block."""
    seen: list[tuple[int, int]] = []
    handle = model.hf.register_forward_pre_hook(lambda module, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_batched_alone_and_transformers_own_generate_say_the_same(tiny: Tiny, kind: str) -> None:
    model = tiny(kind)
    endless = [reference(model, prompt, SamplingParams(max_new_tokens=20)) for prompt in prompts()]
    # Stops that some rows meet and others do not, at different times.
    sampling = SamplingParams(max_new_tokens=20, stop_ids=frozenset({endless[0][2], endless[2][9], endless[5][14]}))
    wanted = [reference(model, prompt, sampling) for prompt in prompts()]
    alone = [decode(model, [prompt], sampling)[0] for prompt in prompts()]
    batched = decode(model, prompts(), sampling)
    assert [one.token_ids for one in alone] == wanted
    assert [one.token_ids for one in batched] == wanted
    assert len(set(wanted)) >= 6  # the models do say different things
    assert {one.stop for one in batched} == {"stop", "length"}
    assert len({len(one) for one in wanted}) >= 3


def test_repetition_penalty_is_that_of_transformers(tiny: Tiny) -> None:
    model = tiny("llama")
    sampling = SamplingParams(max_new_tokens=16, repetition_penalty=1.7)
    wanted = [reference(model, prompt, sampling) for prompt in prompts()[:4]]
    plain = [reference(model, prompt, SamplingParams(max_new_tokens=16)) for prompt in prompts()[:4]]
    assert [one.token_ids for one in decode(model, prompts()[:4], sampling)] == wanted
    assert wanted != plain


def test_a_shared_prefix_is_read_once(tiny: Tiny) -> None:
    model = tiny("llama")
    start = ids(1, 40)
    batch = [start + ids(seed, 3) for seed in (2, 3, 4)]
    with passes(model) as seen:
        made = decode(model, batch, SamplingParams(max_new_tokens=1))
    assert seen == [(1, 40), (3, 3)]
    assert [one.prompt_tokens for one in made] == [43, 43, 43]
    assert sum(one.prefilled_tokens for one in made) == 40 + 9
    assert [one.forward_passes for one in made] == [2, 2, 2]


def test_several_prefixes_are_read_in_one_pass(tiny: Tiny) -> None:
    model = tiny("llama")
    first, second = ids(1, 40), ids(2, 30)
    batch = [first + ids(3, 3), second + ids(4, 5), first + ids(5, 4), second + ids(6, 2)]
    with passes(model) as seen:
        made = decode(model, batch, SamplingParams(max_new_tokens=1))
    assert seen == [(2, 40), (4, 5)]
    assert sum(one.prefilled_tokens for one in made) == 40 + 30 + 3 + 5 + 4 + 2


def test_ended_rows_leave_the_batch(tiny: Tiny) -> None:
    model = tiny("llama")
    with passes(model) as seen:
        made = decode(model, prompts(), LIMITS)
    # One id is said from what reading the prompts gave; a row that goes on costs one pass for each further one, and only then.
    lengths = [len(one.token_ids) + (one.stop == "stop") for one in made]
    wanted = [sum(length > step for length in lengths) for step in range(1, max(lengths))]
    reading = len(seen) - len(wanted)
    assert reading == 2
    assert seen[reading:] == [(rows, 1) for rows in wanted]
    assert len(set(wanted)) >= 4
    # The prompt of one id has nothing to read in the first of the two passes.
    assert [one.forward_passes for one in made] == [length + (len(ids) > 1) for length, ids in zip(lengths, prompts(), strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_goes_on_as_if_it_were_fresh(tiny: Tiny, kind: str) -> None:
    model = tiny(kind)
    session = Session(model)
    prompt = ids(1, 12)
    for turn in range(4):
        made = decode(model, [prompt], LIMITS, sessions=[session])[0]
        assert made.token_ids == decode(model, [prompt], LIMITS)[0].token_ids, turn
        prompt = [*prompt, *made.token_ids, *ids(50 + turn, 5)]


def test_a_session_reads_only_what_is_new(tiny: Tiny) -> None:
    model = tiny("qwen2")
    session = Session(model)
    prompt = ids(1, 12)
    first = decode(model, [prompt], SamplingParams(max_new_tokens=6), sessions=[session])[0]
    assert (first.prefilled_tokens, first.forward_passes) == (12, 6)
    longer = [*prompt, *first.token_ids, *ids(2, 5)]
    with passes(model) as seen:
        second = decode(model, [longer], SamplingParams(max_new_tokens=3), sessions=[session])[0]
    # The last id said was never read: it is new with the five others.
    assert seen == [(1, 6), (1, 1), (1, 1)]
    assert (second.prompt_tokens, second.prefilled_tokens) == (23, 6)
    changed = [*longer[:15], *ids(9, 7)]
    third = decode(model, [changed], SamplingParams(max_new_tokens=3), sessions=[session])[0]
    assert third.prefilled_tokens == 7
    assert third.token_ids == decode(model, [changed], SamplingParams(max_new_tokens=3))[0].token_ids
    again = decode(model, [changed], SamplingParams(max_new_tokens=3), sessions=[session])[0]
    assert (again.prefilled_tokens, again.token_ids) == (1, third.token_ids)


def test_sessions_in_a_batch(tiny: Tiny) -> None:
    model = tiny("llama")
    sessions: list[Session | None] = [Session(model), Session(model), None, Session(model)]
    batch = prompts()[:4]
    made = decode(model, batch, LIMITS, sessions=sessions)
    later = [[*prompt, *one.token_ids, *ids(70 + row, 2 + row)] for row, (prompt, one) in enumerate(zip(batch, made, strict=True))]
    fresh = decode(model, later, LIMITS)
    kept = decode(model, later, LIMITS, sessions=sessions)
    assert [one.token_ids for one in kept] == [one.token_ids for one in fresh]
    unread = [one.stop == "length" for one in made]
    assert [one.prefilled_tokens for one in kept] == [2 + unread[0], 3 + unread[1], len(later[2]), 5 + unread[3]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_interrupt_leaves_the_session_usable(tiny: Tiny, kind: str, at: int) -> None:
    model = tiny(kind)
    session = Session(model)
    first = ids(1, 20)
    decode(model, [first], SamplingParams(max_new_tokens=2), sessions=[session])
    count = 0

    def interrupt(module: Any, args: Any) -> None:
        nonlocal count
        count += 1
        if count == at + 1:
            raise KeyboardInterrupt

    last_layer = list(model.hf.model.layers)[-1]  # the layers before it have already grown their caches
    handle = last_layer.register_forward_pre_hook(interrupt)
    longer = first + ids(2, 6)
    with pytest.raises(KeyboardInterrupt):
        decode(model, [longer], SamplingParams(max_new_tokens=8), sessions=[session])
    handle.remove()
    after = decode(model, [longer], LIMITS, sessions=[session])[0]
    assert after.token_ids == decode(model, [longer], LIMITS)[0].token_ids
    if kind in ("llama", "qwen2"):
        assert after.prefilled_tokens == (6 if at == 0 else 1)


def test_rows_that_end_copy_no_others(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from agenttune.models.key_value_cache import PreallocatedLayer

    model = tiny("llama")
    expected = [decode(model, [prompt], LIMITS)[0].token_ids for prompt in prompts()]
    moved: list[int] = []
    keep = PreallocatedLayer.keep
    monkeypatch.setattr(PreallocatedLayer, "keep", lambda layer, rows, moves: (moved.append(len(moves)), keep(layer, rows, moves))[1])
    monkeypatch.setattr(PreallocatedLayer, "reorder_cache", lambda *_: pytest.fail("every row was copied"))
    assert [one.token_ids for one in decode(model, prompts(), LIMITS)] == expected
    layers = len(model.hf.model.layers)
    assert len(set(map(len, expected))) > 2
    assert 0 < sum(moved) <= layers * len(prompts())  # a row that ends moves one other at most


def test_no_room_is_told_and_not_an_error(tiny: Tiny) -> None:
    model = tiny("llama")
    full, nearly = ids(1, model.context), ids(2, model.context - 3)
    made = decode(model, [full, nearly, ids(3, 4)], SamplingParams(max_new_tokens=5))
    assert [one.stop for one in made] == ["context", "context", "length"]
    assert [len(one.token_ids) for one in made] == [0, 3, 5]
    assert made[0].forward_passes == 0


def test_text_is_told_as_it_becomes_certain() -> None:
    model = ScriptedModel(["Yes: 你好 😀.\nObservation: made up", "No"])
    told: list[tuple[int, str]] = []
    sampling = SamplingParams(stops=("\nObservation:",), stop_ids=frozenset({257}))
    made = decode(model, [[1], [2]], sampling, on_text=lambda row, text: told.append((row, text)))
    assert [one.text for one in made] == ["Yes: 你好 😀.", "No"]
    assert [one.stop for one in made] == ["stop_text", "stop"]
    assert "".join(text for row, text in told if row == 0) == "Yes: 你好 😀."
    assert ("你" in [text for _, text in told]) and all("\ufffd" not in text for _, text in told)
    assert model.tokenizer.decode(made[0].token_ids) == "Yes: 你好 😀."
    # Told while the others go on, not at the end.
    assert told[:3] == [(0, "Y"), (1, "N"), (0, "e")]


def test_a_scripted_session_counts_like_a_real_one() -> None:
    model = ScriptedModel(["abc", "d"])
    session = Session(model)
    sampling = SamplingParams(stop_ids=frozenset({257}))
    first = decode(model, [[1, 2, 3]], sampling, sessions=[session])[0]
    second = decode(model, [[1, 2, 3, *first.token_ids, 257, 9]], sampling, sessions=[session])[0]
    assert (first.prefilled_tokens, first.forward_passes) == (3, 4)
    assert (second.prompt_tokens, second.prefilled_tokens) == (8, 2)


def test_sampling_repeats_with_its_seed(tiny: Tiny) -> None:
    model = tiny("llama")
    hot = SamplingParams(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=3)
    batch = [prompts()[0]] * 3
    first, second = decode(model, batch, hot), decode(model, batch, hot)
    assert [one.token_ids for one in first] == [one.token_ids for one in second]
    assert len({one.token_ids for one in first}) == 3  # each row draws for itself
    other = decode(model, batch, SamplingParams(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=4))
    assert [one.token_ids for one in other] != [one.token_ids for one in first]
    cold = decode(model, batch, SamplingParams(max_new_tokens=12, temperature=0.7, top_k=1))
    assert {one.token_ids for one in cold} == {decode(model, batch[:1], SamplingParams(max_new_tokens=12))[0].token_ids}
