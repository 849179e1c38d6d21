"""What the agent's loop costs: prompts that go on, calls under a grammar, and the grammar itself. One thread, its own processor time.

The model computes everything and says what it is led to say, so that every way of computing says the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttune import protocols, templates
from agenttune.agent import decode as decoding
from agenttune.agent.constrain import CallGrammar, RowConstraint
from agenttune.agent.decode import Session, decode
from agenttune.data.render import prompt_ids
from agenttune.evaluation import suites
from agenttune.models import load
from agenttune.models.base import Prefill, Prefix
from agenttune.values.case import Case
from agenttune.values.tokens import SamplingParams, Tokenizer
from agenttune.values.trajectory import Step, ToolCall

PROMPT, OBSERVATION, SAID = 740, 350, 32  # tokens of an episode of ReAct with a handful of tools
THOUGHT = "The request needs a tool; this one takes the values that are named."
STOP = 2


class Led:
    """A model that computes as it is and says `ids`."""

    def __init__(self, model: Any, ids: Sequence[int], vocabulary: int) -> None:
        self._model, self.ids, self.vocabulary = model, list(ids), vocabulary
        self.tokenizer: Tokenizer = model.tokenizer
        self.name, self.context, self.card, self.fingerprint = "led", model.context, None, "led"

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Any:
        return LedRow(self, self._model.start(prompts, prefixes))


class LedRow:
    """Its one row."""

    def __init__(self, model: Led, rows: Any) -> None:
        self._model, self._rows, self._at, self._draft = model, rows, 0, 0
        self.prefill: tuple[Prefill, ...] = rows.prefill
        self.drafts: bool = rows.drafts

    def greedy(self) -> list[int]:
        self._rows.greedy()
        ids = self._model.ids
        return [ids[min(self._at + place, len(ids) - 1)] for place in range(1 + self._draft)]

    def logits(self) -> Any:
        found = np.array(self._rows.logits())
        found[range(1 + self._draft), self.greedy()] = found.max() + 1
        return found

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        self._at, self._draft = self._at + 1, len(drafts[0]) if drafts else 0
        self._rows.advance(tokens, drafts)

    def cut(self, kept: Sequence[int]) -> None:
        self._at, self._draft = self._at + kept[0], 0
        self._rows.cut(kept)

    def prefix(self, row: int) -> Prefix:
        found: Prefix = self._rows.prefix(row)
        return found


def run(*, quick: bool) -> None:
    """Prints the table of the agent's loop."""
    import torch

    torch.set_num_threads(1)
    model = load("smollm2-135m", dtype="float32")
    print("SmolLM2-135M, float32, one thread; seconds are the process's own")
    for steps in (6,) if quick else (6, 12):
        episode(model, steps)
    for protocol in ("react", "hermes"):
        calls(model, protocol, 4 if quick else 16)


def timed(work: Callable[[], Any], times: int = 1) -> float:
    """The least processor seconds of `times` runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def episode(model: Any, steps: int) -> None:
    """Prompts that go on, with the prefix cache and read again at every step."""
    draw = np.random.default_rng(0)
    prompts = [[int(one) for one in draw.integers(100, 40_000, PROMPT)]]
    said = [[int(one) for one in draw.integers(100, 40_000, SAID)] for _ in range(steps)]
    for reply in said[:-1]:
        prompts.append([*prompts[-1], *reply, *(int(one) for one in draw.integers(100, 40_000, OBSERVATION))])
    counted, whole, first, texts = [], [], [], []
    for cached in (True, False):
        session, tokens, seconds, said_so_far = Session(None), 0, 0.0, list[tuple[int, ...]]()  # type: ignore[arg-type]
        for at, (prompt, reply) in enumerate(zip(prompts, said, strict=True)):
            led = Led(model, [*reply, STOP], 49152)
            session.model = led
            if at == steps - 1:
                before = copied(model, session.prefix) if cached else None
                first.append(timed(lambda prompt=prompt, before=before: model.start([prompt], [before])))  # type: ignore[misc]
            start = time.process_time()
            sampling = SamplingParams(max_new_tokens=SAID, stop_ids=frozenset({STOP}))
            (made,) = decode(led, [prompt], sampling, sessions=[session if cached else None])
            seconds, tokens = seconds + time.process_time() - start, tokens + made.prefilled_tokens
            said_so_far.append(made.token_ids)
        counted.append(tokens)
        whole.append(seconds)
        texts.append(said_so_far)
    assert texts[0] == texts[1]
    print(
        f"{steps} steps: {counted[0]} prompt tokens read, {counted[1]} without the cache: {counted[1] / counted[0]:.2f} times less; "
        f"first token of step {steps} after {first[0]:.3f} s and {first[1]:.3f} s: {first[1] / first[0]:.1f} times sooner; "
        f"whole episode {whole[0]:.2f} s and {whole[1]:.2f} s: {whole[1] / whole[0]:.2f} times less",
        flush=True,
    )


def copied(model: Any, prefix: Prefix | None) -> Prefix | None:
    """A prefix to measure with, so that the conversation's own stays."""
    return None if prefix is None else model.copied(prefix, len(prefix.ids))


@dataclass(slots=True)
class Sums:
    """Of several replies."""

    tokens: int = 0
    passes: int = 0
    free: float = 0.0
    held: float = 0.0
    prompts: float = 0.0
    grammar: float = 0.0


def replies(protocol: str, most: int) -> Iterator[tuple[Case, str]]:
    """Evenly drawn cases of the desk with a thought and the accepted call."""
    cases = [case for case in suites.read("desk") if case.answers and case.answers[0]]
    for case in cases[:: max(1, len(cases) // most)][:most]:
        one = case.answers[0][0]
        call = ToolCall(name=one.name, arguments={name: values[0] for name, values in one.arguments.items()})
        yield case, protocols.get(protocol).write_step(Step(thought=THOUGHT, calls=(call,)))


def calls(model: Any, protocol: str, most: int) -> None:
    """Replies with a call: free, one pass a token, and under the grammar."""
    tokenizer = model.tokenizer
    template = templates.load("auto", tokenizer)
    sums, one_pass = Sums(), statistics.median(timed(lambda: decode(model, [[5]], SamplingParams(max_new_tokens=9))) / 9 for _ in range(5))
    for case, text in replies(protocol, most):
        ids, prompt = tokenizer.encode(text, special=False), prompt_ids(case.sample, template, tokenizer)
        grammar = CallGrammar(protocols.get(protocol), case.sample.tools, tokenizer)
        led, sampling = Led(model, [*ids, STOP], 49152), SamplingParams(max_new_tokens=400, stop_ids=frozenset({STOP}))
        prefix = Prefix()
        sums.prompts += timed(lambda prompt=prompt, prefix=prefix: model.read_ahead(prompt, prefix))  # type: ignore[misc]
        ends = {}
        for held in (None, grammar):
            session = Session(led)
            session.prefix = copied(model, prefix)
            start = time.process_time()
            (made,) = decode(led, [prompt], sampling, sessions=[session], grammars=[held])
            took = time.process_time() - start
            ends[held is None] = made
            sums.free, sums.held = (sums.free + took, sums.held) if held is None else (sums.free, sums.held + took)
        assert ends[True].token_ids == ends[False].token_ids
        sums.tokens, sums.passes = sums.tokens + len(ids), sums.passes + ends[False].forward_passes
        sums.grammar += timed(lambda grammar=grammar, ids=ids, prompt=prompt: follow(grammar, ids, prompt), 3)  # type: ignore[misc]
    share = sums.grammar / sums.tokens / one_pass
    print(
        f"{protocol}: {most} replies with a thought and a call, {sums.tokens} tokens in {sums.passes} passes under the grammar "
        f"({sums.passes / sums.tokens:.2f}); {sums.held:.2f} s and {sums.free:.2f} s free: {sums.held / sums.free:.2f}, with their prompts "
        f"{(sums.held + sums.prompts) / (sums.free + sums.prompts):.2f}; the grammar and its drafts take "
        f"{1e6 * sums.grammar / sums.tokens:.0f} µs a token, {share:.1%} of a forward pass of {1e3 * one_pass:.1f} ms",
        flush=True,
    )


def follow(grammar: CallGrammar, ids: Sequence[int], prompt: Sequence[int]) -> None:
    """All that a grammar does while these ids are said, without the model."""
    row, at = RowConstraint(grammar, frozenset({STOP}), prompt), 0
    while at < len(ids):
        draft = row.draft(decoding.DRAFT) if at else []
        for token in ids[at : at + 1 + len(draft)]:
            if row.active:
                assert row.allows(token)
            else:
                row.begins(token)
            row.push(token)
            at += 1
            if row.complete or at >= len(ids) or not draft or draft.pop(0) != ids[at]:
                break
