"""Length: no call is ever cut; observations are elided first, then whole steps dropped, then the sample is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.fit import elide, fit
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.protocols.base import write
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

REACT = protocols.get("react")


def long_sample(steps: int, words: int) -> Sample:
    """A chain of calls, each answered by many words."""
    seen = Observation(text=" ".join(f"word{number}" for number in range(words)))
    made = [
        Step(thought=f"Step {number}.", calls=(ToolCall(name="look", arguments={"n": number}),), observations=(seen,))
        for number in range(steps)
    ]
    return write(Trajectory(tools=(ToolSpec(name="look"),), rounds=(Round(user="Look.", steps=(*made, Step(answer="Done."))),)), REACT)


@pytest.fixture(name="tools")
def tokenizer_and_template(made_tokenizer: Callable[[str], Any]) -> tuple[Any, Any]:
    """A tokenizer made here, and its own template."""
    from agenttune.models.hf import wrap_tokenizer

    tokenizer = wrap_tokenizer(made_tokenizer("chatml"))
    return tokenizer, templates.load("auto", tokenizer)


def test_elide_keeps_both_ends_and_says_what_is_missing(tools: tuple[Any, Any]) -> None:
    tokenizer, _ = tools
    text = "".join(chr(ord("a") + number % 26) for number in range(400))
    short = elide(text, 20, tokenizer)
    head, rest = short.split(" [… ")
    count, tail = rest.split(" characters left out …] ")
    assert text.startswith(head) and text.endswith(tail)
    assert len(head) + int(count) + len(tail) == 400
    assert elide(text, 10_000, tokenizer) == text


@pytest.mark.parametrize("length", [512, 1024, 2048, 4096, 8192])
def test_every_trained_call_still_parses(length: int, tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = long_sample(steps=6, words=300)
    fitted = fit(sample, template, tokenizer, length)
    assert max(len(one.token_ids) for one in render(fitted.sample, template, tokenizer)) <= length
    outputs = [turn.output for turn in sample.turns]
    kept = [turn.output for turn in fitted.sample.turns]
    assert kept == outputs[len(outputs) - len(kept) :]
    assert all(REACT.parse(output).calls or REACT.parse(output).answer for output in kept)
    assert fitted.changes.get("dropped", 0) == len(outputs) - len(kept)


def test_observations_go_before_steps_and_both_are_counted(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = long_sample(steps=6, words=300)
    roomy = fit(sample, template, tokenizer, 4096)
    assert roomy.changes == {"elided": 6}
    tight = fit(sample, template, tokenizer, 512)
    assert tight.changes["elided"] == 6 and tight.changes["dropped"] >= 1
    assert tight.sample.meta["changes"] == tight.changes
    assert tight.sample.turns[0].system == sample.turns[0].system
    assert tight.sample.turns[0].input == "Look."


def test_what_cannot_fit_is_refused(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    with pytest.raises(Refusal, match="20 fit"):
        fit(long_sample(steps=1, words=10), template, tokenizer, 20)


def test_what_fits_is_untouched(tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = long_sample(steps=1, words=3)
    assert fit(sample, template, tokenizer, 8192).sample is sample
