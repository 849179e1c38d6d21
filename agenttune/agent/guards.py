"""Limits of a run, and what is done so that it never ends with an empty hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Observation, Trajectory

GuardName = Literal["repeated_call", "forced_answer", "observation_cut", "context_full", "lagent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Limits of one run.

    `tool_seconds` is what one call may take, `observation_tokens` what one result may put into the prompt (its middle gives way),
    `run_tokens` what the model may write for one question (0: no limit). A call of a tool that only reads, made twice in a row, is
    answered the second time from the first; then, and at every limit, the model is made to answer. Where the context is full, what tools
    answered before is shortened so far that an answer has room.
    """

    tool_seconds: float = 30.0
    observation_tokens: int = 2000
    run_tokens: int = 16384


GUARDED = Guards()


def cut_observation(seen: Observation, limit: int, tokenizer: Tokenizer) -> tuple[str, int]:
    """(the text in about `limit` tokens, tokens left out): head and tail stay, three to one, and the cut says what is missing."""
    ids = tokenizer.encode(seen.text, special=False)
    if len(ids) <= limit:
        return seen.text, 0
    tail = limit // 4
    left = len(ids) - limit
    end = tokenizer.decode(ids[len(ids) - tail :]) if tail else ""
    return f"{tokenizer.decode(ids[: limit - tail])}\n[… {left} tokens left out …]\n{end}", left


def shortened(trajectory: Trajectory, limit: int, tokenizer: Tokenizer) -> tuple[Trajectory, int]:
    """(the trajectory with every result cut to about `limit` tokens, tokens left out)."""
    missing = 0
    rounds = []
    for one in trajectory.rounds:
        steps = []
        for step in one.steps:
            cut = [cut_observation(seen, limit, tokenizer) for seen in step.observations]
            missing += sum(left for _, left in cut)
            seen = tuple(replace(old, text=text) for old, (text, _) in zip(step.observations, cut, strict=True))
            steps.append(replace(step, observations=seen))
        rounds.append(replace(one, steps=tuple(steps)))
    return replace(trajectory, rounds=tuple(rounds)), missing
