"""Sampling draws from the distribution that transformers' own warpers leave."""

from __future__ import annotations

from collections import Counter

import numpy
import pytest

from agenttune.agent.sampling import Sampler, greedy
from agenttune.values.tokens import SamplingParams

LOGITS = numpy.array([2.0, -1.0, 0.5, 1.7, -3.0, 0.0, 1.9, -0.2], dtype=numpy.float32)


def reference(sampling: SamplingParams, seen: list[int]) -> list[float]:
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
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    scores = chain(torch.tensor([seen]), torch.tensor(LOGITS)[None].clone())
    found: list[float] = scores.softmax(-1)[0].tolist()
    return found


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=1.0),
        SamplingParams(temperature=0.6, top_k=3),
        SamplingParams(temperature=1.4, top_p=0.7),
        SamplingParams(temperature=1.0, top_k=5, top_p=0.9, repetition_penalty=1.8),
    ],
)
def test_draws_follow_the_warped_distribution(sampling: SamplingParams) -> None:
    wanted = reference(sampling, [0, 4])
    draws = 4000
    counts: Counter[int] = Counter()
    for row in range(40):
        for _ in range(draws // 40):
            sampler = Sampler(sampling, row, [0, 4])
            sampler._random = numpy.random.default_rng([row, len(counts), counts.total()])
            counts[sampler.pick(LOGITS)] += 1
    for token, share in enumerate(wanted):
        spread = 4 * (share * (1 - share) / draws) ** 0.5
        assert abs(counts[token] / draws - share) <= spread + 1e-9, token
    assert sum(share > 0 for share in wanted) >= 2


def test_the_penalty_counts_what_was_said_since() -> None:
    sampler = Sampler(SamplingParams(repetition_penalty=2.0), 0, [])
    assert [sampler.pick(LOGITS) for _ in range(4)] == [0, 6, 3, 0]  # 2.0, 1.9, 1.7, then 1.0 against 0.95, 0.85 and 0.5
    assert not greedy(SamplingParams(repetition_penalty=2.0))


def test_the_seed_and_the_row_decide() -> None:
    def draws(seed: int, row: int) -> list[int]:
        sampler = Sampler(SamplingParams(temperature=1.0, seed=seed), row, [])
        return [sampler.pick(LOGITS) for _ in range(20)]

    assert draws(1, 0) == draws(1, 0)
    assert len({tuple(draws(seed, row)) for seed in (1, 2) for row in (0, 1)}) == 4


def test_greedy_is_temperature_zero() -> None:
    assert greedy(SamplingParams())
    assert not greedy(SamplingParams(temperature=0.1))
    assert Sampler(SamplingParams(), 0, []).pick(LOGITS) == 0
