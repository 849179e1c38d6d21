"""Sampling draws from the distribution that transformers' own warpers leave."""

from __future__ import annotations

from collections import Counter

import numpy
import pytest

from agenttune.agent.sample import Sampler, greedy
from agenttune.values.tokens import Limits

LOGITS = numpy.array([2.0, -1.0, 0.5, 1.7, -3.0, 0.0, 1.9, -0.2], dtype=numpy.float32)


def reference(limits: Limits, seen: list[int]) -> list[float]:
    """The probabilities after transformers' processors, in their order."""
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    chain = LogitsProcessorList()
    if limits.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(limits.repetition_penalty))
    chain.append(TemperatureLogitsWarper(limits.temperature))
    if limits.top_k:
        chain.append(TopKLogitsWarper(limits.top_k))
    if limits.top_p < 1:
        chain.append(TopPLogitsWarper(limits.top_p))
    scores = chain(torch.tensor([seen]), torch.tensor(LOGITS)[None].clone())
    found: list[float] = scores.softmax(-1)[0].tolist()
    return found


@pytest.mark.parametrize(
    "limits",
    [
        Limits(temperature=1.0),
        Limits(temperature=0.6, top_k=3),
        Limits(temperature=1.4, top_p=0.7),
        Limits(temperature=1.0, top_k=5, top_p=0.9, repetition_penalty=1.8),
    ],
)
def test_draws_follow_the_warped_distribution(limits: Limits) -> None:
    wanted = reference(limits, [0, 4])
    draws = 4000
    counts: Counter[int] = Counter()
    for row in range(40):
        for _ in range(draws // 40):
            sampler = Sampler(limits, row, [0, 4])
            sampler._random = numpy.random.default_rng([row, len(counts), counts.total()])
            counts[sampler.pick(LOGITS)] += 1
    for token, share in enumerate(wanted):
        spread = 4 * (share * (1 - share) / draws) ** 0.5
        assert abs(counts[token] / draws - share) <= spread + 1e-9, token
    assert sum(share > 0 for share in wanted) >= 2


def test_the_penalty_counts_what_was_said_since() -> None:
    sampler = Sampler(Limits(repetition_penalty=2.0), 0, [])
    assert [sampler.pick(LOGITS) for _ in range(4)] == [0, 6, 3, 0]  # 2.0, 1.9, 1.7, then 1.0 against 0.95, 0.85 and 0.5
    assert not greedy(Limits(repetition_penalty=2.0))


def test_the_seed_and_the_row_decide() -> None:
    def draws(seed: int, row: int) -> list[int]:
        sampler = Sampler(Limits(temperature=1.0, seed=seed), row, [])
        return [sampler.pick(LOGITS) for _ in range(20)]

    assert draws(1, 0) == draws(1, 0)
    assert len({tuple(draws(seed, row)) for seed in (1, 2) for row in (0, 1)}) == 4


def test_greedy_is_temperature_zero() -> None:
    assert greedy(Limits())
    assert not greedy(Limits(temperature=0.1))
    assert Sampler(Limits(), 0, []).pick(LOGITS) == 0
