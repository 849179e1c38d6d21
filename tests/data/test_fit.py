"""Length: no call is ever cut; observations are elided first, then whole steps dropped, then the sample is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.convert.options import ConvertOptions, read_systems
from agenttune.data.convert.run import convert
from agenttune.data.fit import elide, fit
from agenttune.data.render import render
from agenttune.errors import Refusal
from agenttune.models import load_tokenizer
from agenttune.protocols.base import write
from agenttune.training.token_cache import Remembering
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

REACT = protocols.get("react")


def long_sample(steps: int, words: int, protocol: str = "react") -> Sample:
    """A chain of calls, each answered by many words."""
    seen = Observation(text=" ".join(f"word{number}" for number in range(words)))
    made = [
        Step(thought=f"Step {number}.", calls=(ToolCall(name="look", arguments={"n": number}),), observations=(seen,))
        for number in range(steps)
    ]
    rounds = (Round(user="Look.", steps=(*made, Step(answer="Done."))),)
    return write(Trajectory(tools=(ToolSpec(name="look"),), rounds=rounds), protocols.get(protocol))


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


BUDGETS = [(length, protocol) for length in (512, 1024, 2048, 4096, 8192) for protocol in protocols.PROTOCOLS]
BUDGETS.remove((512, "react_zh"))  # its Chinese instructions alone are longer under this tokenizer, and are not cut


@pytest.mark.parametrize(("length", "protocol"), BUDGETS)
def test_every_trained_call_still_parses(length: int, protocol: str, tools: tuple[Any, Any]) -> None:
    tokenizer, template = tools
    sample = long_sample(steps=6, words=300, protocol=protocol)
    fitted = fit(sample, template, tokenizer, length)
    assert max(len(one.token_ids) for one in render(fitted.sample, template, tokenizer)) <= length
    outputs = [turn.output for turn in sample.turns]
    kept = [turn.output for turn in fitted.sample.turns]
    assert kept == outputs[len(outputs) - len(kept) :]
    read = [protocols.get(protocol).parse(output) for output in kept]
    assert read[-1].answer == "Done."
    assert [call.arguments for step in read for call in step.calls] == [{"n": number} for number in range(len(outputs) - len(kept), 6)]
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


def test_real_trajectories_fit_with_every_call_whole(data_dir: Path, smollm2: str, tmp_path: Path) -> None:
    tokenizer = Remembering(load_tokenizer(smollm2))
    template = templates.load("auto", tokenizer)
    source = data_dir / "react-gpt4"
    few = (source / "dev.jsonl").read_text(encoding="utf-8").splitlines()[::60]
    (tmp_path / "few.jsonl").write_text("\n".join(few) + "\n", encoding="utf-8")
    convert(
        "react",
        [str(tmp_path / "few.jsonl")],
        str(tmp_path / "out.jsonl"),
        options=ConvertOptions(systems=read_systems(str(source / "systems.json"))),
    )
    samples = [sample_from_json(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    fits = {length: sum(_fits(sample, template, tokenizer, length) for sample in samples) for length in (512, 1024, 2048, 4096, 8192)}
    assert list(fits.values()) == sorted(fits.values())
    assert fits[8192] == len(samples) == len(few)
    assert 0 < fits[1024] < len(samples)


def _fits(sample: Sample, template: templates.Template, tokenizer: Tokenizer, length: int) -> bool:
    """Whether it fits; where it does, the calls left are the last ones of the sample, whole."""
    try:
        fitted = fit(sample, template, tokenizer, length)
    except Refusal as refusal:
        assert refusal.code == "too_long"
        return False
    assert max(len(one.token_ids) for one in render(fitted.sample, template, tokenizer)) <= length
    before, after = ([REACT.parse(turn.output).calls for turn in one.turns if turn.output] for one in (sample, fitted.sample))
    assert after == before[len(before) - len(after) :]
    return True
